export {
  type AcquireTimeoutDetail,
  AcquireTimeoutError,
  type Acted,
  CircuitOpenError,
  type Closeable,
  ClosedError,
  type CloseOptions,
  ERROR_CODES,
  type ErrorCode,
  ForbiddenError,
  MessageTooLargeError,
  NotSentError,
  OptionError,
  OutcomeUnknownError,
  PoolkitError,
  ProtocolError,
  QueueFullError,
  RateLimitedError,
  RequestTimeoutError,
  RpcError,
  ServerNotFoundError,
  ServerStoppedError,
  ShutdownTimeoutError,
  StartError,
  type StartErrorDetail,
  StillAliveError,
  UnauthorizedError,
  UpstreamBusyError,
} from '../core/index.js';
export {
  type BreakerState,
  CIRCUIT_BREAKER_DEFAULTS,
  type CircuitBreakerOptions,
} from './breaker/breakerOptions.js';
export { type BreakerInspection, type BreakerTicket, CircuitBreaker } from './breaker/CircuitBreaker.js';
export {
  ClusterRateLimiter,
  type ClusterRateLimiterEvents,
  type ClusterRateLimiterInspection,
  type ClusterRateLimiterStats,
} from './cluster/ClusterRateLimiter.js';
export {
  CLUSTER_RATE_LIMITER_DEFAULTS,
  type ClusterRateLimiterOptions,
  type OnStoreLost,
} from './cluster/clusterOptions.js';
export type { RedisLike } from './cluster/redisConnection.js';
export type {
  LimitedCall,
  Limiter,
  LimiterAcquireOptions,
  LimiterInspection,
  LimiterSource,
  LimiterUsage,
} from './limiter/Limiter.js';
export { LimiterTableFullError } from './limiter/LimiterTableFullError.js';
export { RATE_LIMITER_DEFAULTS, type RateLimiterOptions } from './limiter/limiterOptions.js';
export {
  MULTI_SERVER_RATE_LIMITER_DEFAULTS,
  MultiServerRateLimiter,
  type MultiServerRateLimiterInspection,
  type MultiServerRateLimiterOptions,
  type ServerLimit,
  type ServerLimiterStats,
} from './limiter/MultiServerRateLimiter.js';
export { RateLimiter } from './limiter/RateLimiter.js';
export {
  Permit,
  type PermitOptions,
  SEMAPHORE_DEFAULTS,
  Semaphore,
  type SemaphoreInspection,
  type SemaphoreOptions,
} from './Semaphore.js';
