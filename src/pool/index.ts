export {
  type AcquireTimeoutDetail,
  AcquireTimeoutError,
  type Closeable,
  ClosedError,
  type CloseOptions,
  OptionError,
  PoolkitError,
  QueueFullError,
  ShutdownTimeoutError,
  StartError,
} from '../core/index.js';
export { CreateError } from './resource/errors.js';
export type { Lease } from './resource/Lease.js';
export { type BackoffOptions, RESOURCE_POOL_DEFAULTS, type ResourcePoolOptions } from './resource/options.js';
export { ResourcePool } from './resource/ResourcePool.js';
export type {
  AcquireOptions,
  DestroyReason,
  ResourceFactory,
  ResourcePoolEvents,
  ResourcePoolStats,
} from './resource/types.js';
