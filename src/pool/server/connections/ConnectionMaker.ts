import type { ConnectionLimit, ConnectionPermit } from '../../../concurrent/ConnectionLimit.js';
import { AnswerMeter } from '../../../connection/AnswerMeter.js';
import type { Connection, DisconnectReason } from '../../../connection/Connection.js';
import { InboundRouter } from '../../../connection/channel/InboundRouter.js';
import { methodNotFound } from '../../../connection/channel/ServerRequests.js';
import { ListPace } from '../../../connection/ListPace.js';
import { changesIn, type ServerNotice, type ServerRequest } from '../../../connection/protocol/messages.js';
import { WrappedConnection } from '../../../connection/WrappedConnection.js';
import { thrown } from '../../../core/errors/thrown.js';
import { AcquireTimeoutError, messageOf, QueueFullError, StartError } from '../../../core/errors.js';
import { withDeadline, within } from '../../../core/time/within.js';
import type { Caller, PoolEvents } from '../../McpPool.js';
import type { Credentials } from '../callers/Credentials.js';
import { isEraRefusal, shareOf, starterOf } from '../callers/callerKey.js';
import type { ServerContext } from '../context.js';
import { UNAWAITED } from './ConnectionStarts.js';
import { PooledConnection } from './PooledConnection.js';

/** Our own end of a start comes after the connection's, which knows why, and has a second more when the loop stood still. */
const MARGIN_MS = 1_500;

export interface ConnectionMakerHooks {
  readonly credentials: Credentials;
  readonly limit: ConnectionLimit;
  /** Aborts when the server ends. */
  readonly closing: AbortSignal;
  /** It has a new session, which knows nothing of what the old one was told. */
  readonly onRenewed: (connection: Connection) => void;
  /** A notification that belongs to no call came on it. */
  readonly onNotice: (connection: Connection, notice: ServerNotice) => void;
}

/** Makes a server's connections, tells of their start and end, and says where goes what comes on them and belongs to no call. */
export class ConnectionMaker {
  readonly #context: ServerContext;
  readonly #hooks: ConnectionMakerHooks;
  readonly #listPace = new ListPace();
  /** Those that were up when it was looked last, and whose they are. */
  readonly #up = new Map<Connection, string | undefined>();

  constructor(context: ServerContext, hooks: ConnectionMakerHooks) {
    this.#context = context;
    this.#hooks = hooks;
  }

  /**
   * One within the limits and the start's time. `awaited`: whether callers wait for it, so that it waits for room.
   * @throws AcquireTimeoutError, QueueFullError without room; StartError, or what the connector failed with: then nothing is left
   */
  async make(caller: Caller | undefined, signal: AbortSignal, awaited?: () => boolean): Promise<PooledConnection> {
    const permit = await this.#permit(caller, signal, awaited);
    try {
      return await this.#start(caller, permit, signal).finally(() => permit.started());
    } catch (error) {
      if (!signal.aborted && !isEraRefusal(error)) this.#context.counters.failedWith(messageOf(error));
      permit.release();
      throw error;
    }
  }

  /** A caller that was not seen before makes a call: what it brings along is the newest of its principal. */
  note(caller: Caller | undefined): void {
    this.#hooks.credentials.note(caller);
  }

  /** One has died or was ended: its counts stay. */
  gone({ connection }: PooledConnection, reason: DisconnectReason): void {
    const { config, counters, events, pool } = this.#context;
    counters.keep(connection.counters);
    if (!reason.expected) counters.died(reason);
    events.emit('exited', {
      server: config.name,
      pid: connection.pid,
      exitCode: reason.exitCode ?? null,
      signal: reason.signal ?? null,
      expected: reason.expected,
      reason: reason.why,
      livedMs: Math.max(0, pool.clock.wallNow() - connection.startedAt),
    });
  }

  /** A connection that no caller waits for, to be kept ready, takes no permit that a caller waits for. */
  #permit(caller: Caller | undefined, signal: AbortSignal, awaited?: () => boolean): Promise<ConnectionPermit> {
    const { config, options, pool } = this.#context;
    const { limit } = this.#hooks;
    const group = shareOf(caller, options.sharing);
    const starter = awaited && starterOf(caller);
    const permit = limit.tryTake(group, starter);
    if (permit !== undefined) return Promise.resolve(permit);
    const what = `connections of server ${config.name}`;
    if (awaited === undefined) return Promise.reject(new QueueFullError(what, limit.waiting, options.maxConnections));
    const { acquireTimeoutMs: timeoutMs } = options;
    const late = (): unknown => {
      const { taken, waiting, kept } = limit;
      const detail = { live: taken, creating: 0, dying: 0, slots: taken, inUse: taken, waiting };
      const all = kept === 0 ? what : `${what} (kept free for other principals: ${kept})`;
      return new AcquireTimeoutError(all, timeoutMs, detail);
    };
    return withDeadline({ clock: pool.clock, timeoutMs, late, signal }, async (bound) => {
      const taken = await limit.take(group, bound, starter);
      if (awaited()) return taken;
      taken.release();
      throw UNAWAITED;
    });
  }

  #start(caller: Caller | undefined, permit: ConnectionPermit, signal: AbortSignal): Promise<PooledConnection> {
    const { config, options, pool } = this.#context;
    const { startTimeoutMs } = options;
    const untilMs = pool.clock.now() + startTimeoutMs;
    const late = (): unknown =>
      new StartError(config.name, `it was not up within ${startTimeoutMs} ms (startTimeoutMs)`);
    return withDeadline({ clock: pool.clock, timeoutMs: startTimeoutMs + MARGIN_MS, late, signal }, (bound) =>
      this.#connect(caller, permit, bound, untilMs),
    );
  }

  async #connect(
    caller: Caller | undefined,
    permit: ConnectionPermit,
    signal: AbortSignal,
    untilMs: number,
  ): Promise<PooledConnection> {
    const { config, fingerprint, options, pool, connector, counters, events } = this.#context;
    const { credentials, closing, onRenewed } = this.#hooks;
    const startMs = pool.clock.now();
    const answers = new AnswerMeter(counters.latency);
    let pooled: PooledConnection | undefined;
    const made = await connector.connect({
      config,
      fingerprint,
      options,
      pool,
      caller,
      capabilities: caller?.capabilities ?? options.clientCapabilities,
      credentials,
      signal,
      closing,
      leftMs: () => Math.max(1, untilMs - pool.clock.now()),
      onRenewed: () => {
        if (pooled === undefined) return;
        if (pooled.holder !== undefined) pooled.holder.info = pooled.connection.info;
        onRenewed(pooled.connection);
        // Another process may have its session, with other lists.
        const owner = { server: config.name, principal: caller?.principal };
        for (const method of changesIn(pooled.connection))
          events.emit('notification', { ...owner, notice: { method } });
      },
      onAnswer: answers.onAnswer,
      listPace: this.#listPace,
      onStderr: (line, pid) => events.emit('stderr', { server: config.name, pid, line }),
    });
    let connection: Connection = made;
    try {
      connection = await this.#wrapped(made, signal);
      const router = this.#router(connection, caller, () => pooled);
      pooled = new PooledConnection(connection, made, router, permit, answers, startMs);
    } catch (error) {
      // Idempotent: the wrapper may have done so itself.
      await connection
        .close({ graceMs: 0 })
        .catch((failed: unknown) => pool.logger.error({ error: failed }, 'it did not end'));
      throw thrown(error);
    }
    answers.counting = true;
    counters.startedAt = connection.startedAt;
    const principal = caller?.principal;
    for (const each of this.#up.keys()) if (!each.alive) this.#up.delete(each);
    const others = [...this.#up.values()].filter((each) => each === principal).length;
    this.#up.set(connection, principal);
    events.emit('started', {
      server: config.name,
      pid: connection.pid,
      others,
      startMs: pool.clock.now() - startMs,
      ...(principal !== undefined && { principal }),
    });
    return pooled;
  }

  /** `starter`: whose start it is, and whom it belongs to until a partition holds it. */
  #router(
    connection: Connection,
    starter: Caller | undefined,
    pooled: () => PooledConnection | undefined,
  ): InboundRouter {
    const { events, options, pool, config, middleware } = this.#context;
    const from = (): Pick<PoolEvents['notification'], 'server' | 'principal' | 'key'> => {
      const holder = pooled()?.holder;
      const owner = holder === undefined ? starter : holder.caller;
      return { server: config.name, principal: owner?.principal, key: owner?.key };
    };
    return new InboundRouter(connection, {
      exclusive: options.sharing !== 'shared',
      logger: pool.logger,
      onAny: (notice) => this.#hooks.onNotice(connection, notice),
      orphan: {
        onNotification: (said) => {
          const owner = from();
          const busy = connection.inFlight > 0;
          middleware.notice(owner, said, (notice) => events.emit('notification', { ...owner, notice, busy }));
        },
        onRequest: (asked, { signal }) => {
          const owner = from();
          return middleware.ask(owner, asked, signal, (request) => this.#ask(owner, request, signal));
        },
      },
    });
  }

  /** `wrapConnection` is a user's function: it may hang or throw, and counts into the start. */
  async #wrapped(made: Connection, signal: AbortSignal): Promise<Connection> {
    const { options, pool } = this.#context;
    const { wrapConnection, clock, maxTotalTimeoutMs } = pool;
    if (wrapConnection === undefined) return made;
    const front = await within(Promise.resolve(wrapConnection(made)), { clock, signal });
    return front === made ? made : new WrappedConnection(front, made, { ...options, clock, maxTotalTimeoutMs });
  }

  /** A request that belongs to no call: the first listener of the pool that responds answers it. */
  #ask(
    from: Pick<PoolEvents['orphanRequest'], 'server' | 'principal' | 'key'>,
    request: ServerRequest,
    signal: AbortSignal,
  ): Promise<unknown> {
    const { config, counters, events } = this.#context;
    counters.orphanRequests++;
    return new Promise((resolve, reject) => {
      let answered = false;
      events.emit('orphanRequest', {
        ...from,
        request,
        signal,
        respond: (answer) => {
          // One that comes second is not asked for, and its failure is no one's.
          if (answered) answer.catch(() => undefined);
          else answer.then(resolve, reject);
          answered = true;
        },
      });
      if (!answered) reject(methodNotFound(config.name, request.method));
    });
  }
}
