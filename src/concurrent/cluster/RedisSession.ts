import type Bottleneck from 'bottleneck';
import type { Clock, Timer } from '../../core/clock.js';
import type { Lease } from './LeaseStore.js';

/** What is asked of an ioredis client or cluster that is handed in: it is only ever duplicated. */
export interface RedisLike {
  readonly status: string;
  duplicate(...args: never[]): unknown;
}

/** The part of ioredis that a session uses of its own connections. */
interface Connection {
  status: string;
  duplicate: (...args: unknown[]) => Connection;
  on(event: 'error' | 'close' | 'end', listener: (error?: unknown) => void): unknown;
  once(event: 'end', listener: () => void): unknown;
  disconnect(reconnect?: boolean): void;
  info(section: string): Promise<string>;
  exists(key: string): Promise<number>;
  pubsub(command: 'NUMSUB', channel: string): Promise<unknown[]>;
}

export interface RedisSessionOptions {
  readonly redis: RedisLike;
  /** Names keys and channels, behind Bottleneck's own `b_`. */
  readonly id: string;
  readonly max: number;
  /** After so long without a word of us a lease counts no longer. */
  readonly leaseMs: number;
  readonly heartbeatMs: number;
  /** How long the store may take to connect and to answer. */
  readonly storeTimeoutMs: number;
  readonly clock: Clock;
  /** Called once, when the store is lost; `forgot` when it answers but knows nothing of us any more. */
  readonly onLost: (error: unknown, forgot: boolean) => void;
}

/** Fields of Bottleneck that outlive its own `disconnect`. */
interface Leftovers {
  readonly _store?: { readonly capacityPriorityCounters?: Readonly<Record<string, NodeJS.Timeout>> };
}

/**
 * One connected stretch with the store, from `open` to `end`: two connections of our own (Bottleneck needs one for
 * commands and one for messages), one Bottleneck on them, and what was leased through it. It never reconnects; when a
 * connection drops, the store does not answer in time or has forgotten us, it says so once, and the owner opens another.
 * A reconnecting client would send a command twice whose answer was lost, and Bottleneck would count that lease for ever.
 */
export class RedisSession {
  readonly #options: RedisSessionOptions;
  readonly #client: Connection;
  readonly #subscriber: Connection;
  readonly #held = new Set<() => void>();
  #limiter: Bottleneck | undefined;
  #connection: Bottleneck.IORedisConnection | undefined;
  #connected = false;
  #pollTimer: Timer | undefined;
  #failed: ((error: unknown) => void) | undefined;
  #over = false;
  #ending: Promise<void> | undefined;
  #asked = 0;
  #sentMs = 0;
  #runId = '';
  #processes = 1;

  constructor(options: RedisSessionOptions) {
    this.#options = options;
    this.#client = duplicate(options.redis, options.storeTimeoutMs);
    this.#subscriber = duplicate(options.redis, options.storeTimeoutMs);
    this.#client.duplicate = () => this.#subscriber;
    for (const connection of [this.#client, this.#subscriber]) {
      connection.on('error', (error) => this.#fail(error));
      connection.on('close', () => this.#fail(new Error('the connection to the store closed')));
      connection.on('end', () => this.#fail(new Error('the connection to the store ended')));
    }
  }

  /** Which run of the server it is: another one has another memory. */
  get runId(): string {
    return this.#runId;
  }

  /** Processes that share the limit, as of the last look. */
  get processes(): number {
    return this.#processes;
  }

  /** Connects; rejects when that fails or takes longer than `storeTimeoutMs`. `end` is owed either way. */
  async open(): Promise<void> {
    const { clock, storeTimeoutMs } = this.#options;
    let timer: Timer | undefined;
    const failed = new Promise<never>((_, reject) => {
      this.#failed = reject;
      const late = new Error(`the store did not answer within ${storeTimeoutMs} ms`);
      timer = clock.setTimer(() => reject(late), storeTimeoutMs, { ref: true });
    });
    try {
      await Promise.race([failed, this.#connect()]);
    } finally {
      timer?.cancel();
      this.#failed = undefined;
    }
    this.#poll();
  }

  async #connect(): Promise<void> {
    const { id, max, leaseMs, heartbeatMs } = this.#options;
    const { default: Limiter } = await import('bottleneck');
    if (this.#over) return;
    this.#connection = new Limiter.IORedisConnection({ client: this.#client });
    this.#limiter = new Limiter({
      id,
      datastore: 'ioredis',
      connection: this.#connection,
      maxConcurrent: max,
      heartbeatInterval: heartbeatMs,
      clientTimeout: Math.max(10_000, 4 * heartbeatMs),
      // Keys expire so long after the last lease: it is over by then.
      timeout: 2 * leaseMs + 60_000,
    });
    this.#limiter.on('error', (error) => this.#fail(error));
    // The only word of when it asks for a queued lease. Were it missed, leases would come out too old to use, not too new.
    this.#limiter.on('debug', (message: unknown) => {
      if (`${message}`.includes('register.lua')) this.#sentMs = this.#options.clock.now();
    });
    // Rejects when the session ends first, with nobody left to hear it.
    this.#limiter.ready().catch(() => undefined);
    // A promise, whatever its declared type says.
    await (this.#connection as unknown as { readonly ready: Promise<unknown> }).ready;
    this.#connected = true;
    await this.#limiter.ready();
    // A limit that exists keeps its old settings otherwise, and keys made by joining would never expire.
    await this.#limiter.updateSettings({ maxConcurrent: max });
    await this.#look();
    this.#runId = /^run_id:(\w+)/m.exec(await this.#client.info('server'))?.[1] ?? '';
  }

  /** Asks for a lease. `granted` is called when the fleet's limit has room for it, unless the session is over. */
  lease(weight: number, granted: (lease: Lease) => void): void {
    this.#asked++;
    this.#sentMs = this.#options.clock.now();
    const held = (): Promise<void> =>
      new Promise((resolve) => {
        if (this.#over) {
          resolve();
          return;
        }
        const end = (): void => {
          if (this.#held.delete(end)) resolve();
        };
        this.#held.add(end);
        granted({ sentMs: this.#sentMs, end });
      });
    this.#limiter
      ?.schedule({ weight, expiration: this.#options.leaseMs }, held)
      .catch((error: unknown) => this.#fail(error))
      .finally(() => this.#asked--);
  }

  /** Drops everything; what is leased stays charged in the store until it expires there. Resolves when nothing lives. */
  end(): Promise<void> {
    this.#ending ??= this.#end();
    return this.#ending;
  }

  async #end(): Promise<void> {
    this.#over = true;
    this.#pollTimer?.cancel();
    this.#failed?.(new Error('the session was ended'));
    const gone = Promise.all([ended(this.#client), ended(this.#subscriber)]);
    if (this.#connection === undefined) {
      this.#client.disconnect();
      this.#subscriber.disconnect();
    } else {
      // First, so that what the leases say in ending no longer reaches the store.
      await this.#connection.disconnect(false);
    }
    for (const end of [...this.#held]) end();
    if (this.#connected && this.#limiter !== undefined) {
      await this.#limiter.ready().catch(() => undefined);
      await this.#limiter.disconnect(false);
      await this.#limiter.stop({ dropWaitingJobs: true }).catch(() => undefined);
      const { _store: store } = this.#limiter as unknown as Leftovers;
      for (const timer of Object.values(store?.capacityPriorityCounters ?? {})) clearTimeout(timer);
    }
    await gone;
  }

  /** Looks regularly whether the store answers and still knows us, and how many we are. */
  #poll(): void {
    if (this.#over) return;
    const { clock, storeTimeoutMs, heartbeatMs } = this.#options;
    this.#pollTimer = clock.setTimer(() => {
      const late = new Error(`the store did not answer within ${storeTimeoutMs} ms`);
      this.#pollTimer = clock.setTimer(() => this.#fail(late), storeTimeoutMs);
      this.#look().then(
        () => {
          this.#pollTimer?.cancel();
          this.#poll();
        },
        (error: unknown) => this.#fail(error),
      );
    }, heartbeatMs);
  }

  async #look(): Promise<void> {
    const { id } = this.#options;
    const asked = this.#asked;
    const [known, [, processes]] = await Promise.all([
      this.#client.exists(`b_${id}_settings`),
      this.#client.pubsub('NUMSUB', `b_${id}`),
    ]);
    this.#processes = Math.max(1, Number(processes));
    if (known === 0 && asked > 0) this.#fail(new Error('the store has forgotten the limit'), true);
  }

  #fail(error: unknown, forgot = false): void {
    if (this.#over) return;
    this.#over = true;
    this.#pollTimer?.cancel();
    if (this.#failed !== undefined) this.#failed(error);
    else this.#options.onLost(error, forgot);
  }
}

function duplicate(redis: RedisLike, storeTimeoutMs: number): Connection {
  const override = {
    lazyConnect: false,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
    connectTimeout: storeTimeoutMs,
    disconnectTimeout: 250,
    keyPrefix: '',
  };
  const lent = redis as unknown as { readonly isCluster?: boolean; duplicate(...args: unknown[]): Connection };
  if (lent.isCluster !== true) return lent.duplicate(override);
  return lent.duplicate([], { ...override, clusterRetryStrategy: () => null, enableOfflineQueue: true });
}

function ended(connection: Connection): Promise<void> {
  if (connection.status === 'end') return Promise.resolve();
  return new Promise((resolve) => connection.once('end', resolve));
}
