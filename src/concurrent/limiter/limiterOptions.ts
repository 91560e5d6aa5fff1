import type { Clock } from '../../core/clock.js';
import { checkCount, checkMs, checkText } from '../../core/options.js';
import { SlidingWindow } from './SlidingWindow.js';

export interface RateLimiterOptions {
  /** Permits in any window: a whole number from 1. */
  readonly maxRequests: number;
  /** Length of the window in ms, from 0.001, in steps of a microsecond. */
  readonly windowMs: number;
  /** Most callers that may wait: a whole number from 0; 0: none may, `Infinity`: no bound. @defaultValue 1000 */
  readonly maxQueue?: number;
  /**
   * Longest wait of a caller that sets none, in ms from 0; 0: none waits, `Infinity`: for ever.
   * @defaultValue 30000
   */
  readonly acquireTimeoutMs?: number;
  /**
   * Longest pause that `pauseFor` sets, in ms from 0; a longer one is cut, since its length may come from a server's
   * `Retry-After`. 0: no pauses, `Infinity`: any length. @defaultValue 60000
   */
  readonly maxPauseMs?: number;
  /** What errors call it. @defaultValue the name of the class */
  readonly name?: string;
  /** Measures time and arms timers; a `FakeClock` in tests. @defaultValue the system's clock */
  readonly clock?: Clock;
  /** @deprecated the old name of `maxQueue` @defaultValue `maxQueue` */
  readonly maxWaiters?: number;
  /** @deprecated the old name of `acquireTimeoutMs` @defaultValue `acquireTimeoutMs` */
  readonly maxWaitMs?: number;
}

export const RATE_LIMITER_DEFAULTS = Object.freeze({
  maxQueue: 1_000,
  acquireTimeoutMs: 30_000,
  maxPauseMs: 60_000,
  name: 'RateLimiter',
});

/** The options of every limiter that have no default. */
export const LIMITER_OTHERS = Object.freeze({
  maxRequests: true,
  windowMs: true,
  clock: true,
  maxWaiters: true,
  maxWaitMs: true,
});

interface OldNames {
  readonly maxQueue?: number;
  readonly acquireTimeoutMs?: number;
  readonly maxWaiters?: number;
  readonly maxWaitMs?: number;
}

/** The options with what stands under an old name moved to the new one. */
export function renamed<O extends OldNames>(options: O): O {
  // What is no object is refused by the check that follows.
  if (options?.maxWaiters === undefined && options?.maxWaitMs === undefined) return options;
  const { maxWaiters, maxWaitMs, ...rest } = options;
  return {
    ...rest,
    maxQueue: options.maxQueue ?? maxWaiters,
    acquireTimeoutMs: options.acquireTimeoutMs ?? maxWaitMs,
  } as unknown as O;
}

/** @throws OptionError */
export function checkLimiter<
  O extends {
    readonly maxQueue: number;
    readonly acquireTimeoutMs: number;
    readonly maxPauseMs: number;
    readonly name: string;
  },
>(options: O): O {
  checkCount('maxQueue', options.maxQueue, { infinity: true });
  checkMs('acquireTimeoutMs', options.acquireTimeoutMs, { infinity: true });
  checkMs('maxPauseMs', options.maxPauseMs, { infinity: true });
  checkText('name', options.name);
  return options;
}

/** The window that the options ask for. @throws OptionError */
export function slidingWindow({
  maxRequests,
  windowMs,
}: Pick<RateLimiterOptions, 'maxRequests' | 'windowMs'>): SlidingWindow {
  checkCount('maxRequests', maxRequests, { min: 1 });
  return new SlidingWindow(maxRequests, Math.round(checkMs('windowMs', windowMs, { min: 0.001 }) * 1_000));
}
