import type { Middleware, MiddlewareCall } from '../../connection/calls/Middleware.js';
import { type Clock, systemClock } from '../../core/clock.js';
import { endOf, OutcomeUnknownError, PoolkitError, RequestTimeoutError } from '../../core/errors.js';
import { checkCount, checkMs, withDefaults } from '../../core/options.js';
import { backoffMs } from '../../core/time/backoff.js';
import { sleep } from '../../core/time/sleep.js';

export interface RetryOptions {
  /** Most tries of one call, the first included, from 1 (none again). @defaultValue 3 */
  readonly maxAttempts?: number;
  /** The first pause, in ms, doubled each time, with jitter. @defaultValue 100 */
  readonly initialMs?: number;
  /** The longest pause, in ms; an upstream that asks for a longer one is not asked again. @defaultValue 5000 */
  readonly maxMs?: number;
  /**
   * Calls that may run twice, beside those whose caller says so: then they are also tried again when it is not known whether they
   * ran. @defaultValue none
   */
  readonly idempotent?: (call: MiddlewareCall) => boolean;
  /** Measures time and arms timers; a `FakeClock` in tests. @defaultValue the system's clock */
  readonly clock?: Clock;
}

export const RETRY_DEFAULTS = Object.freeze({
  maxAttempts: 3,
  initialMs: 100,
  maxMs: 5_000,
  idempotent: (): boolean => false,
});

/**
 * Tries again what provably never ran (`retryable` errors), and what may run twice when its outcome is unknown. Never an answer, and
 * never what its caller gave up. @throws OptionError
 */
export function retry(given: RetryOptions = {}): Middleware {
  const {
    maxAttempts,
    initialMs,
    maxMs,
    idempotent,
    clock = systemClock,
  } = withDefaults('retry', given, RETRY_DEFAULTS, {
    clock: true,
  });
  checkCount('maxAttempts', maxAttempts, { min: 1 });
  checkMs('initialMs', initialMs);
  checkMs('maxMs', maxMs);
  return async (call, next) => {
    if (call.kind !== 'request' || call.from !== 'client') return next();
    let told: unknown;
    for (let tried = 1; ; tried++) {
      try {
        return await next();
      } catch (error) {
        told = endOf(told, error);
        const mayRunTwice = call.idempotent || idempotent(call);
        if (tried >= maxAttempts || call.signal.aborted || !isSafe(error, mayRunTwice)) throw told;
        const asked = retryAfterOf(error);
        if (asked > maxMs) throw told;
        const pauseMs = Math.max(asked, backoffMs(tried, { initialMs, maxMs, jitterRatio: 0.5 }));
        await sleep(clock, pauseMs, { signal: call.signal });
      }
    }
  };
}

function isSafe(error: unknown, mayRunTwice: boolean): boolean {
  if (!(error instanceof PoolkitError)) return false;
  if (error.retryable) return true;
  return mayRunTwice && (error instanceof OutcomeUnknownError || error instanceof RequestTimeoutError);
}

function retryAfterOf(error: unknown): number {
  const ms = (error as { readonly retryAfterMs?: unknown }).retryAfterMs;
  return typeof ms === 'number' ? ms : 0;
}
