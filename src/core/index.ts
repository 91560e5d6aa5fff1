export {
  CLOSE_DEFAULTS,
  type Closeable,
  type CloseHooks,
  type CloseOptions,
  CloseScope,
} from './CloseScope.js';
export { type Clock, systemClock, type Timer } from './clock.js';
export {
  type AcquireTimeoutDetail,
  AcquireTimeoutError,
  type Acted,
  CircuitOpenError,
  ClosedError,
  ERROR_CODES,
  type ErrorCode,
  ForbiddenError,
  MessageTooLargeError,
  NotSentError,
  OptionError,
  OutcomeUnknownError,
  PoolkitError,
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
  WireError,
} from './errors.js';
export { Emitter, type Listener } from './events.js';
export type { Grace } from './Grace.js';
export { type LogFn, type Logger, silentLogger } from './logger.js';
