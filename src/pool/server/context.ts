import type { ConnectionLimit } from '../../concurrent/ConnectionLimit.js';
import type { PoolMiddleware } from '../../connection/calls/PoolMiddleware.js';
import type { Emitter } from '../../core/events.js';
import type { Sweeper } from '../../core/time/Sweeper.js';
import type { SingleServerConfig } from '../../registry/config/ServerConfig.js';
import type { Connector } from '../connectors/Connector.js';
import type { McpPool, PoolEvents } from '../McpPool.js';
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

/** What a server is told of its pool. */
export interface ServerHost extends Omit<PoolContext, 'events'> {
  readonly events: Pick<PoolContext['events'], 'emit'>;
  /** Whether it sends a call again itself: with other targets beside it, another of them gets it. @defaultValue always */
  readonly resends?: () => boolean;
  /** It is a mirror or a canary: its 429s pause no limiter. */
  readonly shadow?: boolean;
}

/** What the parts of one server share. */
export interface ServerContext extends ServerHost {
  readonly config: SingleServerConfig;
  readonly fingerprint: string;
  readonly options: ServerOptions;
  readonly counters: Counters;
}
