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
export { closeAndCheck, type LeakBaseline, type LeakOptions, leakBaseline } from './closeAndCheck.js';
export { FakeClock } from './FakeClock.js';
export { type Fault, FaultPlan, type FaultPlanOptions } from './FaultPlan.js';
export { type FaultyOptions, faulty } from './faulty.js';
