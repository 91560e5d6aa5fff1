import { createHash } from 'node:crypto';
import { closed, type RedisLike } from '../../concurrent/cluster/redisConnection.js';
import { type Closeable, type CloseOptions, CloseScope } from '../../core/close/CloseScope.js';
import { messageOf } from '../../core/errors.js';
import { type Logger, silentLogger } from '../../core/logger.js';
import { checkBytes, checkCount, checkMs, checkString, withDefaults } from '../../core/options.js';
import type { EventStore, ReplayReader } from '../http/stream/stored/EventStore.js';
import { handOver } from '../http/stream/stored/replaying.js';
import { checkRedis, duplicateOf, type RedisCommands } from './redisCommands.js';

export interface RedisEventStoreOptions {
  /** An ioredis client or cluster (5 or 6). It is duplicated, and neither used nor closed otherwise. */
  readonly redis: RedisLike;
  /** Stands before every key: replicas of one gateway have the same. @defaultValue 'mcp-poolkit:' */
  readonly keyPrefix?: string;
  /** Bytes of messages of one stream, as JSON, from 1; the oldest go first, the newest stays. @defaultValue 1048576 */
  readonly maxStreamBytes?: number;
  /** Events of one stream, from 1; the oldest go first. @defaultValue 1000 */
  readonly maxStreamEvents?: number;
  /** A stream is forgotten so long after its last event, in ms, from 1. @defaultValue 600000 */
  readonly streamLifeMs?: number;
  /** How long the store may take to answer, in ms, from 1. @defaultValue 2000 */
  readonly storeTimeoutMs?: number;
  /** Where it logs; anything with pino's methods. @defaultValue a logger that is silent */
  readonly logger?: Logger;
}

export const REDIS_EVENT_STORE_DEFAULTS = Object.freeze({
  keyPrefix: 'mcp-poolkit:',
  maxStreamBytes: 1_024 * 1_024,
  maxStreamEvents: 1_000,
  streamLifeMs: 10 * 60_000,
  storeTimeoutMs: 2_000,
});

/** Adds one event and takes away the oldest beyond the bounds; in one step, so that replicas may write to one stream. */
const ADD = `
local id = redis.call('XADD', KEYS[1], '*', 'm', ARGV[1])
local bytes = redis.call('INCRBY', KEYS[2], #ARGV[1])
local events = redis.call('XLEN', KEYS[1])
while events > 1 and (bytes > tonumber(ARGV[2]) or events > tonumber(ARGV[3])) do
  local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
  redis.call('XDEL', KEYS[1], oldest[1])
  bytes = redis.call('DECRBY', KEYS[2], #oldest[2][2])
  events = events - 1
end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return id`;

/** The events behind another one, up to so many and until they have so many bytes. */
const READ = `
local page, bytes, last = {}, 0, ARGV[1]
while #page < tonumber(ARGV[2]) and bytes < tonumber(ARGV[3]) do
  local event = redis.call('XRANGE', KEYS[1], '(' .. last, '+', 'COUNT', 1)[1]
  if not event then break end
  page[#page + 1] = event
  bytes = bytes + #event[2][2]
  last = event[1]
end
return page`;

/** What is read at once. */
const PAGE_EVENTS = 100;
const PAGE_BYTES = 128 * 1_024;

type Entry = readonly [id: string, fields: readonly string[]];

/**
 * The events of streams in Redis or Valkey, one of its streams each, bounded by bytes, events and time: a client whose replica has gone reads
 * on at any other. An `EventStore` of the SDK, for its servers as well.
 */
export class RedisEventStore implements EventStore, Closeable, AsyncDisposable {
  readonly #options: Required<Omit<RedisEventStoreOptions, 'redis' | 'logger'>>;
  readonly #redis: RedisCommands;
  readonly #scope: CloseScope;

  /** @throws OptionError */
  constructor(given: RedisEventStoreOptions) {
    const options = withDefaults('RedisEventStore', given, REDIS_EVENT_STORE_DEFAULTS, { redis: true, logger: true });
    checkBytes('maxStreamBytes', options.maxStreamBytes, { min: 1 });
    checkCount('maxStreamEvents', options.maxStreamEvents, { min: 1 });
    checkMs('streamLifeMs', options.streamLifeMs, { min: 1 });
    checkMs('storeTimeoutMs', options.storeTimeoutMs, { min: 1 });
    checkString('keyPrefix', options.keyPrefix);
    const { logger = silentLogger } = options;
    this.#options = options;
    this.#redis = duplicateOf(checkRedis(options.redis), options.storeTimeoutMs, false);
    // Who stores or reads is told by that call's failure.
    this.#redis.on('error', (error) => logger.debug({ error: messageOf(error) }, 'the event store cannot be reached'));
    this.#scope = new CloseScope('RedisEventStore', { logger, onRelease: () => closed(this.#redis) });
  }

  async storeEvent(streamId: string, message: unknown): Promise<string> {
    return this.storeText(streamId, JSON.stringify(message));
  }

  async storeText(streamId: string, text: string): Promise<string> {
    this.#scope.assertOpen();
    const { maxStreamBytes, maxStreamEvents, streamLifeMs } = this.#options;
    const key = this.#keyOf(streamId);
    const bounds = [maxStreamBytes, maxStreamEvents, Math.ceil(streamLifeMs)];
    const id = await this.#redis.call('EVAL', ADD, 2, key, `${key}:bytes`, text, ...bounds);
    return `${String(id)}:${streamId}`;
  }

  async getStreamIdForEventId(eventId: string): Promise<string | undefined> {
    const { id, stream } = partsOf(eventId);
    if (id === undefined || stream === undefined) return undefined;
    const found = (await this.#redis.call('XRANGE', this.#keyOf(stream), id, id)) as readonly Entry[];
    return found.length === 0 ? undefined : stream;
  }

  async replayEventsAfter(lastEventId: string, to: ReplayReader): Promise<string> {
    const { id, stream } = partsOf(lastEventId);
    if (id === undefined || stream === undefined) throw new Error('that event is not of this store');
    const key = this.#keyOf(stream);
    for (let last = id; ; ) {
      const page = (await this.#redis.call('EVAL', READ, 1, key, last, PAGE_EVENTS, PAGE_BYTES)) as readonly Entry[];
      if (page.length === 0) return stream;
      for (const [next, fields] of page) {
        last = next;
        await handOver(to, `${next}:${stream}`, fields[1] ?? '{}');
      }
    }
  }

  /** Ends its connection. */
  close(options?: CloseOptions): Promise<void> {
    return this.#scope.close(options);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Both keys of a stream are on one node of a cluster. */
  #keyOf(streamId: string): string {
    const name = createHash('sha256').update(streamId).digest('base64url');
    return `${this.#options.keyPrefix}events:{${name}}`;
  }
}

function partsOf(eventId: string): { readonly id?: string; readonly stream?: string } {
  const hit = /^(\d{1,20}-\d{1,20}):([^\0\r\n]+)$/.exec(eventId);
  return hit === null ? {} : { id: hit[1] as string, stream: hit[2] as string };
}
