export {
  AcquireTimeoutError,
  type Closeable,
  ClosedError,
  type CloseOptions,
  OptionError,
  PoolkitError,
  QueueFullError,
  RateLimitedError,
  ShutdownTimeoutError,
} from '../core/index.js';
export {
  ClusterRateLimiter,
  type ClusterRateLimiterEvents,
  type ClusterRateLimiterStats,
} from './cluster/ClusterRateLimiter.js';
export {
  CLUSTER_RATE_LIMITER_DEFAULTS,
  type ClusterRateLimiterOptions,
  type OnStoreLost,
} from './cluster/clusterOptions.js';
export type { RedisLike } from './cluster/RedisSession.js';
