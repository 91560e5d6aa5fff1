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
  const lent = redis as unknown as { readonly isCluster?: boolean; duplicate(...args: unknown[]): Connection };
  if (lent.isCluster !== true) return lent.duplicate(override);
  return lent.duplicate([], { ...override, clusterRetryStrategy: () => null, enableOfflineQueue: true });
}

/** Resolves when the connection has ended. */
export function ended(connection: Connection): Promise<void> {
  if (connection.status === 'end') return Promise.resolve();
  return new Promise((resolve) => connection.once('end', resolve));
}
