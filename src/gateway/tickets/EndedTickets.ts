import type { Clock } from '../../core/clock.js';

/** Ended sessions that are remembered; beyond it the one that ended first is forgotten. */
export const MAX_ENDED_TICKETS = 100_000;

/** Sessions that their clients ended, remembered until their tickets are too old in any case. */
export class EndedTickets {
  readonly #clock: Clock;
  /** When each is forgotten; the first to go comes first. */
  readonly #untilMs = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#untilMs.size;
  }

  has(key: string): boolean {
    return this.#untilMs.has(key);
  }

  add(key: string, lifeMs: number): void {
    const nowMs = this.#clock.now();
    for (const [oldest, untilMs] of this.#untilMs) {
      if (untilMs > nowMs && this.#untilMs.size < MAX_ENDED_TICKETS) break;
      this.#untilMs.delete(oldest);
    }
    this.#untilMs.set(key, nowMs + lifeMs);
  }
}
