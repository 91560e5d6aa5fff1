import { setImmediate } from 'node:timers/promises';
import { DISCONNECT_MS, duplicated, type RedisLike } from '../../concurrent/cluster/redisConnection.js';
import { systemClock } from '../../core/clock.js';
import { messageOf, OptionError } from '../../core/errors.js';
import { within } from '../../core/time/within.js';

/** The part of ioredis that is used of a connection of our own. */
export interface RedisCommands {
  readonly status: string;
  /** Of one server. */
  readonly stream?: { readonly bytesRead?: number } | undefined;
  call(command: string, ...args: readonly (string | number)[]): Promise<unknown>;
  subscribe(channel: string): Promise<unknown>;
  on(event: 'error' | 'ready' | 'end', listener: (error?: unknown) => void): unknown;
  on(event: 'message', listener: (channel: unknown, text: unknown) => void): unknown;
  once(event: 'end', listener: () => void): unknown;
  disconnect(reconnect?: boolean): void;
}

/** @throws OptionError */
export function checkRedis(redis: RedisLike): RedisLike {
  if (typeof (redis as Partial<RedisLike> | undefined)?.duplicate === 'function') return redis;
  throw new OptionError('redis', redis, 'an ioredis client or cluster');
}

const MAX_RETRY_MS = 2_000;

/**
 * A connection of our own to the same server, which comes back by itself. No command is sent twice; one that finds no connection fails at once,
 * unless `waits`.
 */
export function duplicateOf(redis: RedisLike, timeoutMs: number, waits: boolean): RedisCommands {
  const retryStrategy = (times: number): number => Math.min(times * 50, MAX_RETRY_MS);
  const override = {
    lazyConnect: false,
    enableOfflineQueue: waits,
    autoResendUnfulfilledCommands: false,
    autoResubscribe: true,
    maxRetriesPerRequest: waits ? null : 0,
    connectTimeout: timeoutMs,
    sentinelCommandTimeout: timeoutMs,
    ...(waits ? {} : { commandTimeout: timeoutMs }),
    disconnectTimeout: DISCONNECT_MS,
    keyPrefix: '',
    retryStrategy,
  };
  const made = duplicated(redis, override) as RedisCommands;
  if (waits) return made;
  return leftWhenSilent(isCluster(redis) ? answersInTime(made, timeoutMs) : made);
}

export const isCluster = (redis: RedisLike): boolean => (redis as { readonly isCluster?: boolean }).isCluster === true;

/** A cluster, which knows no timeout of commands: they wait for nodes that say nothing, and for slots that no node tells. */
function answersInTime(cluster: RedisCommands, timeoutMs: number): RedisCommands {
  const call = cluster.call.bind(cluster);
  const late = (): Error => new Error('Command timed out');
  cluster.call = async (...command) => {
    if (cluster.status !== 'ready') throw new Error('the store is not connected');
    return within(call(...command), { clock: systemClock, timeoutMs, late });
  };
  return cluster;
}

/**
 * A connection whose server says nothing in time is made anew: until that one answers, what is asked fails at once, and nothing piles up in it. Some
 * networks drop what is sent without a word, and a server that hangs takes connections all the same. One that is slow, or sends much, is left alone.
 */
function leftWhenSilent(connection: RedisCommands): RedisCommands {
  const call = connection.call.bind(connection);
  let answers = 0;
  let leaving = false;
  connection.on('ready', () => {
    leaving = false;
  });
  const heard = (): number => answers + (connection.stream?.bytesRead ?? 0);
  connection.call = async (...command) => {
    const before = heard();
    try {
      const answer = await call(...command);
      answers++;
      return answer;
    } catch (error) {
      if (!/timed out/i.test(messageOf(error))) throw error;
      // After a stall of our own an answer may be here, unread.
      await setImmediate();
      if (heard() === before && !leaving && connection.status === 'ready') {
        leaving = true;
        connection.disconnect(true);
      }
      throw error;
    }
  };
  return connection;
}
