import { LRUCache } from 'lru-cache';
import type { Clock } from '../core/clock.js';
import { keptError, SignInError } from '../core/errors.js';
import { backoffMs } from '../core/time/backoff.js';

const PAUSE = { initialMs: 1_000, maxMs: 30_000, jitterRatio: 0 };
/** Tokens that are taken for so long beyond the pause were good: the next pause is a first one again. In ms. */
const CALM_MS = 15_000;
const MAX_KEYS = 10_000;

interface Last {
  readonly attempt: number;
  readonly untilMs: number;
  /** What it failed with, if it did. */
  readonly error?: SignInError;
}

/**
 * How soon refusals (401) may bring about another renewal of the same account, and renewals that failed the next: after a pause, which
 * doubles while they go on. A server that refuses all tokens would spend one with each call else, and an authorization server that is
 * down would be asked with each session.
 */
export class RenewalPauses {
  readonly #clock: Clock;
  readonly #last = new LRUCache<string, Last>({ max: MAX_KEYS });

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether a refusal may bring about a renewal now. If so it counts. @throws SignInError of the last one, while its pause lasts */
  begin(key: string): boolean {
    this.#check(key);
    if (this.#isPaused(this.#last.get(key))) return false;
    this.#count(key);
    return true;
  }

  /** A renewal; if it fails it counts. @throws SignInError of the last one, while its pause lasts; and what `renew` does */
  async run<T>(key: string, renew: () => Promise<T>): Promise<T> {
    this.#check(key);
    try {
      return await renew();
    } catch (error) {
      // What a person has to mend, or one who asked has given up, is no failure of the authorization server.
      if (error instanceof SignInError) this.#count(key, error);
      throw error;
    }
  }

  #check(key: string): void {
    const last = this.#last.get(key);
    if (last?.error !== undefined && this.#isPaused(last)) throw last.error;
  }

  #isPaused(last: Last | undefined): last is Last {
    return last !== undefined && this.#clock.now() < last.untilMs;
  }

  #count(key: string, error?: SignInError): void {
    const now = this.#clock.now();
    const last = this.#last.get(key);
    // A refusal's has been counted as it began.
    const begun = error !== undefined && this.#isPaused(last) && last.error === undefined;
    const goesOn = last !== undefined && now < last.untilMs + CALM_MS;
    const attempt = goesOn ? last.attempt + (begun ? 0 : 1) : 1;
    const untilMs = now + backoffMs(attempt, PAUSE);
    this.#last.set(key, { attempt, untilMs, ...(error && { error: keptError(error) as SignInError }) });
  }
}
