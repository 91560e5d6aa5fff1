import type { Connection, DisconnectReason } from '../../../connection/Connection.js';
import type { CloseOptions } from '../../../core/close/CloseScope.js';
import { ClosedError } from '../../../core/errors.js';
import { backoffMs } from '../../../core/time/backoff.js';
import type { Caller, ServerInfo, ServerState } from '../../McpPool.js';
import { Credentials } from '../callers/Credentials.js';
import { callerKey, checkCaller, eraFor } from '../callers/callerKey.js';
import { ConnectionMaker } from '../connections/ConnectionMaker.js';
import { PingMonitor } from '../connections/PingMonitor.js';
import type { PooledConnection } from '../connections/PooledConnection.js';
import type { ServerContext } from '../context.js';
import { ConnectionLimit } from '../limits/ConnectionLimit.js';
import type { Swept } from '../limits/Sweeper.js';
import { Partition } from './Partition.js';
import type { PartitionHost, PartitionSettings } from './PartitionSettings.js';
import type { PartitionState } from './partitionState.js';
import { Subscriptions } from './Subscriptions.js';

/** Which state of a partition stands for the whole server, the first that any of them is in. */
const SHOWN: readonly (readonly [PartitionState['tag'], ServerState])[] = [
  ['ready', 'ready'],
  ['starting', 'starting'],
  ['backingOff', 'degraded'],
  ['failed', 'failed'],
];

/** From so many partitions on they are looked through, each time they have doubled. */
const SWEEP_MIN = 64;

/** The key of the partition of spares; no caller's key is one word. */
const SPARES = 'spares';

/** The longest time between two looks at what idles, in ms. */
const MAX_SWEEP_MS = 2_000;

/** A caller's partition as it was found, and by what. */
interface Found extends Pick<Caller, 'principal' | 'key' | 'capabilities' | 'era'> {
  readonly partition: Partition;
}

/**
 * All connections to one server, by who may share them, within the server's bound. Partitions are made on use and go
 * when nothing of them is left. In `bound` mode one more holds what is up and belongs to no session yet.
 */
export class PartitionTable implements PartitionHost<Partition>, Swept {
  readonly subscriptions: Subscriptions;
  readonly sweepEveryMs: number;
  readonly #context: ServerContext;
  readonly #onState: () => void;
  readonly #byKey = new Map<string, Partition>();
  readonly #byCaller = new WeakMap<Caller, Found>();
  readonly #released = new WeakSet<Partition>();
  readonly #closing = new Map<Partition, Promise<void>>();
  /** How many partitions are in each state. */
  readonly #tags: Record<PartitionState['tag'], number> = { idle: 0, starting: 0, ready: 0, backingOff: 0, failed: 0 };
  readonly #limit: ConnectionLimit;
  readonly #maker: ConnectionMaker;
  readonly #pings: PingMonitor;
  readonly #settings: PartitionSettings<Partition>;
  /** Connections of a `bound` server that belong to no session yet: the next key takes one in place of a start. */
  #spares: Partition | undefined;
  /** That of calls without a caller. */
  #anonymous: Partition | undefined;
  readonly #closed = new AbortController();
  #lastInfo: ServerInfo | undefined;
  #forgetAt = SWEEP_MIN;

  constructor(context: ServerContext, onState: () => void) {
    const { config, options, pool, totalLimit } = context;
    this.#context = context;
    this.#onState = onState;
    this.sweepEveryMs = Math.min(pool.healthIntervalMs / 4, options.idleTimeoutMs / 32, MAX_SWEEP_MS);
    this.#pings = new PingMonitor(context, (pooled, reason) => pooled.retire(reason));
    this.subscriptions = new Subscriptions(context, (caller) => this.#reach(caller));
    this.#limit = new ConnectionLimit({
      max: options.maxConnections,
      clock: pool.clock,
      maxHoldMs: pool.maxHoldMs,
      candidates: () => this.evictable(),
      parent: totalLimit,
    });
    this.#maker = new ConnectionMaker(context, {
      credentials: new Credentials(config.name, pool.credentials, pool.clock),
      limit: this.#limit,
      closing: this.#closed.signal,
      onRenewed: (connection) => this.subscriptions.renewed(connection),
      onNotice: (connection, notice) => this.subscriptions.dispatch(connection, notice),
    });
    const whole = options.sharing === 'leased';
    this.#settings = {
      server: config.name,
      clock: pool.clock,
      logger: pool.logger,
      rules: { stableAfterMs: pool.stableAfterMs, backoffMs: (attempt) => backoffMs(attempt, pool.backoff) },
      maxConnections: whole ? options.maxConnections : 1,
      slots: whole ? 1 : options.maxConcurrent,
      maxQueue: options.maxQueue,
      idleTimeoutMs: options.idleTimeoutMs,
      // A session's state would end with it.
      evictable: options.sharing !== 'bound',
      host: this,
    };
  }

  /** All connections there are, those on their way out and those of no session too. */
  get connections(): PooledConnection[] {
    return [...this.#all()].flatMap((partition) => [...partition.connections]);
  }

  get state(): ServerState {
    return SHOWN.find(([tag]) => this.#tags[tag] > 0)?.[1] ?? 'idle';
  }

  get size(): number {
    return this.#byKey.size;
  }

  get queued(): number {
    let queued = 0;
    for (const partition of this.#byKey.values()) queued += partition.queued;
    return queued;
  }

  /** The shortest pause before some partition may start again; undefined when none is backing off. */
  get backoffMs(): number | undefined {
    if (this.#tags.backingOff + this.#tags.failed === 0) return undefined;
    const nowMs = this.#context.pool.clock.now();
    const pauses = [...this.#byKey.values()].map(({ health }) => health.pauseMs(nowMs)).filter((ms) => ms > 0);
    return pauses.length === 0 ? undefined : Math.min(...pauses);
  }

  /** What the newest handshake told, of any caller: for a caller of no principal only. */
  get lastInfo(): ServerInfo | undefined {
    return this.#lastInfo;
  }

  /** Connections that may have to give way to another caller's. */
  *evictable(): Iterable<PooledConnection> {
    if (this.#spares !== undefined) yield* this.#spares.connections;
    if (this.#settings.evictable) for (const { connections } of this.#byKey.values()) yield* connections;
  }

  /** The caller's partition, made if need be. @throws OptionError when the sharing mode asks for something else. */
  get(caller: Caller | undefined): Partition {
    if (caller === undefined) return this.#anonymous?.closing === false ? this.#anonymous : this.#find(undefined);
    const found = this.#byCaller.get(caller);
    if (
      found !== undefined &&
      !found.partition.closing &&
      found.principal === caller.principal &&
      found.key === caller.key &&
      found.capabilities === caller.capabilities &&
      found.era === caller.era
    ) {
      return found.partition;
    }
    return this.#find(caller);
  }

  find(caller: Caller | undefined): Partition | undefined {
    return this.#byKey.get(callerKey(caller, this.#context.options));
  }

  /**
   * Has a connection up, as `startServer` promises: that of a caller of no principal; in `bound` mode, whose sessions
   * each have their own, one that the first takes. @throws what the start failed with
   */
  async warmUp(): Promise<void> {
    const { acquireTimeoutMs, sharing, warmSpares } = this.#context.options;
    const partition = sharing === 'bound' ? this.#sparePartition() : this.#find(undefined);
    partition.health.move('reset', partition);
    const bounds = {
      caller: undefined,
      signal: undefined,
      queueMs: acquireTimeoutMs,
      untilMs: Number.POSITIVE_INFINITY,
    };
    partition.release(await partition.acquire(bounds));
    if (sharing !== 'bound') return;
    partition.minConnections = warmSpares;
    partition.fill();
  }

  /** Ends the connection of one session, which only `bound` mode has; resolves when it is gone. */
  async release(principal: string | undefined, key: string): Promise<void> {
    if (this.#context.options.sharing !== 'bound') return;
    const gone = [...this.#byKey.values()].filter(
      ({ caller }) => caller?.key === key && (principal === undefined || caller.principal === principal),
    );
    for (const partition of gone) this.#released.add(partition);
    await Promise.all(gone.map((partition) => this.#close(partition)));
  }

  /** Closes all there are; a call that comes later makes new ones. Errors are joined. */
  async closeAll(options?: CloseOptions): Promise<void> {
    this.#context.sweeper.delete(this);
    this.subscriptions.pause();
    // Those that are closing already may have to end sooner now.
    for (const partition of [...this.#all()]) void this.#close(partition, options).catch((error: unknown) => error);
    const results = await Promise.allSettled(this.#closing.values());
    const errors = results.flatMap((each) => (each.status === 'rejected' ? [each.reason as unknown] : []));
    if (errors.length === 1) throw errors[0];
    if (errors.length > 1) throw new AggregateError(errors, `server ${this.#context.config.name} left something alive`);
  }

  /** The server is removed. */
  end(): void {
    this.#context.sweeper.delete(this);
    this.#limit.close();
    this.#closed.abort(new ClosedError(`server ${this.#context.config.name}`));
  }

  sweep(nowMs: number): void {
    let up = 0;
    for (const partition of this.#all()) {
      partition.sweep(nowMs);
      for (const pooled of partition.connections) {
        up++;
        this.#pings.check(pooled, nowMs);
      }
    }
    if (up === 0) this.#context.sweeper.delete(this);
  }

  get crowded(): boolean {
    return this.#limit.waiting > 0 || this.#context.totalLimit.waiting > 0;
  }

  connect(caller: Caller | undefined, signal: AbortSignal, awaited: boolean): Promise<PooledConnection> {
    return this.#maker.make(caller, signal, awaited);
  }

  /** A spare was made with the server's own capabilities and no principal's credentials: it suits who asks no more. */
  spare({ caller, key }: Partition): PooledConnection | undefined {
    if (this.#spares === undefined || key === SPARES) return undefined;
    const { principal, capabilities, clientInfo, protocolVersion } = caller ?? {};
    if (capabilities !== undefined || clientInfo !== undefined || protocolVersion !== undefined) return undefined;
    if (eraFor(caller, this.#context.options) !== undefined) return undefined;
    if (this.#context.pool.credentials !== undefined && principal !== undefined) return undefined;
    const pooled = this.#spares.give();
    if (pooled === undefined) return undefined;
    pooled.heldSinceMs = this.#context.pool.clock.now();
    this.#spares.fill();
    return pooled;
  }

  isWanted(partition: Partition): boolean {
    return this.subscriptions.has(partition.key);
  }

  onState({ health, closing }: Partition, previous: PartitionState): void {
    if (closing) return;
    this.#tags[previous.tag]--;
    this.#tags[health.state.tag]++;
    this.#onState();
  }

  onConnected(partition: Partition, { connection }: PooledConnection, replaces: boolean): void {
    if (replaces) this.#context.counters.restarted(partition.health.state.attempt);
    this.#lastInfo = connection.info;
    this.#context.sweeper.add(this);
    this.subscriptions.resume(partition.key, connection);
  }

  onDisconnected(partition: Partition, pooled: PooledConnection, reason: DisconnectReason): void {
    this.#maker.gone(pooled, reason);
    if (!partition.closing) this.subscriptions.reconnect(partition.key);
    const { config, options, events } = this.#context;
    if (options.sharing !== 'bound' || partition.key === SPARES || this.#released.has(partition)) return;
    const { principal, key } = partition.caller ?? {};
    events.emit('sessionLost', { server: config.name, principal, key, reason: pooled.leaving ?? reason.why });
  }

  onEmpty(partition: Partition): void {
    if (this.isWanted(partition) || partition === this.#spares) return;
    void this.#close(partition).catch((error: unknown) =>
      this.#context.pool.logger.error({ error }, 'an idle partition did not close'),
    );
  }

  *#all(): Iterable<Partition> {
    yield* this.#byKey.values();
    yield* this.#closing.keys();
    if (this.#spares !== undefined) yield this.#spares;
  }

  #find(caller: Caller | undefined): Partition {
    const { config, options, connector } = this.#context;
    const key = callerKey(caller, options);
    let partition = this.#byKey.get(key);
    if (partition === undefined || key === '') {
      checkCaller(config.name, caller, options.sharing, connector.attributes(config.transport));
    }
    if (partition === undefined) {
      if (this.#byKey.size >= this.#forgetAt) this.#forget();
      partition = this.#add(new Partition(key, caller, this.#settings));
      this.#byKey.set(key, partition);
      if (key === '' && options.sharing === 'leased') partition.minConnections = options.warmSpares;
    }
    if (caller === undefined) this.#anonymous = partition;
    else {
      const { principal, key: session, capabilities, era } = caller;
      this.#byCaller.set(caller, { partition, principal, key: session, capabilities, era } as Found);
    }
    return partition;
  }

  #sparePartition(): Partition {
    const { maxConnections } = this.#context.options;
    this.#spares ??= this.#add(
      new Partition(SPARES, undefined, { ...this.#settings, maxConnections, slots: 1, evictable: true }),
    );
    return this.#spares;
  }

  #add(partition: Partition): Partition {
    this.#tags[partition.health.state.tag]++;
    return partition;
  }

  /** A live connection of that caller's, for what was subscribed on one that has gone. */
  async #reach(caller: Caller | undefined): Promise<Connection> {
    const partition = this.get(caller);
    const { acquireTimeoutMs: queueMs } = this.#context.options;
    const pooled = await partition.acquire({ caller, signal: undefined, queueMs, untilMs: Number.POSITIVE_INFINITY });
    partition.release(pooled);
    return pooled.connection;
  }

  /** Forgets those that nothing is left of: starts that failed for callers who never came back. */
  #forget(): void {
    const { clock, backoff } = this.#context.pool;
    const nowMs = clock.now();
    for (const partition of [...this.#byKey.values()]) {
      const gone = partition.unused && partition.health.rested(nowMs, backoff.maxMs) && !this.isWanted(partition);
      if (gone) void this.#close(partition).catch((error: unknown) => error);
    }
    this.#forgetAt = Math.max(SWEEP_MIN, this.#byKey.size * 2);
  }

  #close(partition: Partition, options?: CloseOptions): Promise<void> {
    if (!partition.closing) this.#tags[partition.health.state.tag]--;
    if (this.#byKey.get(partition.key) === partition) this.#byKey.delete(partition.key);
    if (this.#spares === partition) this.#spares = undefined;
    const closed = partition.close(options).finally(() => {
      this.#closing.delete(partition);
    });
    this.#closing.set(partition, closed);
    return closed;
  }
}
