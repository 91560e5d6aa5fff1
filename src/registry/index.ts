export type { Clock, Closeable, CloseOptions, LogFn, Logger, Timer } from '../core/index.js';
export { ConfigError, type ConfigPlace } from './config/ConfigError.js';
export { checkServerConfig } from './config/checkServerConfig.js';
export { type ParsedConfig, type ParseOptions, parseConfig, readConfigFile } from './config/configFile.js';
export type { Curation, ToolGroup, ToolRules } from './config/curation/Curation.js';
export {
  type Expansion,
  escapeVariables,
  expandVariables,
  type Variables,
} from './config/expandVariables.js';
export { fingerprint } from './config/fingerprint.js';
export type {
  Era,
  ServerConfig,
  ServerSettings,
  ServerTarget,
  SeveralServersConfig,
  SeveralTargets,
  Sharing,
  SingleServerConfig,
  StdioServerConfig,
  StdioTarget,
  TargetPlace,
  TargetReach,
  UrlServerConfig,
  UrlTarget,
} from './config/ServerConfig.js';
export {
  type RegistryChange,
  type RegistryEvents,
  ServerRegistry,
  type ServerRegistryInspection,
  type ServerRegistryOptions,
} from './config/ServerRegistry.js';
export type { OutlierSettings, SeveralSettings } from './config/targets/SeveralSettings.js';
export {
  CONFIG_WATCHER_DEFAULTS,
  ConfigWatcher,
  type ConfigWatcherEvents,
  type ConfigWatcherOptions,
} from './config/watch/ConfigWatcher.js';
export type { LifecycleEvents, ServerIdentity } from './lifecycle/events.js';
export type { SweepReport } from './lifecycle/LedgerKeeper.js';
export { LifecycleManager, type ServerHandle } from './lifecycle/LifecycleManager.js';
export {
  LIFECYCLE_CONFIG_DEFAULTS,
  LIFECYCLE_MANAGER_DEFAULTS,
  type LifecycleConfig,
  type LifecycleManagerOptions,
  type Readiness,
} from './lifecycle/options.js';
export type { ProcessRecord } from './lifecycle/record.js';
export type { ServerStateTag, ServerStatus } from './lifecycle/state.js';
export type { ServerUsage } from './lifecycle/usage.js';
export { closeInheritedDescriptors } from './process/descriptors.js';
export { INHERITED_ENV } from './process/environment.js';
export {
  type ExitInfo,
  MANAGED_PROCESS_DEFAULTS,
  ManagedProcess,
  type ManagedProcessOptions,
  type SpawnConfig,
  type StopOptions,
} from './process/ManagedProcess.js';
export { type LedgerContents, ProcessLedger, type RejectedRecord } from './process/ProcessLedger.js';
