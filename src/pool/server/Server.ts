import { Mutex } from 'async-mutex';
import { type CloseOptions, checkClose } from '../../core/close/CloseScope.js';
import { ClosedError, PoolkitError, ServerStoppedError, StartError } from '../../core/errors.js';
import { checkNames } from '../../core/options.js';
import { fingerprint } from '../../registry/config/fingerprint.js';
import type { SingleServerConfig } from '../../registry/config/ServerConfig.js';
import type {
  Caller,
  RequestOptions,
  ServerInfo,
  ServerNotice,
  ServerState,
  ServerStats,
  Subscription,
  SubscriptionFilter,
} from '../McpPool.js';
import { SUBSCRIBE_OPTIONS } from './callOptions.js';
import { type Admission, ServerCalls } from './calls/ServerCalls.js';
import type { ServerHost } from './context.js';
import { resolveServerOptions, type ServerOptions } from './options.js';
import { PartitionTable } from './partitions/PartitionTable.js';
import { Counters } from './stats/Counters.js';

/** One named server of a pool: its partitions, its breaker, its counters, and whether it may run. */
export class Server implements Admission {
  readonly config: SingleServerConfig;
  readonly name: string;
  readonly fingerprint: string;
  readonly options: ServerOptions;
  readonly partitions: PartitionTable;
  readonly calls: ServerCalls;
  readonly #counters: Counters;
  readonly #context: ServerHost;
  readonly #transition = new Mutex();
  #mode: 'running' | 'stopping' | 'stopped' = 'running';
  /** Stops that wait for their turn: what is before them need not bring anything up. */
  #stopsAhead = 0;
  /** A restart that calls wait for; it settles however the restart ends. */
  restarting: Promise<void> | undefined;
  /** Takes over the calls that were refused because the server was replaced. */
  successor: Admission['successor'];
  /** Whether it takes calls: it runs. */
  open = true;
  #shown: ServerState = 'idle';
  #removed = false;
  #stop = new AbortController();

  constructor(config: SingleServerConfig, context: ServerHost) {
    this.config = config;
    this.name = config.name;
    this.fingerprint = fingerprint(config);
    this.options = resolveServerOptions(config, context.pool);
    this.#context = context;
    if (config.enabled === false) {
      this.#turn('stopped');
      this.#shown = 'stopped';
    }
    this.#counters = new Counters((attempt, reason) =>
      context.events.emit('restarted', { server: config.name, attempt, reason }),
    );
    const own = { ...context, config, fingerprint: this.fingerprint, options: this.options, counters: this.#counters };
    this.partitions = new PartitionTable(own, () => this.#show());
    this.calls = new ServerCalls(own, this.partitions, this, () => this.#show());
  }

  get state(): ServerState {
    if (this.#mode !== 'running') return this.#mode;
    const { state } = this.partitions;
    return state === 'ready' && this.calls.breakers.main.state !== 'closed' ? 'degraded' : state;
  }

  /** Whether a call would be refused at once: its breaker is open, or its starts back off and nothing is up. */
  get refuses(): boolean {
    if (!this.open || (this.calls.breakers.shared?.retryAfterMs ?? 0) > 0) return true;
    const { state } = this.partitions;
    // Asked for each call: all partitions are looked at only while none is up.
    return (state === 'failed' || state === 'degraded') && this.partitions.backoffMs !== undefined;
  }

  /** Sessions of a `bound` server have a connection each: for a new one it is that of the whole server. */
  stateFor(caller: Caller | undefined): string {
    if (this.options.sharing === 'bound') return this.partitions.state;
    return this.partitions.find(caller)?.health.state.tag ?? 'idle';
  }

  begin(caller: Caller | undefined): void {
    if (this.stateFor(caller) === 'starting') return;
    const up = this.calls.acquire(caller === undefined ? {} : { caller }, undefined);
    // A start that failed is counted where it is made.
    up.then((pooled) => pooled.holder?.release(pooled)).catch(() => undefined);
  }

  get stopped(): AbortSignal {
    return this.#stop.signal;
  }

  refusal(): PoolkitError {
    return this.#removed ? new ClosedError(`server ${this.name}`) : new ServerStoppedError(this.name);
  }

  info(caller: Caller | undefined): ServerInfo | undefined {
    return this.partitions.find(caller)?.info ?? (caller === undefined ? this.partitions.lastInfo : undefined);
  }

  async subscribe(
    filter: SubscriptionFilter,
    options: Pick<RequestOptions, 'caller' | 'signal'> & { readonly onNotification: (notice: ServerNotice) => void },
  ): Promise<Subscription> {
    checkNames('subscribe', options, SUBSCRIBE_OPTIONS);
    const { caller, signal, onNotification } = options;
    signal?.throwIfAborted();
    const pooled = await this.calls.acquire({ ...(caller && { caller }), ...(signal && { signal }) }, undefined);
    // The slot is given back at once: what keeps the connection up is the subscription.
    try {
      const { key } = this.partitions.get(caller);
      return await this.partitions.subscriptions.add(key, pooled.connection, {
        caller,
        filter,
        onNotification,
        signal,
      });
    } finally {
      pooled.holder?.release(pooled);
    }
  }

  /** Runs again after a stop, and has a connection up. @throws what the start failed with. */
  start(): Promise<void> {
    return this.#transition.runExclusive(async () => {
      this.#enter();
      await this.#warmUp();
    });
  }

  /** Takes effect at once on what is there; a start under way fails with `ERR_SERVER_STOPPED`. */
  async stop(options: CloseOptions = {}): Promise<void> {
    checkClose(options);
    this.#stopsAhead++;
    const ended = this.#mode === 'stopped' ? Promise.resolve() : this.#end(options);
    ended.catch(() => undefined);
    return this.#transition.runExclusive(async () => {
      this.#stopsAhead--;
      await this.#halt(ended, options);
    });
  }

  /** Stop, then start; calls that come meanwhile wait for it. Concurrent callers share one. */
  restart(): Promise<void> {
    this.restarting ??= this.#transition
      .runExclusive(async () => {
        this.#assertNotRemoved();
        this.#turn('stopping');
        this.#show();
        try {
          await this.partitions.closeAll();
        } finally {
          this.calls.breakers.reset();
          this.#enter();
        }
        await this.#warmUp();
        this.#counters.restarted(0, 'requested');
        this.partitions.subscriptions.reconnectAll();
      })
      .finally(() => {
        this.restarting = undefined;
      });
    return this.restarting;
  }

  /** Takes the place of `old`, whose end is `gone`: its callers are served here, once it is gone. */
  replace(old: Pick<Server, 'successor'>, gone: Promise<void>): void {
    old.successor = this;
    this.waitFor(gone);
  }

  /** Its calls wait for the end of what it stands in for. */
  waitFor(gone: Promise<void>): void {
    this.restarting = this.#transition
      .runExclusive(() => gone.catch(() => undefined))
      .finally(() => {
        this.restarting = undefined;
      });
  }

  /** Ends it for good. */
  remove(options?: CloseOptions): Promise<void> {
    this.#removed = true;
    // A transition under way is waiting for connections that end sooner when told so now.
    const ended = this.#end(options);
    ended.catch(() => undefined);
    return this.#transition.runExclusive(async () => {
      await this.#halt(ended, options);
      this.partitions.end();
    });
  }

  stats(): ServerStats {
    const { connections } = this.partitions;
    const wire = this.#counters.wire(connections.map(({ connection }) => connection.counters));
    const limited = this.calls.adaptive?.inspect();
    const memory = connections.map(({ made }) => this.#context.connector.memoryBytes?.(made));
    const known = memory.filter((bytes) => bytes !== undefined);
    return {
      name: this.name,
      state: this.state,
      calls: wire.calls,
      errors: this.#counters.errors,
      inFlight: connections.reduce((sum, { connection }) => sum + connection.inFlight, 0),
      queued: this.partitions.queued + (limited?.waiting ?? 0),
      ...(limited && { limit: limited.limit }),
      connections: connections.length,
      latencyMs: this.#counters.latency.quantiles,
      restarts: this.#counters.restarts,
      backoffMs: this.partitions.backoffMs,
      breaker: this.calls.breakers.state,
      lastError: this.#counters.lastError,
      pids: connections.flatMap(({ connection }) => connection.pid ?? []),
      memoryBytes: known.length === 0 ? undefined : known.reduce((sum, bytes) => sum + bytes, 0),
      unsentBytes: connections.reduce((sum, { connection }) => sum + connection.unsentBytes, 0),
      lateReplies: wire.lateReplies,
      garbageLines: wire.garbage,
      orphanRequests: this.#counters.orphanRequests,
      startedAt: this.#counters.startedAt,
    };
  }

  /** Runs from here on. @throws why it must not */
  #enter(): void {
    this.#assertNotRemoved();
    if (this.#stopsAhead > 0) {
      this.#turn('stopping');
      this.#show();
      throw new ServerStoppedError(this.name);
    }
    this.#turn('running');
    if (this.#stop.signal.aborted) this.#stop = new AbortController();
    this.#show();
  }

  #end(options?: CloseOptions): Promise<void> {
    this.#turn('stopping');
    this.#show();
    this.#stop.abort(this.refusal());
    this.calls.adaptive?.rejectAll(this.refusal());
    this.partitions.subscriptions.close();
    return this.partitions.closeAll(options);
  }

  /** In its turn: `ended` had no power over what a transition before it brought up. */
  async #halt(ended: Promise<void>, options?: CloseOptions): Promise<void> {
    try {
      await Promise.all([ended, this.#end(options)]);
    } finally {
      this.#turn('stopped');
      this.calls.breakers.reset();
      this.#show();
    }
  }

  /** @throws StartError whatever it was that failed; ServerStoppedError, ClosedError when it was ended meanwhile */
  async #warmUp(): Promise<void> {
    try {
      await this.partitions.warmUp();
    } catch (error) {
      if (!this.open) throw this.refusal();
      const known = error instanceof StartError || error instanceof ClosedError || !(error instanceof PoolkitError);
      throw known ? error : new StartError(this.name, error.message, {}, error);
    }
  }

  #turn(mode: 'running' | 'stopping' | 'stopped'): void {
    this.#mode = mode;
    this.open = mode === 'running';
  }

  #assertNotRemoved(): void {
    if (this.#removed) throw new ClosedError(`server ${this.name}`);
  }

  /** Tells of the state if it is another than was told last. */
  #show(): void {
    const { state } = this;
    if (state === this.#shown) return;
    const previous = this.#shown;
    this.#shown = state;
    this.#context.events.emit('state', { server: this.name, state, previous });
  }
}
