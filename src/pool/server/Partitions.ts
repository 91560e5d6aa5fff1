import type { Death } from '../../connection/Connection.js';
import { methodNotFound } from '../../connection/ServerRequests.js';
import type { CloseOptions } from '../../core/CloseScope.js';
import { ClosedError } from '../../core/errors.js';
import type { Caller, ServerInfo, ServerState } from '../McpPool.js';
import { Credentials } from './Credentials.js';
import { callerKey, checkCaller, isSome } from './callerKey.js';
import type { ServerContext } from './context.js';
import { Health } from './Health.js';
import { type Link, Partition } from './Partition.js';
import { type Seat, Seats } from './Seats.js';
import { Subscriptions } from './Subscriptions.js';
import { backoff, refusedForMs, type SlotState } from './slotState.js';
import { Traffic } from './Traffic.js';

/** Which state of a partition stands for the whole server, the first that any of them is in. */
const SHOWN: readonly (readonly [SlotState['tag'], ServerState])[] = [
  ['ready', 'ready'],
  ['starting', 'starting'],
  ['backingOff', 'degraded'],
  ['failed', 'failed'],
];

/**
 * All connections to one server, by who may share them, within the server's bound. Partitions are made on use and go
 * when nothing of them is left.
 */
export class Partitions {
  readonly subscriptions: Subscriptions;
  readonly #context: ServerContext;
  readonly #onState: () => void;
  readonly #byKey = new Map<string, Partition>();
  readonly #closing = new Map<Partition, Promise<void>>();
  readonly #seats: Seats;
  readonly #credentials: Credentials;
  readonly #health: Health;
  readonly #closed = new AbortController();
  #lastInfo: ServerInfo | undefined;

  constructor(context: ServerContext, onState: () => void) {
    const { config, options, pool } = context;
    this.#context = context;
    this.#onState = onState;
    this.#credentials = new Credentials(config.name, pool.credentials, pool.clock);
    this.subscriptions = new Subscriptions(context);
    this.#health = new Health(
      context,
      () => this.#byKey.values(),
      (partition) => this.subscriptions.has(partition),
    );
    this.#seats = new Seats({
      max: options.maxConnections,
      clock: pool.clock,
      quantumMs: pool.seatQuantumMs,
      evictIdle: () => this.evictIdle(),
      evictOldest: () => this.evictOldest(),
    });
  }

  get links(): Link[] {
    return [...this.#byKey.values()].flatMap((partition) => [...partition.links]);
  }

  get state(): ServerState {
    const tags = new Set([...this.#byKey.values()].map((partition) => partition.state.tag));
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

  /** Clock ms of the last use of any that is up. */
  get lastUsedMs(): number {
    return Math.max(...[...this.#byKey.values()].map((partition) => partition.lastUsedMs));
  }

  /** What the newest handshake told, whoever it was made for: for a caller of no principal only. */
  get lastInfo(): ServerInfo | undefined {
    return this.#lastInfo;
  }

  /** The caller's partition, made if need be. @throws OptionError when the sharing mode asks for something else. */
  get(caller: Caller | undefined): Partition {
    const { config, options, connector } = this.#context;
    const key = callerKey(caller, options.sharing);
    let partition = this.#byKey.get(key);
    if (partition === undefined || key === '') checkCaller(config.name, caller, options.sharing, connector.attributes);
    if (partition === undefined) {
      partition = this.#make(key, caller);
      this.#byKey.set(key, partition);
    }
    return partition;
  }

  find(caller: Caller | undefined): Partition | undefined {
    return this.#byKey.get(callerKey(caller, this.#context.options.sharing));
  }

  /** Whether it has been closed, so that its callers must ask for another. */
  isGone(partition: Partition): boolean {
    return this.#byKey.get(partition.key) !== partition;
  }

  /** Has the connection of a caller of no principal up; what `startServer` promises. @throws what the start failed with. */
  async warmUp(): Promise<void> {
    const partition = this.#byKey.get('') ?? this.#make('', undefined);
    this.#byKey.set('', partition);
    partition.reset();
    const lease = await partition.acquire({ timeoutMs: this.#context.options.acquireTimeoutMs });
    partition.release(lease);
  }

  /** Ends the connection of one session, in `bound` mode; resolves when it is gone. */
  async release(principal: string | undefined, key: string): Promise<void> {
    const gone = [...this.#byKey.values()].filter(
      ({ caller }) => caller?.key === key && (principal === undefined || caller.principal === principal),
    );
    await Promise.all(gone.map((partition) => this.#close(partition)));
  }

  /** Closes all there are; a call that comes later makes new ones. Errors are joined. */
  async closeAll(options?: CloseOptions): Promise<void> {
    this.#health.stop();
    this.subscriptions.close();
    // Those that are closing already may have to end sooner now.
    for (const partition of this.#closing.keys()) void partition.close(options).catch((error: unknown) => error);
    for (const partition of this.#byKey.values()) void this.#close(partition, options).catch((error: unknown) => error);
    const results = await Promise.allSettled([...this.#closing.values()]);
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

  /** Has the idle partition that was used longest ago give its connections up; false when all are busy. */
  evictIdle(): boolean {
    const idle = [...this.#byKey.values()].filter((each) => each.links.size > 0 && each.idle);
    return this.#giveWay(idle);
  }

  /** Has the connection that has been up longest end when its calls are back. */
  evictOldest(): void {
    this.#giveWay([...this.#byKey.values()].filter((each) => each.links.size > 0));
  }

  #giveWay(candidates: Partition[]): boolean {
    const [oldest] = candidates.sort((a, b) => a.lastUsedMs - b.lastUsedMs);
    oldest?.giveWay('another caller waits for its seat');
    return oldest !== undefined;
  }

  #make(key: string, caller: Caller | undefined): Partition {
    const { config, options, pool, totalSeats } = this.#context;
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
      seats: [this.#seats, totalSeats],
      connect: (partition, seats, signal) => this.#connect(partition, seats, signal),
      onState: () => this.#onState(),
      onLinkGone: (partition, link, death) => this.#gone(partition, link, death),
      onEmpty: (partition) => {
        if (this.subscriptions.has(partition) || this.isGone(partition)) return;
        void this.#close(partition).catch((error: unknown) =>
          pool.logger.error({ error }, 'an idle partition did not close'),
        );
      },
    });
  }

  async #connect(partition: Partition, seats: readonly Seat[], signal: AbortSignal): Promise<Link> {
    const { config, fingerprint, options, pool, connector, counters, events } = this.#context;
    const startMs = pool.clock.now();
    const { caller } = partition;
    const made = await connector.connect({
      config,
      fingerprint,
      options,
      pool,
      caller,
      capabilities: isSome(caller?.capabilities) ? (caller?.capabilities ?? {}) : options.clientCapabilities,
      credentials: this.#credentials,
      signal,
      closing: this.#closed.signal,
      onRenewed: () => {
        for (const link of partition.links) this.subscriptions.resume(partition, link.connection);
      },
      onAnswer: (latencyMs) => counters.latency.record(latencyMs),
      onStderr: (line, pid) => events.emit('stderr', { server: config.name, pid, line }),
    });
    const connection = pool.wrapConnection === undefined ? made : await pool.wrapConnection(made);
    const from = { server: config.name, principal: caller?.principal, key: caller?.key };
    const traffic = new Traffic(connection, {
      exclusive: options.sharing !== 'shared',
      onAny: (notice) => this.subscriptions.dispatch(partition, notice),
      orphan: {
        onNotification: (notice) => void events.emit('notification', { ...from, notice }),
        onRequest: (request, { signal: given }) =>
          new Promise((resolve, reject) => {
            let answered = false;
            events.emit('orphanRequest', {
              ...from,
              request,
              signal: given,
              respond: (answer) => {
                if (answered) return;
                answered = true;
                answer.then(resolve, reject);
              },
            });
            if (!answered) reject(methodNotFound(config.name, request.method));
          }),
      },
    });
    counters.startedAt = connection.startedAt;
    if (partition.info !== undefined) {
      counters.restarts++;
      events.emit('restarted', { server: config.name, attempt: partition.state.attempt });
    }
    this.#lastInfo = connection.info;
    this.#health.start();
    events.emit('started', { server: config.name, pid: connection.pid, startMs: pool.clock.now() - startMs });
    this.subscriptions.resume(partition, connection);
    return { connection, traffic, seats, missedPings: 0, pings: true };
  }

  #gone(partition: Partition, { connection }: Link, death: Death): void {
    const { config, counters, events } = this.#context;
    counters.keep(connection.counters);
    if (!death.expected) counters.lastError = death.why;
    events.emit('exited', {
      server: config.name,
      pid: connection.pid,
      exitCode: death.exitCode ?? null,
      signal: death.signal ?? null,
      expected: death.expected,
    });
    if (!this.isGone(partition)) this.subscriptions.reconnect(partition);
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
