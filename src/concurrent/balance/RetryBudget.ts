import { type Clock, systemClock } from '../../core/clock.js';
import { OptionError } from '../../core/errors.js';
import { checkMs, withDefaults } from '../../core/options.js';

export interface RetryBudgetOptions {
  /** Retries per call that the budget allows, from 0 to 1000: 0.2 is one retry for five calls. @defaultValue 0.2 */
  readonly retryRatio?: number;
  /** Retries a second that are always allowed, from 0 to 1,000,000, so that a quiet client may retry at all. @defaultValue 1 */
  readonly minRetriesPerSec?: number;
  /** How long a call counts for the budget, in ms from 10. @defaultValue 10000 */
  readonly windowMs?: number;
  /** Measures time and arms timers; a `FakeClock` in tests. @defaultValue the system's clock */
  readonly clock?: Clock;
}

export const RETRY_BUDGET_DEFAULTS = Object.freeze({ retryRatio: 0.2, minRetriesPerSec: 1, windowMs: 10_000 });

/** What a budget holds and has counted. */
export interface RetryBudgetInspection {
  /** Retries that are allowed now. */
  readonly balance: number;
  /** Calls and retries in the window. */
  readonly calls: number;
  readonly retries: number;
  /** Retries refused since it was made. */
  readonly refused: number;
}

const SLICES = 10;
/** One caller's part of what is allowed, at most. */
const MAX_SHARE = 0.75;

/**
 * How many retries (or hedges) a client may add to its calls: a share of the calls of the last `windowMs`, and a few for
 * quiet times. When everything fails, the load on what is failing grows by that share and no more, so that retries
 * never become a storm. Both calls and retries leave the window in ten slices. (Finagle's RetryBudget, linkerd.)
 */
export class RetryBudget {
  readonly #clock: Clock;
  readonly #ratio: number;
  readonly #reserve: number;
  readonly #sliceMs: number;
  readonly #calls = new Float64Array(SLICES);
  readonly #retries = new Float64Array(SLICES);
  /** Of those retries, each caller's. */
  readonly #own = Array.from({ length: SLICES }, () => new Map<string, number>());
  #slice = Number.NEGATIVE_INFINITY;
  #sumCalls = 0;
  #sumRetries = 0;
  #refused = 0;

  constructor(options: RetryBudgetOptions = {}) {
    const all = withDefaults('RetryBudget', options, RETRY_BUDGET_DEFAULTS, { clock: true });
    this.#ratio = share('retryRatio', all.retryRatio, 1_000);
    this.#sliceMs = checkMs('windowMs', all.windowMs, { min: 10 }) / SLICES;
    this.#reserve = share('minRetriesPerSec', all.minRetriesPerSec, 1_000_000) * (all.windowMs / 1_000);
    this.#clock = all.clock ?? systemClock;
  }

  /** Retries that are allowed now: a whole number from 0. */
  get balance(): number {
    return Math.max(0, this.#allowed() - this.#sumRetries);
  }

  /** A call was made for the first time. */
  deposit(): void {
    this.#turn();
    const index = this.#slice % SLICES;
    this.#calls[index] = (this.#calls[index] as number) + 1;
    this.#sumCalls++;
  }

  /** Takes one retry out of the budget, or says that it is not to be made. `caller`: for whom; one caller's are three quarters of all at most. */
  tryWithdraw(caller?: string): boolean {
    const allowed = this.#allowed();
    if (allowed <= this.#sumRetries || (caller !== undefined && !this.#hasShare(caller, allowed))) {
      this.#refused++;
      return false;
    }
    const index = this.#slice % SLICES;
    const own = this.#own[index];
    if (caller !== undefined) own?.set(caller, (own.get(caller) ?? 0) + 1);
    this.#retries[index] = (this.#retries[index] as number) + 1;
    this.#sumRetries++;
    return true;
  }

  inspect(): RetryBudgetInspection {
    return { balance: this.balance, calls: this.#sumCalls, retries: this.#sumRetries, refused: this.#refused };
  }

  /** Retries that the calls of the window allow. */
  #allowed(): number {
    this.#turn();
    // Sums of decimal shares fall short by a rounding error, never by more.
    return Math.floor(this.#reserve + this.#ratio * this.#sumCalls + 1e-9);
  }

  #hasShare(caller: string, allowed: number): boolean {
    let taken = 0;
    for (const each of this.#own) taken += each.get(caller) ?? 0;
    return taken < Math.max(1, Math.floor(MAX_SHARE * allowed));
  }

  #turn(): void {
    const slice = Math.max(0, Math.floor(this.#clock.now() / this.#sliceMs));
    if (slice <= this.#slice) return;
    const first = Math.max(0, this.#slice + 1, slice - SLICES + 1);
    for (let old = first; old <= slice; old++) {
      const index = old % SLICES;
      this.#sumCalls -= this.#calls[index] as number;
      this.#sumRetries -= this.#retries[index] as number;
      this.#calls[index] = 0;
      this.#retries[index] = 0;
      this.#own[index]?.clear();
    }
    this.#slice = slice;
  }
}

function share(option: string, value: unknown, max: number): number {
  if (typeof value === 'number' && value >= 0 && value <= max) return value;
  throw new OptionError(option, value, `a number from 0 to ${max}`);
}
