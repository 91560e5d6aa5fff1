export {
  ClosedError,
  type ErrorCode,
  OptionError,
  PoolkitError,
  ServerNotFoundError,
  ServerStoppedError,
  StartError,
  type StartErrorDetail,
  StillAliveError,
} from '../core/errors.js';
export {
  type ExitInfo,
  MANAGED_PROCESS_DEFAULTS,
  ManagedProcess,
  type ManagedProcessOptions,
  type SpawnConfig,
  type StopOptions,
} from './ManagedProcess.js';
export { INHERITED_ENV } from './process/environment.js';
export type {
  Era,
  ServerConfig,
  ServerSettings,
  Sharing,
  StdioServerConfig,
  StdioTarget,
  UrlServerConfig,
  UrlTarget,
} from './ServerConfig.js';
