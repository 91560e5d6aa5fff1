export type { Clock, Closeable, CloseOptions, LogFn, Logger, Timer } from '../core/index.js';
export type { Curation, ToolGroup, ToolRules } from '../registry/config/curation/Curation.js';
export { addGateway, type GatewayStepsOptions } from './addGateway.js';
export { Gateway } from './Gateway.js';
export { GATEWAY_DEFAULTS, type GatewayOptions, type GatewayPool } from './GatewayOptions.js';
export type { GatewayStats } from './GatewayStats.js';
export type { EventStore, ReplayReader } from './http/stream/stored/EventStore.js';
export {
  MEMORY_EVENT_STORE_DEFAULTS,
  MemoryEventStore,
  type MemoryEventStoreOptions,
} from './http/stream/stored/MemoryEventStore.js';
export type { FetchContext } from './mount/fetchOnce.js';
export type { GatewayHandler } from './mount/GatewayHandler.js';
export type { GatewayAddress } from './mount/listenAt.js';
export {
  REDIS_EVENT_STORE_DEFAULTS,
  RedisEventStore,
  type RedisEventStoreOptions,
} from './replicas/RedisEventStore.js';
export { REDIS_REPLICAS_DEFAULTS, RedisReplicas, type RedisReplicasOptions } from './replicas/RedisReplicas.js';
export type { ReplicaLink } from './replicas/ReplicaLink.js';
export type {
  OpenCall,
  Point,
  ServerRow,
  StatusData,
  StatusSnapshot,
  TimelineEvent,
} from './status/StatusData.js';
export { STATUS_DEFAULTS, type StatusOptions } from './status/StatusOptions.js';
export { STDIO_FRONT_DEFAULTS, type StdioFrontOptions } from './stdio/serveStdio.js';
export { type CatalogQuery, ToolCatalog, type ToolCatalogInspection, type ToolCatalogOptions } from './ToolCatalog.js';
export type { ResourceMetadata } from './users/Admission.js';
export type { Authenticate, AuthRequest, User } from './users/Authenticate.js';
export { bearerTokens, type TokenUser } from './users/bearerTokens.js';
export { JWT_DEFAULTS, type JwtContext, type JwtOptions, jwtUsers } from './users/jwtUsers.js';
export type { ScopeRule } from './users/scopes/ScopeRules.js';
