export {
  AcquireTimeoutError,
  type Closeable,
  ClosedError,
  type CloseOptions,
  OptionError,
  PoolkitError,
  QueueFullError,
  ShutdownTimeoutError,
} from '../core/index.js';
export {
  Permit,
  type PermitOptions,
  SEMAPHORE_DEFAULTS,
  Semaphore,
  type SemaphoreOptions,
} from './Semaphore.js';
