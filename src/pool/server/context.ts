import type { PoolMiddleware } from '../../connection/calls/PoolMiddleware.js';
import type { Emitter } from '../../core/events.js';
import type { ServerConfig } from '../../registry/config/ServerConfig.js';
import type { Connector } from '../connectors/Connector.js';
import type { McpPool, PoolEvents } from '../McpPool.js';
import type { ConnectionLimit } from './limits/ConnectionLimit.js';
import type { Sweeper } from './limits/Sweeper.js';
import type { ResolvedPoolOptions, ServerOptions } from './options.js';
import type { Counters } from './stats/Counters.js';

/** What all servers of a pool share. */
export interface PoolContext {
  /** The pool itself, as traces name it. */
  readonly owner: McpPool;
  readonly pool: ResolvedPoolOptions;
  readonly connector: Connector;
  readonly events: Emitter<PoolEvents>;
  /** The whole pool's bound on connections. */
  readonly totalLimit: ConnectionLimit;
  /** What its calls pass through. */
  readonly middleware: PoolMiddleware;
  /** One timer for all that idles. */
  readonly sweeper: Sweeper;
}

/** What the parts of one server share. */
export interface ServerContext extends PoolContext {
  readonly config: ServerConfig;
  readonly fingerprint: string;
  readonly options: ServerOptions;
  readonly counters: Counters;
}
