import { CircuitBreaker } from '../../../concurrent/breaker/CircuitBreaker.js';
import type { Limiter } from '../../../concurrent/limiter/Limiter.js';
import type { CallOptions, Params } from '../../../connection/protocol/messages.js';
import { ClosedError, NotSentError, OutcomeUnknownError, PoolkitError, RpcError } from '../../../core/errors.js';
import type { Caller, ConnectionLease, RequestOptions } from '../../McpPool.js';
import type { Lease } from '../../resource/Lease.js';
import type { ServerContext } from '../context.js';
import type { Partition } from '../partitions/Partition.js';
import type { PartitionTable } from '../partitions/PartitionTable.js';
import type { PooledConnection } from '../partitions/PooledConnection.js';
import { Budget, isServerFailure, mayRepeat, pauseAfter, permit, sendAgain } from './callPolicy.js';
import { race } from './race.js';
import { ServerLease } from './ServerLease.js';
import { type CallTracer, traceCall } from './trace.js';

/** Whether a server takes calls. */
export interface Admission {
  readonly open: boolean;
  /** A restart that calls wait for; it settles however the restart ends. */
  readonly restarting: Promise<unknown> | undefined;
  /** Takes over the calls that were refused because the server was replaced. */
  readonly successor: { readonly calls: ServerCalls } | undefined;
  /** Why it is not open. */
  refusal(): PoolkitError;
}

interface Slot {
  readonly partition: Partition;
  readonly lease: Lease<PooledConnection>;
}

/** The calls of one server: request -> limiter -> partition -> lease -> connection and back. No message is touched. */
export class ServerCalls {
  readonly breaker: CircuitBreaker;
  readonly #context: ServerContext;
  readonly #partitions: PartitionTable;
  readonly #limiter: Limiter | undefined;
  readonly #gate: Admission;
  /** Failures by a death that counts already. */
  readonly #sameDeath = new WeakSet<Error>();

  constructor(context: ServerContext, partitions: PartitionTable, gate: Admission, onBreaker: () => void) {
    const { config, pool } = context;
    const { limiter, breakerThreshold: threshold, breakerResetMs: resetMs, clock } = pool;
    this.#context = context;
    this.#partitions = partitions;
    this.#limiter = limiter?.for({ server: config.name });
    this.#gate = gate;
    this.breaker = new CircuitBreaker({
      name: config.name,
      threshold,
      resetMs,
      isFailure: (error) => isServerFailure(error, pool.breakerCountsTimeouts) && !this.#sameDeath.has(error as Error),
      isAnswer: (error) => error instanceof RpcError,
      clock,
      logger: pool.logger,
      onChange: onBreaker,
    });
  }

  async request(method: string, params: Params | undefined, options: RequestOptions): Promise<unknown> {
    let trace: CallTracer | undefined;
    try {
      options.signal?.throwIfAborted();
      const { config, pool, options: own } = this.#context;
      const budget = options.deadlineMs === undefined ? undefined : new Budget(pool.clock.now(), options.deadlineMs);
      trace = traceCall(config.name, method, params);
      let unknown: OutcomeUnknownError | undefined;
      for (let sends = 1; ; sends++) {
        try {
          const result = await this.breaker.call(() => this.#send(method, params, options, budget, trace));
          trace?.answered();
          return result;
        } catch (error) {
          pauseAfter(error, this.#limiter);
          if (error instanceof OutcomeUnknownError) unknown ??= error;
          const again = sendAgain(error, sends, own.sharing === 'shared', mayRepeat(method, params, options));
          if (again && this.#gate.open && options.signal?.aborted !== true) continue;
          // That the last send never ran does not say so of the first.
          if (unknown !== undefined && error instanceof PoolkitError && error.acted === 'no') throw unknown;
          throw error;
        }
      }
    } catch (error) {
      const { successor } = this.#gate;
      const refused = error instanceof ClosedError || error instanceof NotSentError;
      if (successor !== undefined && refused) return successor.calls.request(method, params, options);
      trace?.answered(error);
      this.#context.counters.failed(error);
      throw error;
    }
  }

  async notify(
    method: string,
    params: Params | undefined,
    options: Pick<RequestOptions, 'caller' | 'signal'>,
  ): Promise<void> {
    const { partition, lease } = await this.acquire(options, undefined);
    try {
      await lease.resource.connection.notify(method, params);
    } finally {
      partition.release(lease);
    }
  }

  async lease(options: Pick<RequestOptions, 'caller' | 'signal' | 'acquireTimeoutMs'>): Promise<ConnectionLease> {
    const { partition, lease } = await this.acquire(options, undefined);
    const { config, counters, events, pool } = this.#context;
    return new ServerLease(config.name, lease, {
      release: () => partition.release(lease),
      prepare: async (method, params, own) => {
        const budget = own.deadlineMs === undefined ? undefined : new Budget(pool.clock.now(), own.deadlineMs);
        await permit(this.#limiter, config.name, own.signal, budget, pool.clock);
        return this.#callOptions(method, params, own, budget);
      },
      tell: (listener, notice) => lease.resource.traffic.tell(listener, notice),
      onFailure: (error) => {
        pauseAfter(error, this.#limiter);
        counters.failed(error);
      },
      watch: (stack) => {
        const report = { server: config.name, heldMs: pool.leakThresholdMs, stack };
        return pool.clock.setTimer(() => {
          if (events.emit('leaked', report)) return;
          pool.logger.warn({ ...report }, 'a lease has been out for too long');
        }, pool.leakThresholdMs);
      },
    });
  }

  /** A slot on a live connection, in its turn, within `acquireTimeoutMs` and the budget. */
  async acquire(
    options: Pick<RequestOptions, 'caller' | 'signal' | 'acquireTimeoutMs'>,
    budget: Budget | undefined,
  ): Promise<Slot> {
    const { pool, config } = this.#context;
    const { clock } = pool;
    const askedMs = options.acquireTimeoutMs ?? this.#context.options.acquireTimeoutMs;
    const waiting = new Budget(clock.now(), budget?.within(config.name, askedMs, clock.now()) ?? askedMs);
    for (;;) {
      const { restarting } = this.#gate;
      if (restarting !== undefined) await this.#after(restarting, options.signal, waiting, askedMs);
      if (!this.#gate.open) throw this.#gate.refusal();
      const partition = this.#partitions.get(options.caller);
      try {
        const timeoutMs = waiting.within(config.name, askedMs, clock.now());
        return { partition, lease: await partition.acquire({ signal: options.signal, timeoutMs }) };
      } catch (error) {
        // The partition gave way to another while we waited, or a restart took it: there is a new one.
        if (error instanceof ClosedError && this.#partitions.isGone(partition)) continue;
        throw error;
      }
    }
  }

  async #send(
    method: string,
    params: Params | undefined,
    options: RequestOptions,
    budget: Budget | undefined,
    trace: CallTracer | undefined,
  ): Promise<unknown> {
    const permitted = permit(
      this.#limiter,
      this.#context.config.name,
      options.signal,
      budget,
      this.#context.pool.clock,
    );
    if (permitted !== undefined) await permitted;
    const { partition, lease } = this.#tryAcquire(options.caller) ?? (await this.acquire(options, budget));
    const { connection, traffic } = lease.resource;
    const shared = this.#context.options.sharing === 'shared';
    const listening =
      !shared && (options.onNotification ?? options.onRequest) !== undefined ? traffic.listen(options) : undefined;
    try {
      trace?.sent();
      return await connection.request(method, params, this.#callOptions(method, params, options, budget));
    } catch (error) {
      if (error instanceof OutcomeUnknownError && !connection.alive) this.#diedUnder(lease.resource, error);
      throw error;
    } finally {
      listening?.[Symbol.dispose]();
      partition.release(lease);
    }
  }

  /** However many calls a death takes with it, to the breaker it is one failure. */
  #diedUnder(link: PooledConnection, error: OutcomeUnknownError): void {
    if (link.deathCounted) this.#sameDeath.add(error);
    link.deathCounted = true;
  }

  #tryAcquire(caller: Caller | undefined): Slot | undefined {
    if (!this.#gate.open || this.#gate.restarting !== undefined) return undefined;
    const partition = this.#partitions.get(caller);
    const lease = partition.tryAcquire();
    return lease === undefined ? undefined : { partition, lease };
  }

  /** However the restart ends: the call then sees for itself what there is. */
  #after(
    restart: Promise<unknown>,
    signal: AbortSignal | undefined,
    waiting: Budget,
    askedMs: number,
  ): Promise<unknown> {
    const { clock } = this.#context.pool;
    const { name } = this.#context.config;
    const over = restart.catch(() => undefined);
    const timeoutMs = waiting.within(name, askedMs, clock.now());
    return race(over, { clock, timeoutMs, signal, late: () => waiting.spent(name) });
  }

  #callOptions(
    method: string,
    params: Params | undefined,
    options: RequestOptions,
    budget: Budget | undefined,
  ): CallOptions {
    const { options: own, config, pool } = this.#context;
    const tool = method === 'tools/call' ? own.timeoutsByTool.get(params?.['name'] as string) : undefined;
    // What a connection does without is its server's default already.
    if (budget === undefined && (tool === undefined || options.timeoutMs !== undefined)) return options;
    const timeoutMs = options.timeoutMs ?? tool ?? own.timeoutMs;
    if (budget === undefined) return { ...options, timeoutMs };
    // Throws when nothing is left.
    budget.within(config.name, Number.POSITIVE_INFINITY, pool.clock.now());
    return { ...options, timeoutMs, untilMs: budget.untilMs };
  }
}
