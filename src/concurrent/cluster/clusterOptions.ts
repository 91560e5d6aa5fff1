import { systemClock } from '../../core/clock.js';
import { OptionError } from '../../core/errors.js';
import { type Logger, silentLogger } from '../../core/logger.js';
import { checkCount, checkMs, checkOneOf, checkString, checkText, withDefaults } from '../../core/options.js';
import {
  checkLimiter,
  LIMITER_OTHERS,
  RATE_LIMITER_DEFAULTS,
  type RateLimiterOptions,
  renamed,
} from '../limiter/limiterOptions.js';
import type { RedisLike } from './redisConnection.js';

/**
 * What a process does while it cannot reach the store. `local-share`: it grants its share of the limit, `maxRequests` by
 * the number of processes. `fail-closed`: nothing. `fail-open`: everything, without a limit.
 */
export type OnStoreLost = 'local-share' | 'fail-closed' | 'fail-open';

export interface ClusterRateLimiterOptions extends RateLimiterOptions {
  /** An ioredis client or cluster (5 or 6). It is duplicated, and neither used nor closed otherwise. */
  readonly redis: RedisLike;
  /** Names the limit: all limiters with this `id` and `keyPrefix` on one Redis share it. No braces. */
  readonly id: string;
  /**
   * Into how many parts the window is cut, from 1 to 1000: an unused permit lives one part (100 ms at least), and a lease
   * holds at most `maxRequests / subWindows` permits (one at least).
   * @defaultValue 10
   */
  readonly subWindows?: number;
  /**
   * How much the wall clocks of the machines may differ, in ms, from 0. A dead process's permits return so much later.
   * @defaultValue 1000
   */
  readonly maxClockSkewMs?: number;
  /** What happens to calls while the store cannot be reached. @defaultValue 'local-share' */
  readonly onStoreLost?: OnStoreLost;
  /**
   * Processes that share the limit, for `local-share`. @defaultValue as many as the store last saw; before it was ever
   * reached that is unknown, and nothing is granted
   */
  readonly processes?: number;
  /** How long the store may take to connect and to answer, in ms, from 1. @defaultValue 5000 */
  readonly storeTimeoutMs?: number;
  /** Stands before `id` in every key and channel, behind Bottleneck's own `b_`. @defaultValue 'mcp-poolkit:' */
  readonly keyPrefix?: string;
  /** Where it logs; anything with pino's methods. @defaultValue a logger that is silent */
  readonly logger?: Logger;
}

export const CLUSTER_RATE_LIMITER_DEFAULTS = Object.freeze({
  ...RATE_LIMITER_DEFAULTS,
  name: 'ClusterRateLimiter',
  subWindows: 10,
  maxClockSkewMs: 1_000,
  onStoreLost: 'local-share',
  storeTimeoutMs: 5_000,
  keyPrefix: 'mcp-poolkit:',
} as const);

/** The options with their defaults. @throws OptionError */
export function clusterOptions(given: ClusterRateLimiterOptions) {
  const all = withDefaults('ClusterRateLimiter', renamed(given), CLUSTER_RATE_LIMITER_DEFAULTS, {
    ...LIMITER_OTHERS,
    redis: true,
    id: true,
    processes: true,
    logger: true,
  });
  const options = { ...checkLimiter(all), clock: all.clock ?? systemClock, logger: all.logger ?? silentLogger };
  const { redis, processes, id } = options;
  checkCount('maxRequests', options.maxRequests, { min: 1 });
  // Bottleneck arms a timer for each lease, and the system's longest is 24 days.
  checkMs('windowMs', options.windowMs, { min: 1, max: 7 * 86_400_000 });
  checkCount('subWindows', options.subWindows, { min: 1, max: 1_000 });
  checkMs('maxClockSkewMs', options.maxClockSkewMs, { max: 86_400_000 });
  checkMs('storeTimeoutMs', options.storeTimeoutMs, { min: 1, max: 600_000 });
  checkOneOf('onStoreLost', options.onStoreLost, ['local-share', 'fail-closed', 'fail-open']);
  checkString('keyPrefix', options.keyPrefix);
  if (processes !== undefined) checkCount('processes', processes, { min: 1 });
  if (/[{}]/.test(checkText('id', id))) throw new OptionError('id', id, 'a string without braces');
  if (typeof (redis as Partial<RedisLike> | undefined)?.duplicate !== 'function') {
    throw new OptionError('redis', redis, 'an ioredis client or cluster');
  }
  return options;
}

/** Our own connections have no prefix, since Bottleneck's scripts name channels themselves; the user's goes into the id. */
export function keyPrefixOf(redis: RedisLike): string {
  const { options } = redis as { readonly options?: { readonly keyPrefix?: string } };
  return options?.keyPrefix ?? '';
}

/** At most `max / subWindows`, and of the upper half of that range the size that leaves the least of `max` unused. */
export function blockSize(max: number, subWindows: number): number {
  const largest = Math.max(1, Math.floor(max / subWindows));
  let best = largest;
  for (let size = largest; size > largest / 2; size--) if (max % size < max % best) best = size;
  return best;
}
