export type { Closeable, CloseOptions } from '../core/CloseScope.js';
export type { Clock, Timer } from '../core/clock.js';
export {
  ClosedError,
  ERROR_CODES,
  type ErrorCode,
  OptionError,
  OutcomeUnknownError,
  PoolkitError,
  ShutdownTimeoutError,
} from '../core/errors.js';
export type { LogFn, Logger } from '../core/logger.js';
export { addGateway, type GatewayStepsOptions } from './addGateway.js';
export { Gateway, type GatewayStats } from './Gateway.js';
export { GATEWAY_DEFAULTS, type GatewayOptions, type GatewayPool } from './GatewayOptions.js';
export type { GatewayAddress } from './http/paths.js';
export { type CatalogQuery, ToolCatalog, type ToolCatalogOptions } from './ToolCatalog.js';
