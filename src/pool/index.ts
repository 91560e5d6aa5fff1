export { KeyedPool } from '../concurrent/resource/keyed/KeyedPool.js';
export {
  KEYED_POOL_DEFAULTS,
  type KeyedFactory,
  type KeyedPoolEvents,
  type KeyedPoolInspection,
  type KeyedPoolOptions,
  type KeyedPoolStats,
} from '../concurrent/resource/keyed/keyedOptions.js';
export type { Lease } from '../concurrent/resource/Lease.js';
export {
  type AcquireOptions,
  type DestroyReason,
  RESOURCE_POOL_DEFAULTS,
  type ResizeOptions,
  type ResourceFactory,
  type ResourcePoolOptions,
} from '../concurrent/resource/options.js';
export type {
  ResourceInfo,
  ResourcePoolEvents,
  ResourcePoolInspection,
  ResourcePoolStats,
  WaitTimes,
} from '../concurrent/resource/PoolJournal.js';
export { ResourcePool } from '../concurrent/resource/ResourcePool.js';
export type { Connection, DisconnectReason } from '../connection/Connection.js';
export type { CredentialSet } from '../connection/checkCredentials.js';
export { HTTP_DEFAULTS } from '../connection/net/httpOptions.js';
export { type EraStore, type EraVerdict, MemoryEraStore } from '../core/era/EraStore.js';
export type { Clock, Closeable, CloseOptions, LogFn, Logger, Timer } from '../core/index.js';
export type { BackoffOptions } from '../core/time/backoff.js';
export type { RouterCounts } from '../targets/routes.js';
export type { CanaryCounts, MirrorCounts } from '../targets/Shadow.js';
export type { SpreadStats, TargetStats } from '../targets/stats/groupStats.js';
export type { ConfiguredTransport, Connector, ConnectRequest } from './connectors/Connector.js';
export type { StdioConnectorOptions } from './connectors/StdioConnector.js';
export type { UrlPoolOptions } from './connectors/UrlConnector.js';
export { HTTPClientPool, type HTTPClientPoolOptions } from './HTTPClientPool.js';
export { LIST_DEFAULTS, type ListBounds } from './ListBounds.js';
export type {
  ApplyReport,
  Caller,
  CompleteList,
  ConnectionLease,
  ListItems,
  ListKind,
  McpPool,
  PoolEvents,
  PoolInspection,
  Progress,
  RequestHandler,
  RequestOptions,
  RestartReason,
  ServerInfo,
  ServerNotice,
  ServerRequest,
  ServerState,
  ServerStats,
  StartReport,
  Subscription,
  SubscriptionFilter,
  TypedRequestOptions,
} from './McpPool.js';
export type { MethodMap, ResultOf } from './MethodMap.js';
export { SSEPool, type SSEPoolOptions } from './SSEPool.js';
export { StdioPool, type StdioPoolOptions } from './StdioPool.js';
export type { CredentialsHook, CredentialsRequest } from './server/callers/Credentials.js';
export type { CallTrace, TracedCall, TracedConnection } from './server/calls/trace.js';
export { POOL_DEFAULTS, type PoolOptions } from './server/options.js';
export { UnifiedPool, type UnifiedPoolOptions } from './UnifiedPool.js';
