import { type ListPace, MAX_LIST_REST_MS } from './ListPace.js';
import type { ServerNotice } from './protocol/messages.js';

const METHODS: ReadonlySet<string> = new Set([
  'notifications/tools/list_changed',
  'notifications/prompts/list_changed',
  'notifications/resources/list_changed',
]);
/** So many of one kind pass in a window; beyond that one more at its end stands for all. */
const MAX_IN_WINDOW = 10;
const WINDOW_MS = 100;

interface Window {
  fromMs: number;
  passed: number;
  /** Armed while one is held back. */
  timer: NodeJS.Timeout | undefined;
}

/**
 * A flood of "the list changed" says no more than the last of them, but costs every session and cache behind it: beyond
 * ten in 100 ms, and while the server rests after large lists, they become one, at the end of it, so that the last change is never lost.
 * That one has no params: those of each may be 8 MiB, and a rest takes minutes.
 */
export class ListChanges {
  readonly #deliver: (notice: ServerNotice) => void;
  readonly #pace: ListPace | undefined;
  readonly #windows = new Map<string, Window>();

  constructor(deliver: (notice: ServerNotice) => void, pace?: ListPace) {
    this.#deliver = deliver;
    this.#pace = pace;
  }

  /** Whether `notice` is to be delivered now; else it comes later, as one with others. */
  admit(notice: ServerNotice): boolean {
    if (!METHODS.has(notice.method)) return true;
    const nowMs = performance.now();
    let window = this.#windows.get(notice.method);
    if (window === undefined) {
      window = { fromMs: nowMs, passed: 0, timer: undefined };
      this.#windows.set(notice.method, window);
    }
    if (window.timer !== undefined) return false;
    if (nowMs - window.fromMs >= WINDOW_MS) {
      window.fromMs = nowMs;
      window.passed = 0;
    }
    const restMs = this.#pace?.leftMs ?? 0;
    if (restMs === 0 && window.passed++ < MAX_IN_WINDOW) return true;
    this.#hold(notice.method, window, Math.max(restMs, WINDOW_MS), nowMs + MAX_LIST_REST_MS);
    return false;
  }

  /** `lastMs`: then it comes, though the server may have told more lists meanwhile. */
  #hold(method: string, window: Window, waitMs: number, lastMs: number): void {
    window.timer = setTimeout(() => {
      const nowMs = performance.now();
      const restMs = Math.min(this.#pace?.leftMs ?? 0, lastMs - nowMs);
      if (restMs > 0) return this.#hold(method, window, restMs, lastMs);
      window.timer = undefined;
      window.fromMs = nowMs;
      window.passed = 1;
      this.#deliver({ method });
    }, waitMs);
    window.timer.unref();
  }

  /** Nothing comes any more: what is held is told now. */
  flush(): void {
    const held = [...this.#windows].filter(([, { timer }]) => timer !== undefined);
    this.close();
    for (const [method] of held) this.#deliver({ method });
  }

  close(): void {
    for (const { timer } of this.#windows.values()) clearTimeout(timer);
    this.#windows.clear();
  }
}
