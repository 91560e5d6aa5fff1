import { randomBytes } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { closed, type RedisLike } from '../../concurrent/cluster/redisConnection.js';
import { type Clock, systemClock } from '../../core/clock.js';
import { type Closeable, type CloseOptions, CloseScope } from '../../core/close/CloseScope.js';
import { messageOf, RequestTimeoutError } from '../../core/errors.js';
import { type Logger, silentLogger } from '../../core/logger.js';
import { checkMs, checkString, withDefaults } from '../../core/options.js';
import { within } from '../../core/time/within.js';
import type { ReplicaLink } from './ReplicaLink.js';
import { checkRedis, duplicateOf, isCluster, type RedisCommands } from './redisCommands.js';
import { hasRoom, sendingBytes } from './sendingRoom.js';

export interface RedisReplicasOptions {
  /** An ioredis client or cluster (5 or 6). It is duplicated, and neither used nor closed otherwise. */
  readonly redis: RedisLike;
  /** Stands before every key and channel: replicas of one gateway have the same. @defaultValue 'mcp-poolkit:' */
  readonly keyPrefix?: string;
  /** How long the store may take to answer, in ms, from 1. @defaultValue 2000 */
  readonly storeTimeoutMs?: number;
  /** A replica that says nothing for so long, in ms, from 100, counts as dead. @defaultValue 6000 */
  readonly aliveMs?: number;
  /** Where it logs; anything with pino's methods. @defaultValue a logger that is silent */
  readonly logger?: Logger;
  /** Measures time and arms timers; a `FakeClock` in tests. @defaultValue the system's clock */
  readonly clock?: Clock;
}

export const REDIS_REPLICAS_DEFAULTS = Object.freeze({
  keyPrefix: 'mcp-poolkit:',
  storeTimeoutMs: 2_000,
  aliveMs: 6_000,
});

/** A message that is longer is not told to others. */
const MAX_MESSAGE_BYTES = 8 * 1_024 * 1_024;

/** In one step: no note is there that does not expire. */
const NOTE = `
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return redis.call('PEXPIRE', KEYS[1], ARGV[3])`;

/**
 * The replicas of one gateway, by one Redis or Valkey: messages by publish and subscribe, notes as hashes that expire. While it cannot be
 * reached nothing is told and nothing is known; after that all replicas take their lists for changed, since they may have missed it.
 */
export class RedisReplicas implements ReplicaLink, Closeable, AsyncDisposable {
  readonly id = randomBytes(4).toString('hex');
  readonly #prefix: string;
  readonly #aliveMs: number;
  readonly #logger: Logger;
  readonly #commands: RedisCommands;
  readonly #subscriber: RedisCommands;
  readonly #scope: CloseScope;
  readonly #listeners = new Set<{ readonly onMessage: (message: string) => void; readonly onGap: () => void }>();
  /** Connections that the subscriber has had. */
  #subscriptions = 0;
  #down = false;
  #sendingBytes = 0;
  readonly #isCluster: boolean;
  /** The subscription was there once. */
  #listens = false;
  /** A message of our own came. */
  #echo: (() => void) | undefined;
  /** Since when the subscriber is connected without being ready, in clock ms. */
  #unreadyMs: number | undefined;
  /** In a cluster: messages may have been missed, and none of our own has come since. */
  #deaf = false;
  readonly #clock: Clock;
  readonly #storeTimeoutMs: number;

  /** @throws OptionError */
  constructor(given: RedisReplicasOptions) {
    const options = withDefaults('RedisReplicas', given, REDIS_REPLICAS_DEFAULTS, {
      redis: true,
      logger: true,
      clock: true,
    });
    checkMs('storeTimeoutMs', options.storeTimeoutMs, { min: 1 });
    checkMs('aliveMs', options.aliveMs, { min: 100 });
    const redis = checkRedis(options.redis);
    const { logger = silentLogger, clock = systemClock } = options;
    this.#prefix = checkString('keyPrefix', options.keyPrefix);
    this.#aliveMs = options.aliveMs;
    this.#logger = logger;
    this.#clock = clock;
    this.#storeTimeoutMs = options.storeTimeoutMs;
    this.#isCluster = isCluster(redis);
    this.#commands = duplicateOf(redis, options.storeTimeoutMs, false);
    this.#subscriber = duplicateOf(redis, options.storeTimeoutMs, true);
    for (const each of [this.#commands, this.#subscriber]) each.on('error', (error) => this.#failed(error));
    this.#commands.on('ready', () => this.#ready());
    this.#subscriber.on('message', (_channel, text) => this.#heard(String(text)));
    this.#subscriber.on('ready', () => this.#onSubscriber());
    this.#scope = new CloseScope('RedisReplicas', { clock, logger, onRelease: () => this.#release() });
    this.#scope.every('say that this replica lives', options.aliveMs / 3, () => this.#beat());
    this.#subscriber.subscribe(this.#channel).then(
      () => {
        this.#listens = true;
      },
      (error: unknown) => this.#failed(error),
    );
  }

  publish(message: string, mayBeLost = false): void {
    const bytes = sendingBytes(message);
    if (this.#scope.closing || bytes > MAX_MESSAGE_BYTES || !hasRoom(bytes, this.#sendingBytes, mayBeLost)) return;
    this.#sendingBytes += bytes;
    this.#commands
      .call('PUBLISH', this.#channel, `${this.id} ${message}`)
      .catch((error: unknown) => this.#failed(error))
      .finally(() => {
        this.#sendingBytes -= bytes;
      });
  }

  listen(onMessage: (message: string) => void, onGap: () => void): Disposable {
    const listener = { onMessage, onGap };
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  async note(session: string, name: string, text: string | undefined, lifeMs: number): Promise<void> {
    const key = this.#keyOf('session', session);
    if (text === undefined) {
      await this.#commands.call('HDEL', key, name);
      return;
    }
    await this.#commands.call('EVAL', NOTE, 1, key, name, text, Math.ceil(lifeMs));
  }

  async notes(session: string): Promise<Readonly<Record<string, string>>> {
    const flat = (await this.#commands.call('HGETALL', this.#keyOf('session', session))) as readonly unknown[];
    const notes: Record<string, string> = Object.create(null) as Record<string, string>;
    for (let i = 0; i + 1 < flat.length; i += 2) notes[String(flat[i])] = String(flat[i + 1]);
    return notes;
  }

  async isAlive(replica: string): Promise<boolean> {
    return replica === this.id || (await this.#commands.call('EXISTS', this.#keyOf('replica', replica))) === 1;
  }

  /** Ends its connections. */
  close(options?: CloseOptions): Promise<void> {
    return this.#scope.close(options);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  get #channel(): string {
    return `${this.#prefix}replicas`;
  }

  #keyOf(kind: 'session' | 'replica', name: string): string {
    return `${this.#prefix}${kind}:${name}`;
  }

  #heard(text: string): void {
    const space = text.indexOf(' ');
    if (text.slice(0, space) === this.id) {
      this.#echo?.();
      if (this.#deaf) this.#gap();
      return;
    }
    const message = text.slice(space + 1);
    if (message === '') return;
    for (const { onMessage } of this.#listeners) this.#guarded(() => onMessage(message));
  }

  #ready(): void {
    this.#back();
    this.#beat();
  }

  #back(): void {
    if (this.#down) this.#logger.info({}, 'the store of the replicas is back');
    this.#down = false;
  }

  /** Messages of the time before, without a connection, are lost. */
  #onSubscriber(): void {
    const again = ++this.#subscriptions > 1;
    if (again && this.#commands.status === 'ready') this.#back();
    // A cluster subscribes some time later.
    if (again && this.#isCluster) this.#deaf = true;
    else if (again) this.#gap();
  }

  #gap(): void {
    this.#deaf = false;
    for (const { onGap } of this.#listeners) this.#guarded(onGap);
  }

  #beat(): void {
    void this.#hearsStill();
    if (this.#commands.status !== 'ready') return;
    this.#commands
      .call('SET', this.#keyOf('replica', this.id), '1', 'PX', this.#aliveMs)
      .catch((error: unknown) => this.#failed(error));
  }

  /** What is subscribed to may say nothing for days: a connection that was cut without a word is found by asking. Never rejects. */
  async #hearsStill(): Promise<void> {
    const subscriber = this.#subscriber;
    if (subscriber.status !== 'connect') this.#unreadyMs = undefined;
    else this.#leaveUnready();
    if (subscriber.status !== 'ready' || !this.#listens) return;
    const timeoutMs = this.#storeTimeoutMs;
    const late = (): Error => new RequestTimeoutError('store of the replicas', 'PING', timeoutMs);
    const connection = this.#subscriptions;
    let heard = false;
    const asked = (this.#isCluster ? this.#echoed() : subscriber.call('PING')).then(() => {
      heard = true;
    });
    try {
      await within(asked, { clock: this.#clock, timeoutMs, late, ref: false });
    } catch (error) {
      // After a stall of our own the answer may be here, unread.
      await setImmediate();
      if (heard || this.#scope.closing || subscriber.status !== 'ready') return;
      // What was asked of a connection that has died meanwhile is never answered, and says nothing of the one after it.
      if (!this.#isCluster && connection !== this.#subscriptions) return;
      this.#failed(error);
      subscriber.disconnect(true);
    }
  }

  /** It is connected, but to a server that does not say that it is ready: after a failover that may be the one which hangs. */
  #leaveUnready(): void {
    const nowMs = this.#clock.now();
    this.#unreadyMs ??= nowMs;
    if (nowMs - this.#unreadyMs < this.#storeTimeoutMs) return;
    this.#unreadyMs = undefined;
    this.#subscriber.disconnect(true);
  }

  /** A cluster's `PING` goes to any of its nodes: what tells of a subscription there is a message of our own, which says nothing to others. */
  #echoed(): Promise<void> {
    return new Promise((resolve) => {
      this.#echo = resolve;
      // Where it cannot be sent, the subscription is not to blame.
      this.#commands.call('PUBLISH', this.#channel, `${this.id} `).catch((error: unknown) => {
        this.#failed(error);
        resolve();
      });
    });
  }

  #guarded(run: () => void): void {
    try {
      run();
    } catch (error) {
      this.#logger.error({ error }, 'a message of another replica could not be taken');
    }
  }

  /** Told once for each outage. */
  #failed(error: unknown): void {
    if (this.#down || this.#scope.closing) return;
    this.#down = true;
    this.#logger.warn({ error: messageOf(error) }, 'the store of the replicas cannot be reached');
  }

  async #release(): Promise<void> {
    if (this.#commands.status === 'ready') {
      await this.#commands.call('DEL', this.#keyOf('replica', this.id)).catch(() => undefined); // it expires
    }
    await Promise.all([closed(this.#commands), closed(this.#subscriber)]);
  }
}
