import { LRUCache } from 'lru-cache';
import type { Clock } from '../core/clock.js';
import { backoffMs } from '../core/time/backoff.js';

const PAUSE = { initialMs: 1_000, maxMs: 30_000, jitterRatio: 0 };
/** Tokens that are taken for so long beyond the pause were good: the next pause is a first one again. In ms. */
const CALM_MS = 15_000;
const MAX_KEYS = 10_000;

/**
 * How soon refusals (401) may bring about another renewal of the same account: after a pause, which doubles while they go on. A server
 * that refuses all tokens would spend one with each call else.
 */
export class RenewalPauses {
  readonly #clock: Clock;
  readonly #last = new LRUCache<string, { readonly attempt: number; readonly untilMs: number }>({ max: MAX_KEYS });

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether a renewal may begin now. If so it counts, also if it fails. */
  begin(key: string): boolean {
    const now = this.#clock.now();
    const last = this.#last.get(key);
    if (last !== undefined && now < last.untilMs) return false;
    const attempt = last !== undefined && now < last.untilMs + CALM_MS ? last.attempt + 1 : 1;
    this.#last.set(key, { attempt, untilMs: now + backoffMs(attempt, PAUSE) });
    return true;
  }
}
