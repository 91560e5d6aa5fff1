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
    duplicate(...args: unknown[]): unknown;
  };
  if (lent.isCluster !== true) return lent.duplicate(override);
  const { connectTimeout, disconnectTimeout, retryStrategy: clusterRetryStrategy } = override;
  const redisOptions = { ...lent.options?.redisOptions, connectTimeout, disconnectTimeout };
  return lent.duplicate([], { ...override, clusterRetryStrategy, redisOptions, enableOfflineQueue: true });
}

/** Resolves when the connection has ended. */
export function ended(connection: Connection): Promise<void> {
  if (connection.status === 'end') return Promise.resolve();
  return new Promise((resolve) => connection.once('end', resolve));
}
