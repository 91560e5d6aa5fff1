import type Bottleneck from 'bottleneck';
import type { Clock, Timer } from '../../core/clock.js';
import { sleep } from '../../core/time/sleep.js';
import { within } from '../../core/time/within.js';
import { FleetMarks } from './FleetMarks.js';
import type { Lease } from './LeaseStore.js';
import { type Connection, closed, DISCONNECT_MS, duplicate, type RedisLike } from './redisConnection.js';
import { ScriptTimes } from './ScriptTimes.js';

export interface RedisSessionOptions {
  readonly redis: RedisLike;
  /** Names keys and channels, behind Bottleneck's own `b_`. */
  readonly id: string;
  /** Names this process among those that share the limit, in all its sessions. */
  readonly me: string;
  /** How long it counts as one of them without a word of it. */
  readonly memberMs: number;
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

/** A timer that fires so late says that this process was held up, not the store. */
const STALL_MS = 50;

/**
 * After a message of the fleet Bottleneck may arm a timer of one second, which outlives its own `disconnect` (it then fails
 * into the `error` event). A session has settled when that one is over, too.
 */
const LAST_TIMER_MS = 1_050;
/** ioredis arms a timer for the end of a socket also where that is over already, as those of a lost session are. */
const CUT_MS = DISCONNECT_MS + 20;

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
  #timer: Timer | undefined;
  #failed: ((error: unknown) => void) | undefined;
  #over = false;
  #ending: Promise<void> | undefined;
  #nextAsk = 0;
  readonly #marks: FleetMarks;
  #mark: string | undefined;
  readonly #scripts: ScriptTimes;
  #heardMs = Number.NEGATIVE_INFINITY;
  /** When the connections of a lost session were ended. */
  #cutMs = Number.NEGATIVE_INFINITY;
  /** When each lease that has just come was asked for, by its ask. */
  readonly #sent = new Map<string, number>();
  #unsteady = false;
  #runId = '';
  #processes = 1;

  constructor(options: RedisSessionOptions) {
    this.#options = options;
    this.#client = duplicate(options.redis, options.storeTimeoutMs);
    this.#subscriber = duplicate(options.redis, options.storeTimeoutMs);
    this.#client.duplicate = () => this.#subscriber;
    // Keys that have expired are made anew; a store that was emptied is told by its mark, before it grants anything.
    const onForgotten = (): void => void this.#look().catch((error: unknown) => this.#fail(error));
    this.#scripts = new ScriptTimes(this.#client, options.clock, onForgotten, () => {
      this.#unsteady = true;
      this.#fail(new Error('the store says again and again that it does not know the limit'), true);
    });
    this.#subscriber.on('message', (_channel, text) => {
      // Among several processes every message is taken for one: connections that were cut take as long to go.
      if (this.#processes > 1 || this.#armsTimer(String(text))) this.#heardMs = options.clock.now();
    });
    this.#marks = new FleetMarks(this.#client, {
      id: options.id,
      me: options.me,
      memberMs: options.memberMs,
      markMs: keyLifeMs(options.leaseMs),
    });
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

  /** The store forgets whatever is made there: the next session is not tried at once. */
  get unsteady(): boolean {
    return this.#unsteady;
  }

  /** Processes that share the limit, as of the last look. */
  get processes(): number {
    return this.#processes;
  }

  /** Connects; rejects when that fails or takes longer than `storeTimeoutMs`. `end` is owed either way. */
  async open(): Promise<void> {
    const failed = new Promise<never>((_, reject) => {
      this.#failed = reject;
    });
    try {
      await Promise.race([failed, import('bottleneck').then(({ default: Limiter }) => this.#connect(Limiter))]);
    } finally {
      this.#timer?.cancel();
      this.#failed = undefined;
    }
    this.#poll();
  }

  async #connect(Limiter: typeof Bottleneck): Promise<void> {
    if (this.#over) return;
    const { id, max, leaseMs, heartbeatMs } = this.#options;
    this.#expectAnswer();
    this.#connection = new Limiter.IORedisConnection({ client: this.#client });
    this.#limiter = new Limiter({
      id,
      datastore: 'ioredis',
      connection: this.#connection,
      maxConcurrent: max,
      heartbeatInterval: heartbeatMs,
      clientTimeout: Math.max(10_000, 4 * heartbeatMs),
      timeout: keyLifeMs(leaseMs),
    });
    this.#limiter.on('error', (error) => this.#fail(error));
    // In the turn of the answer. In another turn it would be too new; without an answer it counts as too old to use.
    this.#limiter.on('scheduled', ({ options }) => {
      const { sentMs } = this.#scripts;
      if (sentMs !== undefined) this.#sent.set(`${options.id}`, sentMs);
    });
    // Rejects when the session ends first: no caller is left to hear it.
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
    const askId = `${this.#nextAsk++}`;
    const held = (): Promise<void> =>
      new Promise((resolve) => {
        const sentMs = this.#sent.get(askId) ?? Number.NEGATIVE_INFINITY;
        this.#sent.delete(askId);
        if (this.#over) {
          resolve();
          return;
        }
        const end = (): void => {
          if (this.#held.delete(end)) resolve();
        };
        this.#held.add(end);
        granted({ sentMs, end });
      });
    this.#limiter
      ?.schedule({ id: askId, weight, expiration: this.#options.leaseMs }, held)
      .catch((error: unknown) => this.#fail(error));
  }

  /** It is of no use any more, for a reason that its owner knows. */
  fail(error: unknown): void {
    this.#fail(error);
  }

  /** Drops everything; what is leased stays charged in the store until it expires there. Resolves when nothing lives. */
  end(): Promise<void> {
    this.#ending ??= this.#end();
    return this.#ending;
  }

  /** Resolves when the last timers of Bottleneck and ioredis are over, too. */
  async settled(): Promise<void> {
    await this.end();
    const { clock } = this.#options;
    const restMs = Math.max(this.#heardMs + LAST_TIMER_MS, this.#cutMs + CUT_MS) - clock.now();
    if (restMs > 0) await sleep(clock, restMs);
  }

  /** A message that gives another client precedence for a second. */
  #armsTimer(text: string): boolean {
    const preferred = /^capacity-priority:[^:]*:([^:]+):/.exec(text)?.[1];
    if (preferred === undefined) return false;
    // Ours ends in the id that the store knows us by.
    const own = this.#limiter as unknown as { channel_client(): string } | undefined;
    return own?.channel_client().endsWith(`_${preferred}`) !== true;
  }

  async #end(): Promise<void> {
    const lost = this.#over;
    this.#over = true;
    this.#timer?.cancel();
    this.#failed?.(new Error('the session was ended'));
    // One that is lost goes on: it grants its share, and others are to count it.
    if (this.#connection !== undefined && !lost && this.#client.status === 'ready')
      await this.#atMost(this.#marks.leave());
    if (this.#connection !== undefined && lost) this.#cutMs = this.#options.clock.now();
    // First, so that what the leases say in ending no longer reaches the store.
    const gone = Promise.all([closed(this.#client), closed(this.#subscriber)]);
    await this.#connection?.disconnect(false);
    for (const end of [...this.#held]) end();
    // What a cluster is asked as its nodes end may never be answered, nor refused.
    await this.#atMost(this.#drop());
    await gone;
  }

  async #drop(): Promise<void> {
    if (!this.#connected || this.#limiter === undefined) return;
    await this.#limiter.ready().catch(() => undefined);
    await this.#limiter.disconnect(false);
    await this.#limiter.stop({ dropWaitingJobs: true }).catch(() => undefined);
  }

  /** Looks regularly whether the store answers and still knows us, and how many we are. */
  #poll(): void {
    if (this.#over) return;
    const { clock, heartbeatMs } = this.#options;
    this.#timer = clock.setTimer(() => {
      this.#expectAnswer();
      this.#look().then(
        () => {
          this.#timer?.cancel();
          this.#poll();
        },
        (error: unknown) => this.#fail(error),
      );
    }, heartbeatMs);
  }

  /** Fails the session unless the timer is cancelled in time. After a stall of our own the answer may be here, unread. */
  #expectAnswer(): void {
    const { clock, storeTimeoutMs } = this.#options;
    const dueMs = clock.now() + storeTimeoutMs;
    this.#timer = clock.setTimer(() => {
      if (clock.now() - dueMs > STALL_MS) this.#expectAnswer();
      else this.#fail(new Error(`the store did not answer within ${storeTimeoutMs} ms`));
    }, storeTimeoutMs);
  }

  async #look(): Promise<void> {
    const { processes, mark } = await this.#marks.look();
    this.#processes = processes;
    this.#mark ??= mark;
    // Also where we asked for nothing: others did.
    if (mark !== this.#mark) this.#fail(new Error('the store has forgotten the limit'), true);
  }

  /** For as long as a disconnect may take: a store that does not answer is left without a word. */
  async #atMost(work: Promise<unknown>): Promise<void> {
    await within(work, { clock: this.#options.clock, timeoutMs: DISCONNECT_MS }).catch(() => undefined);
  }

  #fail(error: unknown, forgot = false): void {
    if (this.#over) return;
    this.#over = true;
    this.#timer?.cancel();
    if (this.#failed !== undefined) this.#failed(error);
    else this.#options.onLost(error, forgot);
  }
}

/** Keys expire so long after the last lease: it is over by then. */
function keyLifeMs(leaseMs: number): number {
  return 2 * leaseMs + 60_000;
}
