import { ConnectionLimit } from '../../../concurrent/ConnectionLimit.js';
import type { Connection, DisconnectReason } from '../../../connection/Connection.js';
import type { CloseOptions } from '../../../core/close/CloseScope.js';
import { ClosedError } from '../../../core/errors.js';
import type { Swept } from '../../../core/time/Sweeper.js';
import { settleAll } from '../../../core/wait/settleAll.js';
import type { Caller, ServerInfo, ServerState } from '../../McpPool.js';
import { Credentials } from '../callers/Credentials.js';
import { callerKey, checkCaller } from '../callers/callerKey.js';
import { ConnectionMaker } from '../connections/ConnectionMaker.js';
import { PingMonitor } from '../connections/PingMonitor.js';
import type { PooledConnection } from '../connections/PooledConnection.js';
import type { ServerContext } from '../context.js';
import { Partition } from './Partition.js';
import { type PartitionHost, type PartitionSettings, partitionSettings } from './PartitionSettings.js';
import { type PartitionState, StateTally } from './partitionState.js';
import { SPARES, Spares } from './Spares.js';
import { Subscriptions } from './Subscriptions.js';

/** From so many partitions on they are looked through, each time they have doubled. */
const SWEEP_MIN = 64;
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
  readonly #states = new StateTally();
  readonly #limit: ConnectionLimit;
  readonly #maker: ConnectionMaker;
  readonly #pings: PingMonitor;
  readonly #settings: PartitionSettings<Partition>;
  readonly #spares: Spares;
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
    this.subscriptions = new Subscriptions(context, async (caller) => this.#reach(this.get(caller), caller));
    this.#limit = new ConnectionLimit({
      max: options.maxConnections,
      clock: pool.clock,
      maxHoldMs: pool.maxHoldMs,
      candidates: () => this.evictable(),
      parent: totalLimit,
    });
    this.#maker = new ConnectionMaker(context, {
      credentials: new Credentials(config, pool.credentials, pool.clock),
      limit: this.#limit,
      closing: this.#closed.signal,
      onRenewed: (connection) => this.subscriptions.renewed(connection),
      onNotice: (connection, notice) => this.subscriptions.dispatch(connection, notice),
    });
    this.#spares = new Spares(context, this.#limit, (key) => {
      const settings = { ...this.#settings, maxConnections: options.maxConnections, slots: 1, evictable: true };
      return this.#add(new Partition(key, undefined, settings));
    });
    this.#settings = partitionSettings<Partition>(context, this);
  }

  /** All connections there are, those on their way out and those of no session too. */
  get connections(): PooledConnection[] {
    return [...this.#all()].flatMap((partition) => [...partition.connections]);
  }

  get state(): ServerState {
    return this.#states.shown;
  }

  get queued(): number {
    let queued = 0;
    for (const partition of this.#byKey.values()) queued += partition.queued;
    return queued;
  }

  /** The shortest pause before some partition may start again; undefined when none is backing off. */
  get backoffMs(): number | undefined {
    if (!this.#states.resting) return undefined;
    const nowMs = this.#context.pool.clock.now();
    const pauses = [...this.#byKey.values()].map(({ health }) => health.pauseMs(nowMs)).filter((ms) => ms > 0);
    return pauses.length === 0 ? undefined : pauses.reduce((a, b) => Math.min(a, b));
  }

  /** What the newest handshake told, of any caller: for a caller of no principal only. */
  get lastInfo(): ServerInfo | undefined {
    return this.#lastInfo;
  }

  /** Connections that may have to give way to another caller's. */
  *evictable(): Iterable<PooledConnection> {
    if (this.#spares.partition !== undefined) yield* this.#spares.partition.connections;
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
    const { sharing, warmSpares } = this.#context.options;
    const partition = sharing === 'bound' ? this.#spares.open() : this.#find(undefined);
    partition.health.move('reset', partition);
    await this.#reach(partition, undefined);
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
    await settleAll(this.#closing.values(), `server ${this.#context.config.name} left something alive`);
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

  crowds(pooled: PooledConnection): boolean {
    const wants = (limit: ConnectionLimit): boolean => limit.waiting > 0 && limit.wants(pooled.group);
    return wants(this.#limit) || wants(this.#context.totalLimit);
  }

  connect(caller: Caller | undefined, signal: AbortSignal, awaited?: () => boolean): Promise<PooledConnection> {
    return this.#maker.make(caller, signal, awaited);
  }

  spare(partition: Partition): PooledConnection | undefined {
    return this.#spares.takeFor(partition);
  }

  isWanted(partition: Partition): boolean {
    return this.subscriptions.has(partition.key);
  }

  onState({ health, closing }: Partition, previous: PartitionState): void {
    if (closing) return;
    this.#states.remove(previous);
    this.#states.add(health.state);
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
    if (this.isWanted(partition) || partition === this.#spares.partition) return;
    void this.#close(partition).catch((error: unknown) =>
      this.#context.pool.logger.error({ error }, 'an idle partition did not close'),
    );
  }

  *#all(): Iterable<Partition> {
    yield* this.#byKey.values();
    yield* this.#closing.keys();
    if (this.#spares.partition !== undefined) yield this.#spares.partition;
  }

  #find(caller: Caller | undefined): Partition {
    this.#maker.note(caller);
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

  #add(partition: Partition): Partition {
    this.#states.add(partition.health.state);
    return partition;
  }

  /** A live connection of it, started if need be. */
  async #reach(partition: Partition, caller: Caller | undefined): Promise<Connection> {
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
    if (!partition.closing) this.#states.remove(partition.health.state);
    if (this.#byKey.get(partition.key) === partition) this.#byKey.delete(partition.key);
    this.#spares.closes(partition);
    const closed = partition.close(options).finally(() => {
      this.#closing.delete(partition);
    });
    this.#closing.set(partition, closed);
    return closed;
  }
}
