export type { Clock, Closeable, CloseOptions, LogFn, Logger, Timer } from '../core/index.js';
export {
  ADAPTIVE_LIMIT_DEFAULTS,
  AdaptiveLimit,
  type AdaptiveLimitInspection,
  type AdaptiveLimitOptions,
  type AdaptiveTicket,
} from './balance/AdaptiveLimit.js';
export {
  BALANCER_DEFAULTS,
  Balancer,
  type BalancerInspection,
  type BalancerOptions,
  type PickOptions,
} from './balance/Balancer.js';
export {
  BULKHEAD_DEFAULTS,
  Bulkhead,
  type BulkheadAcquireOptions,
  type BulkheadInspection,
  type BulkheadOptions,
  type BulkheadPermit,
} from './balance/Bulkhead.js';
export { HEDGE_DEFAULTS, type HedgeOptions, hedge } from './balance/hedge.js';
export { LATENCY_WINDOW_DEFAULTS, LatencyWindow, type LatencyWindowOptions } from './balance/LatencyWindow.js';
export {
  type EjectionReason,
  OUTLIER_DETECTOR_DEFAULTS,
  OutlierDetector,
  type OutlierDetectorOptions,
  type OutlierInspection,
} from './balance/OutlierDetector.js';
export { BalancerPick, type BalancerTarget } from './balance/pick/BalancerPick.js';
export type { BalancePolicy } from './balance/pick/policies.js';
export {
  RETRY_BUDGET_DEFAULTS,
  RetryBudget,
  type RetryBudgetInspection,
  type RetryBudgetOptions,
} from './balance/RetryBudget.js';
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
  MultiServerRateLimiterInspection,
  ServerLimiterStats,
} from './limiter/Limiter.js';
export { LimiterTableFullError } from './limiter/LimiterTableFullError.js';
export { RATE_LIMITER_DEFAULTS, type RateLimiterOptions } from './limiter/limiterOptions.js';
export {
  MULTI_SERVER_RATE_LIMITER_DEFAULTS,
  MultiServerRateLimiter,
  type MultiServerRateLimiterOptions,
  type ServerLimit,
} from './limiter/MultiServerRateLimiter.js';
export { RateLimiter } from './limiter/RateLimiter.js';
export { KeyedPool } from './resource/keyed/KeyedPool.js';
export {
  KEYED_POOL_DEFAULTS,
  type KeyedFactory,
  type KeyedPoolEvents,
  type KeyedPoolInspection,
  type KeyedPoolOptions,
  type KeyedPoolStats,
} from './resource/keyed/keyedOptions.js';
export type { Lease } from './resource/Lease.js';
export {
  type AcquireOptions,
  type DestroyReason,
  RESOURCE_POOL_DEFAULTS,
  type ResizeOptions,
  type ResourceFactory,
  type ResourcePoolOptions,
} from './resource/options.js';
export type {
  ResourceInfo,
  ResourcePoolEvents,
  ResourcePoolInspection,
  ResourcePoolStats,
  WaitTimes,
} from './resource/PoolJournal.js';
export { ResourcePool } from './resource/ResourcePool.js';
export {
  Permit,
  type PermitOptions,
  SEMAPHORE_DEFAULTS,
  Semaphore,
  type SemaphoreInspection,
  type SemaphoreOptions,
} from './Semaphore.js';
