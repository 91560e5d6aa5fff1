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
  timer: NodeJS.Timeout | undefined;
}

/**
 * A flood of "the list changed" says no more than the last of them, but costs every session and cache behind it: beyond
 * ten in 100 ms they become one, at the end of the window, so that the last change is never lost.
 */
export class ListChanges {
  readonly #deliver: (notice: ServerNotice) => void;
  readonly #windows = new Map<string, Window>();

  constructor(deliver: (notice: ServerNotice) => void) {
    this.#deliver = deliver;
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
    if (window.passed++ < MAX_IN_WINDOW) return true;
    const full = window;
    full.timer = setTimeout(() => {
      full.timer = undefined;
      full.fromMs = performance.now();
      full.passed = 1;
      this.#deliver(notice);
    }, WINDOW_MS);
    full.timer.unref();
    return false;
  }

  close(): void {
    for (const { timer } of this.#windows.values()) clearTimeout(timer);
    this.#windows.clear();
  }
}
