export {
  type AcquireTimeoutDetail,
  AcquireTimeoutError,
  type Acted,
  CircuitOpenError,
  type Clock,
  type Closeable,
  ClosedError,
  type CloseOptions,
  ERROR_CODES,
  type ErrorCode,
  ForbiddenError,
  type LogFn,
  type Logger,
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
  type Timer,
  UnauthorizedError,
  UpstreamBusyError,
} from '../core/index.js';
export { addGateway, type GatewayStepsOptions } from './addGateway.js';
export { Gateway, type GatewayStats } from './Gateway.js';
export { GATEWAY_DEFAULTS, type GatewayOptions, type GatewayPool } from './GatewayOptions.js';
export type { GatewayAddress } from './http/paths.js';
export { type CatalogQuery, ToolCatalog, type ToolCatalogOptions } from './ToolCatalog.js';
