import { type Clock, systemClock } from '../../core/clock.js';
import { type CloseOptions, CloseScope } from '../../core/close/CloseScope.js';
import { checkCount, checkMs, checkText } from '../../core/options.js';
import type { AcquireOptions, Limiter, LimiterUsage } from './Limiter.js';
import { LimiterCore } from './LimiterCore.js';
import { ScheduledWork } from './ScheduledWork.js';
import { SlidingWindow } from './SlidingWindow.js';

export interface RateLimiterOptions {
  /** Permits in any window, from 1. */
  readonly maxRequests: number;
  /** Length of the window in ms, from 0.001, in steps of a microsecond. */
  readonly windowMs: number;
  /**
   * Callers waiting at the most, from 0; 0: nobody may wait, `Infinity`: no bound.
   * @defaultValue 1000
   */
  readonly maxWaiters?: number;
  /**
   * Longest wait of a caller who sets none, in ms, from 0; 0: nobody waits, `Infinity`: for ever.
   * @defaultValue 30000
   */
  readonly maxWaitMs?: number;
  /** What errors call it. @defaultValue 'RateLimiter' */
  readonly name?: string;
  readonly clock?: Clock;
}

export const RATE_LIMITER_DEFAULTS = Object.freeze({ maxWaiters: 1_000, maxWaitMs: 30_000, name: 'RateLimiter' });

/** The window that the options ask for. @throws OptionError */
export function slidingWindow({
  maxRequests,
  windowMs,
}: Pick<RateLimiterOptions, 'maxRequests' | 'windowMs'>): SlidingWindow {
  checkCount('maxRequests', maxRequests, { min: 1 });
  return new SlidingWindow(maxRequests, Math.round(checkMs('windowMs', windowMs, { min: 0.001 }) * 1_000));
}

/**
 * An exact sliding window: never more than `maxRequests` permits in *any* window of `windowMs` (half-open: a permit
 * granted at `t` counts until just before `t + windowMs`), and no refusal that the window does not demand, except while
 * somebody waits or the limiter is paused. Strictly first in, first out. Time is the monotonic clock in whole
 * microseconds: steps of the wall clock change nothing, after a suspend it may grant late, never more.
 *
 * ```ts
 * const limiter = new RateLimiter({ maxRequests: 100, windowMs: 1_000 });
 * if (limiter.tryAcquire()) send();
 * await limiter.schedule(() => fetch(url), { signal, maxWaitMs: 2_000 });
 * ```
 */
export class RateLimiter implements Limiter {
  readonly #core: LimiterCore;
  readonly #scope: CloseScope;
  readonly #work: ScheduledWork;

  constructor({ maxRequests, windowMs, clock = systemClock, ...options }: RateLimiterOptions) {
    const { maxWaiters, maxWaitMs, name } = { ...RATE_LIMITER_DEFAULTS, ...options };
    const source = slidingWindow({ maxRequests, windowMs });
    this.#core = new LimiterCore({ name: checkText('name', name), source, clock, maxWaiters, maxWaitMs });
    this.#work = new ScheduledWork(clock);
    this.#scope = new CloseScope(name, { clock, onRefuse: () => this.#core.refuse(), ...this.#work.hooks });
  }

  /** How full it is. */
  get usage(): LimiterUsage {
    return this.#core.usage;
  }

  /** Callers waiting. */
  get blockedCount(): number {
    return this.#core.waiting.size;
  }

  /** Takes `weight` permits now, or none; never ahead of a waiter. @throws ClosedError, OptionError */
  tryAcquire(weight = 1): boolean {
    return this.#core.tryAcquire(weight);
  }

  /**
   * Waits for `weight` permits. Rejections: ERR_RATE_LIMITED, at once when the wait is known to exceed `maxWaitMs`, with
   * the exact `retryAfterMs`; ERR_QUEUE_FULL, ERR_CLOSED, ERR_OPTION, or the signal's own reason.
   */
  acquire(options: AcquireOptions = {}): Promise<void> {
    return this.#core.acquire(options);
  }

  /**
   * Runs `fn` when it has its permits, and settles as it does. A close awaits it; one that still runs at the deadline is
   * abandoned: this rejects with `ShutdownTimeoutError`, and so does the close.
   */
  schedule<T>(fn: () => T | PromiseLike<T>, options: AcquireOptions = {}): Promise<T> {
    return this.#work.run(this.#scope, this.#core.acquire(options), fn);
  }

  /** Grants nothing for `ms` from now; a longer pause stays. Waiters keep their places. */
  pauseFor(ms: number): void {
    this.#core.pauseFor(ms);
  }

  /** Forgets every grant and the pause, and serves who waits. */
  reset(): void {
    this.#core.reset();
  }

  /** Rejects who waits at once, awaits scheduled work for `graceMs`; its timers are gone after it. */
  close(options?: CloseOptions): Promise<void> {
    return this.#scope.close(options);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
