import type { Bulkhead } from '../../concurrent/balance/Bulkhead.js';
import type { MultiServerRateLimiter } from '../../concurrent/limiter/MultiServerRateLimiter.js';
import { shareOf } from '../../concurrent/Shares.js';
import type { Middleware, MiddlewareCall } from '../../connection/calls/Middleware.js';
import { OptionError } from '../../core/errors.js';
import { checkAtOnce, checkPart, withDefaults } from '../../core/options.js';

export interface LimitOptions {
  /** What calls are counted by: a tool, a principal, any text; undefined: not at all. @defaultValue the user: the caller's subject, else its principal */
  readonly by?: (call: MiddlewareCall) => string | undefined;
  /** How many in a window, for each key. Lent. @defaultValue no bound on the rate */
  readonly rate?: MultiServerRateLimiter;
  /** How many at a time, for each key. Lent. @defaultValue no bound on how many run */
  readonly bulkhead?: Bulkhead;
}

export const LIMIT_DEFAULTS = Object.freeze({
  by: (call: MiddlewareCall): string | undefined => call.caller?.subject ?? call.caller?.principal ?? '',
});

/**
 * Has what clients ask wait for its turn by any key; beyond the limiter's queue it is refused. One user, or address, has three
 * quarters of the keys at most. @throws OptionError
 */
export function limit(given: LimitOptions): Middleware {
  const { by, rate, bulkhead } = withDefaults('limit', given, LIMIT_DEFAULTS, { rate: true, bulkhead: true });
  if (rate !== undefined) checkPart('rate', rate, ['tryAcquire', 'acquire'], 'a MultiServerRateLimiter');
  if (bulkhead !== undefined) checkPart('bulkhead', bulkhead, ['tryAcquire', 'acquire'], 'a Bulkhead');
  if (rate === undefined && bulkhead === undefined) throw new OptionError('rate', rate, 'a limiter, or a bulkhead');
  return async (call, next) => {
    if (call.kind !== 'request' || call.from !== 'client') return next();
    const key = checkAtOnce('by', by(call));
    if (key === undefined) return next();
    // Names of limiters are not empty, and no key is another's prefix.
    const name = `=${key}`;
    const owner = shareOf(call.caller);
    const { signal } = call;
    if (rate !== undefined && !checkAtOnce('rate.tryAcquire', rate.tryAcquire(name, 1, owner))) {
      await rate.acquire(name, { signal }, owner);
    }
    if (bulkhead === undefined) return next();
    const now = checkAtOnce('bulkhead.tryAcquire', bulkhead.tryAcquire(name, owner));
    const permit = now ?? (await bulkhead.acquire(name, { signal }, owner));
    try {
      return await next();
    } finally {
      permit.release();
    }
  };
}
