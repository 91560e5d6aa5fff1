import type { Clock } from '../../../core/clock.js';

/** Once it was too late for long, it is found out so fast that it still is. */
const AGAIN_MS = 500;

/** Tells a store that answers later than its permits live from one that was late for once: it would keep callers waiting for ever. */
export class LateLeases {
  readonly #clock: Clock;
  readonly #patienceMs: number;
  #sinceMs: number | undefined;
  #again = false;

  constructor(clock: Clock, patienceMs: number) {
    this.#clock = clock;
    this.#patienceMs = patienceMs;
  }

  /** A lease came in time to be used. */
  inTime(): void {
    this.#sinceMs = undefined;
    this.#again = false;
  }

  /** The store was lost, or callers do not wait: what was late then says nothing. */
  reset(): void {
    this.#sinceMs = undefined;
  }

  /** A lease came too late, and callers wait. True when all of them have for so long that the store is as good as lost. */
  late(): boolean {
    const nowMs = this.#clock.now();
    this.#sinceMs ??= nowMs;
    const patienceMs = this.#again ? Math.min(AGAIN_MS, this.#patienceMs) : this.#patienceMs;
    if (nowMs - this.#sinceMs < patienceMs) return false;
    this.#again = true;
    return true;
  }

  error(tookMs: number, lifeMs: number): Error {
    return new Error(`the store takes ${tookMs} ms for a lease, whose permits live ${lifeMs} ms`);
  }
}
