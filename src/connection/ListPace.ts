import { restMs } from '../core/time/backoff.js';

const LIST_METHODS: ReadonlySet<string> = new Set([
  'tools/list',
  'prompts/list',
  'resources/list',
  'resources/templates/list',
]);
/** What a byte of a list takes until its clients have it: it is parsed, looked through, kept, compared and told. About, in ms (Node 20). */
const MS_PER_BYTE = 60e-6;
/** A shorter rest is none. */
const FREE_MS = 50;
/** The longest rest. */
export const MAX_LIST_REST_MS = 300_000;

/** Those of which some may rest. */
const resting = new Set<ListPace>();

/** How long a list of so many bytes is not read again though its own time is over, in ms: as after a change. */
export function listRestMs(bytes: number): number {
  const ms = restOf(bytes);
  return ms > FREE_MS ? ms : 0;
}

const restOf = (bytes: number): number =>
  Math.min(restMs(MS_PER_BYTE * bytes, MAX_LIST_REST_MS) * Math.max(1, resting.size), MAX_LIST_REST_MS);

/**
 * How soon a server that says that a list changed is believed again. After lists of so many bytes it rests nine times as long as those take,
 * and as many times that as servers of the process rest: all lists together are the work of a tenth of the time.
 */
export class ListPace {
  #untilMs = 0;

  /** An answer of so many bytes came. */
  onRead(method: string, bytes: number): void {
    if (!LIST_METHODS.has(method)) return;
    const nowMs = performance.now();
    for (const each of resting) if (each.#untilMs <= nowMs) resting.delete(each);
    resting.add(this);
    this.#untilMs = Math.min(Math.max(this.#untilMs, nowMs) + restOf(bytes), nowMs + MAX_LIST_REST_MS);
  }

  /** What is left of the rest; 0 after small lists. */
  get leftMs(): number {
    const leftMs = this.#untilMs - performance.now();
    return leftMs > FREE_MS ? leftMs : 0;
  }
}
