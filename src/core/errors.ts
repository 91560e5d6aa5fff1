/**
 * Every error of the toolkit. The class tells the truth about a failed call: whether the upstream may have acted on it,
 * and whether calling again is safe. Decide by class or by `code`, never by the message.
 */

export {
  type AcquireTimeoutDetail,
  AcquireTimeoutError,
  BackingOffError,
  CircuitOpenError,
  CreateError,
  NotSentError,
  QueueFullError,
  RateLimitedError,
  StartError,
  type StartErrorDetail,
  sessionAwaited,
} from './errors/delays.js';
export { keptError, keptText } from './errors/keptError.js';
export { endOf, neverRan } from './errors/neverRan.js';
export { confirmAlive, isOfRequest, isServerFault, isVote } from './errors/ofRequest.js';
export {
  MessageTooLargeError,
  OutcomeUnknownError,
  ProtocolError,
  RequestTimeoutError,
  RpcError,
  ShutdownTimeoutError,
  StillAliveError,
  UpstreamBusyError,
} from './errors/outcomes.js';
export { type Acted, ERROR_CODES, type ErrorCode, PoolkitError } from './errors/PoolkitError.js';
export {
  ClosedError,
  ForbiddenError,
  OptionError,
  ServerNotFoundError,
  ServerStoppedError,
  SignInError,
  UnauthorizedError,
} from './errors/refusals.js';
export { messageOf, show } from './show.js';
