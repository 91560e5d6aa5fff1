export { type Clock, systemClock, type Timer } from './clock.js';
export {
  CLOSE_DEFAULTS,
  type Closeable,
  type CloseHooks,
  type CloseOptions,
  CloseScope,
} from './close/CloseScope.js';
export type { GracePeriod } from './close/GracePeriod.js';
export {
  type AcquireTimeoutDetail,
  AcquireTimeoutError,
  type Acted,
  BackingOffError,
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
  ProtocolError,
  QueueFullError,
  RateLimitedError,
  RequestTimeoutError,
  RpcError,
  ServerNotFoundError,
  ServerStoppedError,
  ShutdownTimeoutError,
  SignInError,
  StartError,
  type StartErrorDetail,
  StillAliveError,
  UnauthorizedError,
  UpstreamBusyError,
} from './errors.js';
export { Emitter, type Listener } from './events.js';
export { type LogFn, type Logger, silentLogger } from './logger.js';
