import { Mutex } from 'async-mutex';
import { CircuitBreaker } from '../../concurrent/CircuitBreaker.js';
import type { Limiter } from '../../concurrent/Limiter.js';
import type { CallOptions, Params } from '../../connection/messages.js';
import type { CloseOptions } from '../../core/CloseScope.js';
import { ClosedError, PoolkitError, ServerStoppedError, StartError } from '../../core/errors.js';
import { fingerprint } from '../../registry/config/fingerprint.js';
import type { ServerConfig } from '../../registry/ServerConfig.js';
import type {
  Caller,
  ConnectionLease,
  RequestOptions,
  ServerInfo,
  ServerNotice,
  ServerState,
  ServerStats,
  Subscription,
  SubscriptionFilter,
} from '../McpPool.js';
import type { Lease } from '../resource/Lease.js';
import { Counters } from './Counters.js';
import { Budget, isServerFailure, mayRepeat, pauseAfter, permit, sendAgain } from './callPolicy.js';
import type { PoolContext } from './context.js';
import { resolveServerOptions, type ServerOptions } from './options.js';
import type { Link, Partition } from './Partition.js';
import { Partitions } from './Partitions.js';
import { race } from './race.js';
import { ServerLease } from './ServerLease.js';
import { type CallTracer, traceCall } from './trace.js';

/**
 * One named server of a pool: its partitions, its breaker, its counters, and whether it may run. Calls go
 * request -> partition -> lease -> connection and back; nothing here touches a message.
 */
export class Server {
  readonly config: ServerConfig;
  readonly name: string;
  readonly fingerprint: string;
  readonly options: ServerOptions;
  readonly partitions: Partitions;
  readonly counters = new Counters();
  readonly #context: PoolContext;
  readonly #breaker: CircuitBreaker;
  readonly #limiter: Limiter | undefined;
  readonly #transition = new Mutex();
  #mode: 'running' | 'stopping' | 'stopped' = 'running';
  #restarting: Promise<void> | undefined;
  #before: Promise<void> | undefined;
  #go: (() => void) | undefined;
  #shown: ServerState = 'idle';
  #removed = false;

  constructor(config: ServerConfig, context: PoolContext) {
    this.config = config;
    this.name = config.name;
    this.fingerprint = fingerprint(config);
    this.options = resolveServerOptions(config, context.pool);
    this.#context = context;
    if (config.enabled === false) {
      this.#mode = 'stopped';
      this.#shown = 'stopped';
    }
    const { breakerThreshold, breakerResetMs, clock, limiter } = context.pool;
    this.#limiter = limiter !== undefined && 'limiter' in limiter ? limiter.limiter(config.name) : limiter;
    this.#breaker = new CircuitBreaker({
      what: config.name,
      threshold: breakerThreshold,
      resetMs: breakerResetMs,
      isFailure: isServerFailure,
      clock,
      onChange: () => this.#show(),
    });
    const own = { ...context, config, fingerprint: this.fingerprint, options: this.options, counters: this.counters };
    this.partitions = new Partitions(own, () => this.#show());
  }

  get state(): ServerState {
    if (this.#mode !== 'running') return this.#mode;
    const { state } = this.partitions;
    return state === 'ready' && this.#breaker.state !== 'closed' ? 'degraded' : state;
  }

  info(caller: Caller | undefined): ServerInfo | undefined {
    return this.partitions.find(caller)?.info ?? (caller === undefined ? this.partitions.lastInfo : undefined);
  }

  async request(method: string, params: Params | undefined, options: RequestOptions): Promise<unknown> {
    try {
      options.signal?.throwIfAborted();
      const { clock } = this.#context.pool;
      const budget = options.deadlineMs === undefined ? undefined : new Budget(clock.now(), options.deadlineMs);
      const shared = this.options.sharing === 'shared';
      const trace = traceCall(this.name, method, params);
      for (let sends = 1; ; sends++) {
        try {
          return await this.#breaker.call(() => this.#send(method, params, options, budget, trace));
        } catch (error) {
          pauseAfter(error, this.#limiter);
          if (!sendAgain(error, sends, shared, mayRepeat(method, params, options))) throw error;
          if (this.#mode !== 'running' || options.signal?.aborted === true) throw error;
        }
      }
    } catch (error) {
      this.counters.failed(error);
      throw error;
    }
  }

  async notify(
    method: string,
    params: Params | undefined,
    options: Pick<RequestOptions, 'caller' | 'signal'>,
  ): Promise<void> {
    const { partition, lease } = await this.#acquire(options, undefined);
    try {
      await lease.resource.connection.notify(method, params);
    } finally {
      partition.release(lease);
    }
  }

  async lease(options: Pick<RequestOptions, 'caller' | 'signal' | 'acquireTimeoutMs'>): Promise<ConnectionLease> {
    const { partition, lease } = await this.#acquire(options, undefined);
    return new ServerLease(this.name, lease, {
      release: () => partition.release(lease),
      prepare: async (method, params, own) => {
        await permit(this.#limiter, this.name, own.signal, undefined, this.#context.pool.clock);
        return this.#callOptions(method, params, own, undefined);
      },
      onFailure: (error) => {
        pauseAfter(error, this.#limiter);
        this.counters.failed(error);
      },
      watch: (stack) => {
        const { clock, leakThresholdMs: heldMs } = this.#context.pool;
        const report = { server: this.name, heldMs, stack };
        return clock.setTimer(() => void this.#context.events.emit('leaked', report), heldMs);
      },
    });
  }

  async subscribe(
    filter: SubscriptionFilter,
    {
      caller,
      signal,
      onNotification,
    }: Pick<RequestOptions, 'caller' | 'signal'> & {
      readonly onNotification: (notice: ServerNotice) => void;
    },
  ): Promise<Subscription> {
    signal?.throwIfAborted();
    const { partition, lease } = await this.#acquire(
      { ...(caller && { caller }), ...(signal && { signal }) },
      undefined,
    );
    // The slot is given back at once: what keeps the connection up is the subscription.
    try {
      const { connection } = lease.resource;
      return await this.partitions.subscriptions.add(partition, connection, filter, onNotification, signal);
    } finally {
      partition.release(lease);
    }
  }

  /** Runs again after a stop, and has a connection up. @throws what the start failed with. */
  start(): Promise<void> {
    return this.#transition.runExclusive(async () => {
      this.#assertNotRemoved();
      this.#mode = 'running';
      this.#show();
      await this.#warmUp();
    });
  }

  stop(options?: CloseOptions): Promise<void> {
    return this.#transition.runExclusive(() => this.#halt(options));
  }

  /** Its calls wait until `gone` has settled: what it takes the place of is still draining. */
  after(gone: Promise<void>): void {
    this.#before = new Promise((resolve) => {
      this.#go = () => {
        this.#before = undefined;
        resolve();
      };
      gone.then(this.#go, this.#go);
    });
  }

  /** Stop, then start; calls that come meanwhile wait for it. Concurrent callers share one. */
  restart(): Promise<void> {
    this.#restarting ??= this.#transition
      .runExclusive(async () => {
        this.#assertNotRemoved();
        this.#mode = 'stopping';
        this.#show();
        try {
          await this.partitions.closeAll();
        } finally {
          this.#mode = this.#removed ? 'stopped' : 'running';
          this.#breaker.reset();
          this.#show();
        }
        await this.#warmUp();
      })
      .finally(() => {
        this.#restarting = undefined;
      });
    return this.#restarting;
  }

  /** Ends it for good. */
  remove(options?: CloseOptions): Promise<void> {
    this.#removed = true;
    this.#mode = 'stopping';
    this.#go?.();
    // A transition under way is waiting for connections that end sooner when told so now.
    const closed = this.partitions.closeAll(options);
    closed.catch(() => undefined);
    return this.#transition.runExclusive(async () => {
      await closed;
      await this.#halt(options);
      this.partitions.end();
    });
  }

  stats(): ServerStats {
    const links = this.partitions.links;
    const wire = this.counters.wire(links.map(({ connection }) => connection.counters));
    const memory = links.map(({ connection }) => this.#context.connector.memoryBytes?.(connection));
    const known = memory.filter((bytes) => bytes !== undefined);
    return {
      name: this.name,
      state: this.state,
      calls: wire.calls,
      errors: this.counters.errors,
      inFlight: links.reduce((sum, { connection }) => sum + connection.inFlight, 0),
      queued: this.partitions.queued,
      connections: links.length,
      latencyMs: this.counters.latency.quantiles,
      restarts: this.counters.restarts,
      backoffMs: this.partitions.backoffMs,
      breaker: this.#breaker.state,
      lastError: this.counters.lastError,
      pids: links.flatMap(({ connection }) => connection.pid ?? []),
      memoryBytes: known.length === 0 ? undefined : known.reduce((sum, bytes) => sum + bytes, 0),
      unsentBytes: links.reduce((sum, { connection }) => sum + connection.unsentBytes, 0),
      lateReplies: wire.lateReplies,
      garbageLines: wire.garbage,
      orphanRequests: wire.orphanRequests,
      startedAt: this.counters.startedAt,
    };
  }

  async #halt(options?: CloseOptions): Promise<void> {
    if (this.#mode === 'stopped') return;
    this.#mode = 'stopping';
    this.#show();
    try {
      await this.partitions.closeAll(options);
    } finally {
      this.#mode = 'stopped';
      this.#breaker.reset();
      this.#show();
    }
  }

  async #send(
    method: string,
    params: Params | undefined,
    options: RequestOptions,
    budget: Budget | undefined,
    trace: CallTracer | undefined,
  ): Promise<unknown> {
    const permitted = permit(this.#limiter, this.name, options.signal, budget, this.#context.pool.clock);
    if (permitted !== undefined) await permitted;
    const { partition, lease } = this.#tryAcquire(options.caller) ?? (await this.#acquire(options, budget));
    const { connection, traffic } = lease.resource;
    const exclusive = this.options.sharing !== 'shared' && (options.onNotification ?? options.onRequest) !== undefined;
    const listening = exclusive ? traffic.listen(options) : undefined;
    try {
      const answer = connection.request(method, params, this.#callOptions(method, params, options, budget));
      return await (trace === undefined ? answer : trace.follow(answer));
    } finally {
      listening?.[Symbol.dispose]();
      partition.release(lease);
    }
  }

  #tryAcquire(caller: Caller | undefined): { partition: Partition; lease: Lease<Link> } | undefined {
    if (this.#mode !== 'running') return undefined;
    const partition = this.partitions.get(caller);
    const lease = partition.tryAcquire();
    return lease === undefined ? undefined : { partition, lease };
  }

  async #acquire(
    options: Pick<RequestOptions, 'caller' | 'signal' | 'acquireTimeoutMs'>,
    budget: Budget | undefined,
  ): Promise<{ partition: Partition; lease: Lease<Link> }> {
    const { clock } = this.#context.pool;
    const askedMs = options.acquireTimeoutMs ?? this.options.acquireTimeoutMs;
    const waiting = new Budget(clock.now(), budget?.within(this.name, askedMs, clock.now()) ?? askedMs);
    for (;;) {
      const first = this.#restarting ?? this.#before;
      if (first !== undefined) await this.#until(first, options.signal, waiting, askedMs);
      if (this.#removed) throw new ClosedError(`server ${this.name}`);
      if (this.#mode !== 'running') throw new ServerStoppedError(this.name);
      const partition = this.partitions.get(options.caller);
      try {
        const timeoutMs = waiting.within(this.name, askedMs, clock.now());
        return { partition, lease: await partition.acquire({ signal: options.signal, timeoutMs }) };
      } catch (error) {
        // The partition gave way to another while we waited, or a restart took it: there is a new one.
        if (error instanceof ClosedError && this.partitions.isGone(partition)) continue;
        throw error;
      }
    }
  }

  /** However that ends: the call then sees for itself what there is. */
  #until(first: Promise<void>, signal: AbortSignal | undefined, waiting: Budget, askedMs: number): Promise<void> {
    const { clock } = this.#context.pool;
    const over = first.then(
      () => undefined,
      () => undefined,
    );
    const timeoutMs = waiting.within(this.name, askedMs, clock.now());
    return race(over, { clock, timeoutMs, signal, late: () => waiting.spent(this.name) });
  }

  #callOptions(
    method: string,
    params: Params | undefined,
    options: RequestOptions,
    budget: Budget | undefined,
  ): CallOptions {
    const tool = method === 'tools/call' ? this.options.timeoutsByTool.get(params?.['name'] as string) : undefined;
    // What a connection does without is its server's default already.
    if (budget === undefined && (tool === undefined || options.timeoutMs !== undefined)) return options;
    const timeoutMs = options.timeoutMs ?? tool ?? this.options.timeoutMs;
    if (budget === undefined) return { ...options, timeoutMs };
    const nowMs = this.#context.pool.clock.now();
    const leftMs = budget.within(this.name, Number.POSITIVE_INFINITY, nowMs);
    const totalMs = options.maxTotalTimeoutMs ?? this.#context.pool.maxTotalTimeoutMs;
    return {
      ...options,
      timeoutMs: Math.min(timeoutMs, leftMs),
      acquireTimeoutMs: Math.min(options.acquireTimeoutMs ?? this.options.acquireTimeoutMs, leftMs),
      maxTotalTimeoutMs: Math.min(totalMs, leftMs),
    };
  }

  /** @throws StartError whatever it was that failed */
  async #warmUp(): Promise<void> {
    try {
      await this.partitions.warmUp();
    } catch (error) {
      const known = error instanceof StartError || error instanceof ClosedError || !(error instanceof PoolkitError);
      throw known ? error : new StartError(this.name, error.message, {}, error);
    }
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
