import type { Duplex } from 'node:stream';
import type { ScriptRunner } from './FleetMarks.js';

/** What is asked of an ioredis client or cluster that is handed in: it is only ever duplicated. */
export interface RedisLike {
  readonly status: string;
  duplicate(...args: never[]): unknown;
}

/** The part of ioredis that a session uses of its own connections. */
export interface Connection extends ScriptRunner {
  status: string;
  duplicate: (...args: unknown[]) => Connection;
  sendCommand(command: { readonly name: string }, ...rest: unknown[]): unknown;
  on(event: 'error' | 'close' | 'end', listener: (error?: unknown) => void): unknown;
  on(event: 'message', listener: (channel: unknown, text: unknown) => void): unknown;
  once(event: 'end', listener: () => void): unknown;
  disconnect(reconnect?: boolean): void;
  info(section: string): Promise<string>;
}

/** How long a connection may take to end. */
export const DISCONNECT_MS = 250;

/** A connection of our own to the same server, which never reconnects and never sends a command twice. */
export function duplicate(redis: RedisLike, storeTimeoutMs: number): Connection {
  const override = {
    lazyConnect: false,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
    connectTimeout: storeTimeoutMs,
    sentinelCommandTimeout: storeTimeoutMs,
    disconnectTimeout: DISCONNECT_MS,
    keyPrefix: '',
  };
  return duplicated(redis, override) as Connection;
}

/** A duplicate of a client, or of a cluster: what concerns each of its nodes is set for them, too. */
export function duplicated(
  redis: RedisLike,
  override: { readonly retryStrategy: unknown; readonly connectTimeout: number; readonly disconnectTimeout: number },
): unknown {
  const lent = redis as unknown as {
    readonly isCluster?: boolean;
    readonly options?: { readonly redisOptions?: object };
    duplicate(...args: unknown[]): Readable;
  };
  if (lent.isCluster !== true) return readGuarded(lent.duplicate(override));
  const { connectTimeout, disconnectTimeout, retryStrategy: clusterRetryStrategy } = override;
  const redisOptions = { ...lent.options?.redisOptions, connectTimeout, disconnectTimeout };
  const all = { ...override, clusterRetryStrategy, redisOptions, enableOfflineQueue: true };
  const cluster = readGuarded(lent.duplicate([], all)) as OwnCluster;
  const nodes = new Set<Readable>();
  cluster.on('+node', (node) => {
    nodes.add(node);
    node.on('end', () => nodes.delete(node));
  });
  nodesOf.set(cluster, nodes);
  return cluster;
}

/** What ioredis reads with. */
interface Readable {
  readonly stream?: Pick<Duplex, 'listeners' | 'off' | 'prependListener' | 'destroy'> | undefined;
  on(event: string, listener: (node: Readable) => void): unknown;
  disconnect(): void;
}

interface OwnCluster extends Readable {
  readonly options: { slotsRefreshInterval?: number };
  refreshSlotsCache: () => void;
}

/** Connections of a cluster of ours to its nodes, also those that ioredis 5 has forgotten: the end of one that it replaced takes the new one along. */
const nodesOf = new WeakMap<object, Set<Readable>>();

/** Ends a cluster with what is left behind of one that is only disconnected as its nodes come and go. */
function endCluster(cluster: OwnCluster, nodes: ReadonlySet<Readable>): void {
  cluster.disconnect();
  // A look at the slots that is under way would have the next one follow, for ever.
  cluster.options.slotsRefreshInterval = 0;
  cluster.refreshSlotsCache = () => undefined;
  for (const node of nodes) node.disconnect();
  cluster.on('+node', (node) => node.disconnect());
}

/**
 * Ends the socket of a connection whose reader throws. ioredis 6 does so itself; in 5 an answer that is nested some thousand levels deep,
 * or longer than arrays can be, would be an uncaught exception. Of a cluster each node's connection is guarded.
 */
function readGuarded(connection: Readable): Readable {
  connection.on('+node', readGuarded);
  // It reads from the turn of its connect on, before this is told.
  connection.on('connect', () => {
    const { stream } = connection;
    for (const read of stream?.listeners('data') ?? []) {
      stream?.off('data', read as () => void);
      stream?.prependListener('data', (data: unknown) => {
        try {
          read(data);
        } catch (error) {
          stream.destroy(error as Error);
        }
      });
    }
  });
  return connection;
}

/**
 * Ends a connection; resolves when it has ended. Not all tell of that: one that waits to connect again, since ioredis forgets its last socket in
 * that time, and a cluster whose nodes end one after the other, each of which it takes for its own end. The sockets are cut by then.
 */
export async function closed(connection: Pick<Connection, 'status' | 'once' | 'disconnect'>): Promise<void> {
  const nodes = nodesOf.get(connection);
  const over = connection.status === 'end';
  const ended = new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, over ? 0 : 2 * DISCONNECT_MS);
    connection.once('end', () => {
      clearTimeout(timer);
      resolve();
    });
  });
  if (nodes !== undefined) endCluster(connection as unknown as OwnCluster, nodes);
  else if (!over) connection.disconnect();
  await ended;
}
