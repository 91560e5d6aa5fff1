import { AdaptiveQueue } from '../../../concurrent/AdaptiveQueue.js';
import type { AdaptiveTicket } from '../../../concurrent/balance/AdaptiveLimit.js';
import type { Limiter } from '../../../concurrent/limiter/Limiter.js';
import { freePermit, pauseAfter, permit } from '../../../concurrent/permits.js';
import { callerName } from '../../../connection/calls/Caller.js';
import { checkTimes } from '../../../connection/protocol/checkTimes.js';
import type { CallOptions, Params } from '../../../connection/protocol/messages.js';
import { ClosedError, endOf, NotSentError, OutcomeUnknownError, type PoolkitError } from '../../../core/errors.js';
import { assertLive, checkAtOnce, checkMs, checkNames } from '../../../core/options.js';
import { within } from '../../../core/time/within.js';
import { type CallSignal, isOwnEnd, signalOf } from '../../../core/wait/Cancellation.js';
import type { Caller, ConnectionLease, RequestOptions } from '../../McpPool.js';
import { isEraRefusal } from '../callers/callerKey.js';
import { LEASE_OPTIONS, NOTIFY_OPTIONS, REQUEST_OPTIONS, withSignal } from '../callOptions.js';
import type { PooledConnection } from '../connections/PooledConnection.js';
import type { ServerContext } from '../context.js';
import type { PartitionTable } from '../partitions/PartitionTable.js';
import { Breakers } from './Breakers.js';
import { type Begun, Budget, MAX_SENDS, mayRepeat, sendAgain } from './callPolicy.js';
import { ServerLease } from './ServerLease.js';
import { CallTracer, callChannel } from './trace.js';

/** Whether a server takes calls. */
export interface Admission {
  readonly open: boolean;
  /** Aborted, with the refusal, when it is ended: nothing waits for it any more. */
  readonly stopped: AbortSignal;
  /** A restart that calls wait for; it settles however the restart ends. */
  readonly restarting: Promise<unknown> | undefined;
  /** Takes over the calls that were refused because the server was replaced. */
  readonly successor: { readonly calls: Pick<ServerCalls, 'request'> } | undefined;
  /** Why it is not open. */
  refusal(): PoolkitError;
}

/** The calls of one server: request -> breaker -> limiter -> partition -> connection and back. No message is touched. */
export class ServerCalls {
  readonly breakers: Breakers;
  /** With `maxConcurrent: 'auto'`. */
  readonly adaptive: AdaptiveQueue | undefined;
  readonly #context: ServerContext;
  readonly #partitions: PartitionTable;
  readonly #admission: Admission;
  /** Failures by an end of a connection that counts already. */
  readonly #counted = new WeakSet<Error>();

  constructor(context: ServerContext, partitions: PartitionTable, admission: Admission, onBreaker: () => void) {
    this.#context = context;
    this.#partitions = partitions;
    this.#admission = admission;
    const { config, options, pool } = context;
    const { maxQueue } = options;
    if (options.adaptive) this.adaptive = new AdaptiveQueue({ ...pool, name: `server ${config.name}`, maxQueue });
    this.breakers = new Breakers(context, (error) => !this.#counted.has(error as Error), onBreaker);
  }

  /** One asynchronous frame: a call in a healthy pool makes one promise here and one in its connection. */
  async request(method: string, params: Params | undefined, options: RequestOptions, begun?: Begun): Promise<unknown> {
    const { config, pool, options: own, resends, shadow } = this.#context;
    const trace = begun === undefined ? this.#trace(method, params, options) : begun.trace;
    let sends = begun?.sends ?? 1;
    let told = begun?.told;
    const permits = begun?.permits;
    let budget: Budget | undefined;
    try {
      // In line: what the hot path runs through stays few files.
      for (const name in options) if (REQUEST_OPTIONS[name] !== true) checkNames('request', options, REQUEST_OPTIONS);
      checkTimes(options);
      const cancellation: CallSignal | undefined = options.cancellation ?? options.signal;
      if (cancellation !== undefined && cancellation.aborted !== false) assertLive(signalOf(cancellation));
      if (options.deadlineMs !== undefined) budget = new Budget(pool.clock.now(), options.deadlineMs);
      for (; ; sends++) {
        const limited = pool.limiter !== undefined && permits !== 'none';
        const limiter = limited ? this.#limiter(method, params, options) : undefined;
        const breaker = this.breakers.shared ?? this.breakers.of(method, params, options.caller);
        const ticket = breaker.state === 'closed' ? breaker.enter() : breaker.enter(callerName(options.caller));
        let pooled: PooledConnection | undefined;
        let listening: Disposable | undefined;
        let turn: AdaptiveTicket | undefined;
        try {
          if (limiter !== undefined && permits === 'free') freePermit(limiter, config.name);
          else if (limiter !== undefined) {
            const { stopped } = this.#admission;
            await permit(limiter, config.name, signalOf(cancellation), stopped, budget, pool.clock, options.caller);
          }
          pooled = this.#tryAcquire(options.caller, cancellation) ?? (await this.acquire(withSignal(options), budget));
          const listens = (options.onNotification ?? options.onRequest) !== undefined;
          if (own.sharing !== 'shared' && listens && options.attributedOnly !== true) {
            listening = pooled.router.listen(options);
          }
          if (this.adaptive !== undefined) {
            pooled.made.hurry?.();
            turn = await this.adaptive.acquire(signalOf(cancellation), this.#waitMs(options, budget), options.caller);
          }
          trace?.sent(pooled);
          let call = this.#callOptions(method, params, options, budget);
          // What stands in front of the connection may look at results.
          if (call.onLarge !== undefined && pooled.connection !== pooled.made) call = { ...call, onLarge: undefined };
          if (sends >= MAX_SENDS) call = { ...call, lastSend: true };
          const result = await pooled.connection.request(method, params, trace?.metered(call) ?? call);
          breaker.succeeded(ticket);
          if (turn !== undefined) this.adaptive?.succeeded(turn, callerName(options.caller));
          trace?.answered(result);
          return result;
        } catch (error) {
          const shared = own.sharing === 'shared' && resends?.() !== false;
          const repeats = sendAgain(error, sends, shared, mayRepeat(method, params, options, config));
          const again = repeats && this.#admission.open && cancellation?.aborted !== true;
          const ended = isOwnEnd(error, options);
          // A failure of the call is how its last send ended.
          if (!again && pooled !== undefined) this.#countOnce(pooled, error);
          if (again || ended) breaker.abandoned(ticket);
          else breaker.failed(ticket, error, this.breakers.voter(error, options.caller));
          if (turn !== undefined) this.adaptive?.failed(turn, ended ? undefined : error, callerName(options.caller));
          if (shadow !== true) pauseAfter(error, () => limiter, this.#hookFailed);
          told = endOf(told, error);
          if (!again) throw error;
          trace?.retried(error);
        } finally {
          listening?.[Symbol.dispose]();
          pooled?.holder?.release(pooled);
        }
      }
    } catch (error) {
      told = endOf(told, error);
      const { successor } = this.#admission;
      const refused = error instanceof ClosedError || error instanceof NotSentError;
      if (successor !== undefined && refused) {
        const rest = budget?.rest(options, pool.clock.now()) ?? options;
        return successor.calls.request(method, params, rest, { trace, sends, told });
      }
      trace?.failed(told);
      if (!isEraRefusal(told)) this.#context.counters.failed(told);
      throw told;
    }
  }

  async notify(
    method: string,
    params: Params | undefined,
    options: Pick<RequestOptions, 'caller' | 'signal'>,
  ): Promise<void> {
    checkNames('notify', options, NOTIFY_OPTIONS);
    const pooled = await this.acquire(options, undefined);
    try {
      await pooled.connection.notify(method, params, options);
    } finally {
      pooled.holder?.release(pooled);
    }
  }

  /** `over`: called when it was given back or its connection is gone. */
  async lease(
    options: Pick<RequestOptions, 'caller' | 'signal' | 'acquireTimeoutMs'>,
    over?: () => void,
  ): Promise<ConnectionLease> {
    checkNames('lease', options, LEASE_OPTIONS);
    checkTimes(options);
    const pooled = await this.acquire(options, undefined);
    const { config, counters, events, pool } = this.#context;
    return new ServerLease(config.name, pooled, {
      caller: options.caller,
      trace: (method, params, own) => this.#trace(method, params, own),
      prepare: async (method, params, own) => {
        const budget = own.deadlineMs === undefined ? undefined : new Budget(pool.clock.now(), own.deadlineMs);
        const limiter = this.#limiter(method, params, own);
        await permit(limiter, config.name, own.signal, this.#admission.stopped, budget, pool.clock, own.caller);
        return this.#callOptions(method, params, own, budget);
      },
      onFailure: (error, method, params, own) => {
        pauseAfter(error, () => this.#limiter(method, params, own), this.#hookFailed);
        counters.failed(error);
      },
      watch: (stack) => {
        const report = { server: config.name, heldMs: pool.leakThresholdMs, stack };
        const watch = pool.clock.setTimer(() => {
          if (events.emit('leaked', report)) return;
          pool.logger.warn({ ...report }, 'a lease has been out for too long');
        }, pool.leakThresholdMs);
        if (over === undefined) return watch;
        return {
          [Symbol.dispose]: () => {
            watch[Symbol.dispose]();
            over();
          },
        };
      },
    });
  }

  /**
   * A slot on a live connection, in its turn. The wait for a slot is bounded by `acquireTimeoutMs`, that for a start by
   * the start's own time; an `acquireTimeoutMs` of the call's own, and its budget, bound all of it.
   */
  async acquire(
    options: Pick<RequestOptions, 'caller' | 'signal' | 'acquireTimeoutMs'>,
    budget: Budget | undefined,
  ): Promise<PooledConnection> {
    const { pool, config, options: own } = this.#context;
    const { clock } = pool;
    const { caller, signal, acquireTimeoutMs: askedMs = Number.POSITIVE_INFINITY } = options;
    checkMs('acquireTimeoutMs', askedMs, { infinity: true });
    const whole = new Budget(clock.now(), askedMs, budget);
    const bounds = { caller, signal, queueMs: own.acquireTimeoutMs, untilMs: whole.untilMs };
    for (;;) {
      const { restarting } = this.#admission;
      if (restarting !== undefined) {
        const timeoutMs = whole.within(config.name, Number.POSITIVE_INFINITY, clock.now());
        const over = restarting.catch(() => undefined);
        await within(over, { clock, timeoutMs, signal, late: () => whole.spent(config.name) });
      }
      if (!this.#admission.open) throw this.#admission.refusal();
      whole.within(config.name, 0, clock.now());
      const partition = this.#partitions.get(caller);
      try {
        return await partition.acquire(bounds);
      } catch (error) {
        // The partition was closed while we waited, by a restart or because it was empty: there is a new one.
        if (error instanceof ClosedError && partition.closing) continue;
        throw error;
      }
    }
  }

  /** Longest wait for a turn. */
  #waitMs(
    { acquireTimeoutMs = this.#context.options.acquireTimeoutMs }: RequestOptions,
    budget: Budget | undefined,
  ): number {
    return (
      budget?.within(this.#context.config.name, acquireTimeoutMs, this.#context.pool.clock.now()) ?? acquireTimeoutMs
    );
  }

  #trace(method: string, params: Params | undefined, options: RequestOptions): CallTracer | undefined {
    if (!callChannel.hasSubscribers) return undefined;
    const { owner, pool, config } = this.#context;
    return new CallTracer(owner, pool.clock, config.name, method, params, options);
  }

  /** The one that this call takes its permit from. */
  #limiter(method: string, params: Params | undefined, { caller }: RequestOptions): Limiter | undefined {
    const { config, pool } = this.#context;
    const tool = method === 'tools/call' ? params?.['name'] : undefined;
    const call = { server: config.name, method, tool: typeof tool === 'string' ? tool : undefined, caller };
    return checkAtOnce('limiter.for', pool.limiter?.for(call));
  }

  /** A function of a user's that is only told something. */
  readonly #hookFailed = (error: unknown, hook: string): void =>
    this.#context.pool.logger.error({ server: this.#context.config.name, error, hook }, 'a hook failed');

  /** However many calls an end of a connection takes with it, to the breaker it is one failure. */
  #countOnce(pooled: PooledConnection, error: unknown): void {
    if (!(error instanceof OutcomeUnknownError) || pooled.connection.alive) return;
    if (pooled.deathCounted) this.#counted.add(error);
    pooled.deathCounted = true;
  }

  #tryAcquire(caller: Caller | undefined, cancellation: CallSignal | undefined): PooledConnection | undefined {
    if (!this.#admission.open || this.#admission.restarting !== undefined) return undefined;
    return cancellation?.aborted === true ? undefined : this.#partitions.get(caller).tryAcquire();
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
