import type { DisconnectReason } from '../../../connection/Connection.js';
import type { Clock } from '../../../core/clock.js';
import type { Logger } from '../../../core/logger.js';
import { backoffMs } from '../../../core/time/backoff.js';
import type { Caller } from '../../McpPool.js';
import type { PooledConnection } from '../connections/PooledConnection.js';
import type { ServerContext } from '../context.js';
import type { PartitionRules, PartitionState } from './partitionState.js';

/** What all partitions of one kind of a server run by. One object for all of them. */
export interface PartitionSettings<P> {
  readonly server: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly rules: PartitionRules;
  readonly maxConnections: number;
  /** Calls and leases on each connection. */
  readonly slots: number;
  /** Callers that wait though no connection is or can be started for them. */
  readonly maxQueue: number;
  readonly idleTimeoutMs: number;
  /** Whether an idle connection may end for another caller's: not one that holds a session's state. */
  readonly evictable: boolean;
  /** Whether a connection is one caller's for one call: `leased`. */
  readonly leased: boolean;
  readonly host: PartitionHost<P>;
}

/** The table that a partition `P` stands in. */
export interface PartitionHost<P> {
  /** Whether callers wait for a connection whom the end of this one would help. */
  crowds(pooled: PooledConnection): boolean;
  /** A connection that is up already and may be this partition's. */
  spare(partition: P): PooledConnection | undefined;
  /** Starts one within the limits and the start's time; `awaited`: it waits for room, too. */
  connect(caller: Caller | undefined, signal: AbortSignal, awaited?: () => boolean): Promise<PooledConnection>;
  /** Whether its connection must stay though no call runs. */
  isWanted(partition: P): boolean;
  onState(partition: P, previous: PartitionState): void;
  /** `replaces`: in the place of one that died by itself. */
  onConnected(partition: P, pooled: PooledConnection, replaces: boolean): void;
  onDisconnected(partition: P, pooled: PooledConnection, reason: DisconnectReason): void;
  /** Nothing of it is left, and nothing to remember. */
  onEmpty(partition: P): void;
}

/** The bounds of one wait for a slot. */
export interface AcquireBounds {
  /** Who waits: a start is made with this caller's context. */
  readonly caller: Caller | undefined;
  readonly signal: AbortSignal | undefined;
  /** Longest wait for a slot while connections are up, in ms. What was waited is taken off. */
  queueMs: number;
  /** Clock ms at which the caller gives up, whatever it waits for. */
  readonly untilMs: number;
}

/** What the partitions of a server run by. */
export function partitionSettings<P>(
  { config, options, pool }: ServerContext,
  host: PartitionHost<P>,
): PartitionSettings<P> {
  const leased = options.sharing === 'leased';
  return {
    server: config.name,
    clock: pool.clock,
    logger: pool.logger,
    rules: { stableAfterMs: pool.stableAfterMs, backoffMs: (attempt) => backoffMs(attempt, pool.backoff) },
    maxConnections: leased ? options.maxConnections : 1,
    slots: leased ? 1 : options.maxConcurrent,
    maxQueue: options.maxQueue,
    idleTimeoutMs: options.idleTimeoutMs,
    // A session's state would end with it.
    evictable: options.sharing !== 'bound',
    leased,
    host,
  };
}
