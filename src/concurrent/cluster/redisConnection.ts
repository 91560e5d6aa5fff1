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
  return readGuarded(lent.duplicate([], { ...override, clusterRetryStrategy, redisOptions, enableOfflineQueue: true }));
}

/** What ioredis reads with. */
interface Readable {
  readonly stream?: Pick<Duplex, 'listeners' | 'off' | 'prependListener' | 'destroy'> | undefined;
  on(event: string, listener: (node: Readable) => void): unknown;
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

/** Resolves when the connection has ended. */
export function ended(connection: Connection): Promise<void> {
  if (connection.status === 'end') return Promise.resolve();
  return new Promise((resolve) => connection.once('end', resolve));
}
