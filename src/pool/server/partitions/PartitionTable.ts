import type { DisconnectReason } from '../../../connection/Connection.js';
import type { CloseOptions } from '../../../core/close/CloseScope.js';
import { ClosedError } from '../../../core/errors.js';
import type { Caller, ServerInfo, ServerState } from '../../McpPool.js';
import { Credentials } from '../callers/Credentials.js';
import { callerKey, checkCaller } from '../callers/callerKey.js';
import { Subscriptions } from '../callers/Subscriptions.js';
import type { ServerContext } from '../context.js';
import { LinkMaker } from './LinkMaker.js';
import { Partition } from './Partition.js';
import { PingMonitor } from './PingMonitor.js';
import { leastUsed, leave, longestSeated, type PooledConnection, type Sitter } from './PooledConnection.js';
import { backoff, type PartitionState, refusedForMs } from './partitionState.js';
import { Room } from './Room.js';
import { type Seat, Seats } from './Seats.js';
import { WarmConnections } from './WarmConnections.js';

/** Which state of a partition stands for the whole server, the first that any of them is in. */
const SHOWN: readonly (readonly [PartitionState['tag'], ServerState])[] = [
  ['ready', 'ready'],
  ['starting', 'starting'],
  ['backingOff', 'degraded'],
  ['failed', 'failed'],
];

/** From so many partitions on they are looked through, each time they have doubled. */
const SWEEP_MIN = 64;

/**
 * All connections to one server, by who may share them, within the server's bound. Partitions are made on use and go
 * when nothing of them is left.
 */
export class PartitionTable {
  readonly subscriptions: Subscriptions;
  readonly #context: ServerContext;
  readonly #onState: () => void;
  readonly #byKey = new Map<string, Partition>();
  readonly #closing = new Map<Partition, Promise<void>>();
  readonly #seats: Seats;
  readonly #room: Room;
  readonly #credentials: Credentials;
  readonly #maker: LinkMaker;
  readonly #spares: WarmConnections;
  readonly #health: PingMonitor;
  readonly #closed = new AbortController();
  #lastInfo: ServerInfo | undefined;
  #sweepAt = SWEEP_MIN;

  constructor(context: ServerContext, onState: () => void) {
    const { config, options, pool, totalSeats } = context;
    this.#context = context;
    this.#onState = onState;
    this.#credentials = new Credentials(config.name, pool.credentials, pool.clock);
    this.subscriptions = new Subscriptions(context, (caller) => this.#reach(caller));
    this.#health = new PingMonitor(
      context,
      () => this.#byKey.values(),
      (partition) => this.subscriptions.has(partition.key),
    );
    this.#seats = new Seats({
      max: options.maxConnections,
      clock: pool.clock,
      quantumMs: pool.maxHoldMs,
      evictIdle: () => leave(leastUsed(this.sparable)),
      evictOldest: () => void leave(longestSeated(this.sitters)),
    });
    this.#room = new Room([this.#seats, totalSeats]);
    this.#maker = new LinkMaker(context, {
      credentials: this.#credentials,
      subscriptions: this.subscriptions,
      closing: this.#closed.signal,
    });
    this.#spares = new WarmConnections(context, {
      maker: this.#maker,
      room: this.#room,
      onChange: onState,
    });
  }

  /** All there are, those on their way out and those of nobody too. */
  get links(): PooledConnection[] {
    const all = [...this.#byKey.values(), ...this.#closing.keys()];
    return [...all.flatMap((partition) => [...partition.links]), ...this.#spares.links];
  }

  get state(): ServerState {
    const tags = new Set([...[...this.#byKey.values()].map(({ state }) => state.tag), this.#spares.state]);
    return SHOWN.find(([tag]) => tags.has(tag))?.[1] ?? 'idle';
  }

  get queued(): number {
    return [...this.#byKey.values()].reduce((sum, partition) => sum + partition.queued, 0);
  }

  /** The shortest pause before some partition may start again; undefined when none is backing off. */
  get backoffMs(): number | undefined {
    const nowMs = this.#context.pool.clock.now();
    const pauses = [...this.#byKey.values()].map(({ state }) => refusedForMs(state, nowMs)).filter((ms) => ms > 0);
    return pauses.length === 0 ? undefined : Math.min(...pauses);
  }

  /** Connections that nobody uses. */
  get sparable(): Sitter[] {
    return [...this.#spares.sitters, ...[...this.#byKey.values()].flatMap((partition) => partition.sparable)];
  }

  /** Connections that take calls. */
  get sitters(): Sitter[] {
    return [...this.#spares.sitters, ...[...this.#byKey.values()].flatMap((partition) => partition.sitters)];
  }

  /** What the newest handshake told, whoever it was made for: for a caller of no principal only. */
  get lastInfo(): ServerInfo | undefined {
    return this.#lastInfo;
  }

  /** The caller's partition, made if need be. @throws OptionError when the sharing mode asks for something else. */
  get(caller: Caller | undefined): Partition {
    const { config, options, connector } = this.#context;
    const key = callerKey(caller, options);
    let partition = this.#byKey.get(key);
    if (partition === undefined || key === '') {
      checkCaller(config.name, caller, options.sharing, connector.attributes(config.transport));
    }
    if (partition === undefined) {
      if (this.#byKey.size >= this.#sweepAt) this.#sweep();
      partition = this.#make(key, caller);
      this.#byKey.set(key, partition);
    }
    return partition;
  }

  find(caller: Caller | undefined): Partition | undefined {
    return this.#byKey.get(callerKey(caller, this.#context.options));
  }

  /** Whether it has been closed, so that its callers must ask for another. */
  isGone(partition: Partition): boolean {
    return this.#byKey.get(partition.key) !== partition;
  }

  /**
   * Has a connection up, as `startServer` promises: that of a caller of no principal; in `bound` mode, whose sessions
   * each have their own, one that the first takes. @throws what the start failed with
   */
  async warmUp(): Promise<void> {
    if (this.#context.options.sharing === 'bound') {
      await this.#spares.prove();
      return;
    }
    const partition = this.#byKey.get('') ?? this.#make('', undefined);
    this.#byKey.set('', partition);
    partition.reset();
    const lease = await partition.acquire({ timeoutMs: this.#context.options.acquireTimeoutMs });
    partition.release(lease);
  }

  /** Ends the connection of one session, which only `bound` mode has; resolves when it is gone. */
  async release(principal: string | undefined, key: string): Promise<void> {
    if (this.#context.options.sharing !== 'bound') return;
    const gone = [...this.#byKey.values()].filter(
      ({ caller }) => caller?.key === key && (principal === undefined || caller.principal === principal),
    );
    await Promise.all(gone.map((partition) => this.#close(partition)));
  }

  /** Closes all there are; a call that comes later makes new ones. Errors are joined. */
  async closeAll(options?: CloseOptions): Promise<void> {
    this.#health.stop();
    this.subscriptions.pause();
    const spares = this.#spares.close();
    spares.catch(() => undefined);
    // Those that are closing already may have to end sooner now.
    for (const partition of this.#closing.keys()) void partition.close(options).catch((error: unknown) => error);
    for (const partition of this.#byKey.values()) void this.#close(partition, options).catch((error: unknown) => error);
    const results = await Promise.allSettled([...this.#closing.values(), spares]);
    const errors = results.flatMap((each) => (each.status === 'rejected' ? [each.reason as unknown] : []));
    if (errors.length === 1) throw errors[0];
    if (errors.length > 1) throw new AggregateError(errors, `server ${this.#context.config.name} left something alive`);
  }

  /** The server is removed. */
  end(): void {
    this.#health.stop();
    this.#seats.close();
    this.#closed.abort(new ClosedError(`server ${this.#context.config.name}`));
  }

  #make(key: string, caller: Caller | undefined): Partition {
    const { config, options, pool } = this.#context;
    const whole = options.sharing === 'leased';
    return new Partition({
      server: config.name,
      key,
      caller,
      clock: pool.clock,
      logger: pool.logger,
      rules: { stableAfterMs: pool.stableAfterMs, backoffMs: backoff(pool.backoff) },
      maxLinks: whole ? options.maxConnections : 1,
      slotsPerLink: whole ? 1 : options.maxConcurrent,
      minLinks: whole && key === '' ? options.warmSpares : 0,
      maxQueue: options.maxQueue,
      acquireTimeoutMs: options.acquireTimeoutMs,
      // The wait for a seat comes before the start.
      createTimeoutMs: options.startTimeoutMs + options.acquireTimeoutMs,
      idleTimeoutMs: options.idleTimeoutMs,
      room: this.#room,
      spare: (partition) => this.#spareFor(partition),
      connect: (partition, seat, signal) => this.#connect(partition, seat, signal),
      wanted: (partition) => this.subscriptions.has(partition.key),
      onState: () => this.#onState(),
      onLinkGone: (partition, link, death) => this.#gone(partition, link, death),
      onEmpty: (partition) => {
        if (this.subscriptions.has(partition.key) || this.isGone(partition)) return;
        void this.#close(partition).catch((error: unknown) =>
          pool.logger.error({ error }, 'an idle partition did not close'),
        );
      },
    });
  }

  async #connect(partition: Partition, seat: Seat, signal: AbortSignal): Promise<PooledConnection> {
    const link = await this.#maker.make(partition.caller, seat, signal);
    this.#up(partition, link);
    return link;
  }

  /** A spare was made with the server's own capabilities and no principal's credentials: it suits who asks no more. */
  #spareFor(partition: Partition): PooledConnection | undefined {
    const { options, pool } = this.#context;
    const { principal, capabilities, clientInfo } = partition.caller ?? {};
    if (options.sharing !== 'bound' || capabilities !== undefined || clientInfo !== undefined) return undefined;
    if (pool.credentials !== undefined && principal !== undefined) return undefined;
    const link = this.#spares.take();
    if (link === undefined) return undefined;
    link.owner = partition.caller;
    link.seatedMs = pool.clock.now();
    this.#up(partition, link);
    return link;
  }

  #up(partition: Partition, { connection }: PooledConnection): void {
    if (partition.takePlace()) this.#context.counters.restarted(partition.state.attempt);
    this.#lastInfo = connection.info;
    this.#health.start();
    this.subscriptions.resume(partition.key, connection);
  }

  #gone(partition: Partition, link: PooledConnection, death: DisconnectReason): void {
    this.#maker.gone(link, death);
    if (!this.isGone(partition)) this.subscriptions.reconnect(partition.key);
  }

  /** A live connection of that caller's, for what was subscribed on one that has gone. */
  async #reach(caller: Caller | undefined): Promise<PooledConnection['connection']> {
    const partition = this.get(caller);
    const lease = await partition.acquire({ timeoutMs: this.#context.options.acquireTimeoutMs });
    try {
      return lease.resource.connection;
    } finally {
      partition.release(lease);
    }
  }

  /** Forgets those that nothing is left of: starts that failed for callers who never came back. */
  #sweep(): void {
    const { clock, backoff: pause } = this.#context.pool;
    const nowMs = clock.now();
    for (const partition of [...this.#byKey.values()]) {
      if (partition.forgettable(nowMs, pause.maxMs)) void this.#close(partition).catch((error: unknown) => error);
    }
    this.#sweepAt = Math.max(SWEEP_MIN, this.#byKey.size * 2);
  }

  #close(partition: Partition, options?: CloseOptions): Promise<void> {
    if (this.#byKey.get(partition.key) === partition) this.#byKey.delete(partition.key);
    const closed = partition.close(options).finally(() => {
      this.#closing.delete(partition);
    });
    this.#closing.set(partition, closed);
    return closed;
  }
}
