import { setImmediate } from 'node:timers/promises';
import { LIST_CHANGES } from '../connection/protocol/messages.js';
import { RPC_CODES } from '../connection/protocol/rpcCodes.js';
import type { Clock } from '../core/clock.js';
import { RpcError } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import { inSlices } from '../core/time/inSlices.js';
import type { PoolEvents } from '../pool/McpPool.js';
import type { EndpointMiddleware } from './endpoint/EndpointMiddleware.js';
import type { GatewayPool } from './GatewayOptions.js';
import type { ListChange, Replicas } from './replicas/Replicas.js';
import { canBeAskedAtAll } from './rpc/envelope.js';
import { StartRetries } from './StartRetries.js';
import { hearingOf, namesTask } from './session/callers/hearing.js';
import type { SessionTable } from './session/SessionTable.js';
import type { Tenant } from './users/Tenant.js';
import type { Tenants } from './users/Tenants.js';

export interface PoolRelayOptions {
  readonly pool: GatewayPool;
  readonly tenants: Tenants;
  readonly sessions: SessionTable;
  readonly middleware: EndpointMiddleware;
  /** Other replicas, where there are some. */
  readonly replicas: Replicas | undefined;
  readonly logger: Logger;
  readonly clock: Clock;
  /** Whether each user has connections of their own: none is that of all. */
  readonly users: boolean;
}

/** Brings what servers say by themselves to the sessions it is for, until disposed. */
export class PoolRelay implements Disposable {
  readonly #tenants: Tenants;
  readonly #sessions: SessionTable;
  readonly #middleware: EndpointMiddleware;
  readonly #replicas: Replicas | undefined;
  readonly #logger: Logger;
  readonly #pool: GatewayPool;
  readonly #subscriptions: readonly Disposable[];

  constructor({ pool, tenants, sessions, middleware, replicas, logger, clock, users }: PoolRelayOptions) {
    this.#pool = pool;
    this.#replicas = replicas;
    this.#logger = logger;
    this.#tenants = tenants;
    this.#sessions = sessions;
    this.#middleware = middleware;
    this.#subscriptions = [
      pool.on('notification', (event) => this.#relay(event)),
      pool.on('orphanRequest', (event) => this.#ask(event)),
      pool.on('sessionLost', (event) => this.#lost(event)),
      pool.on('started', (event) => this.#started(event)),
      pool.on('state', ({ server }) => this.#settled(server)),
      // What is disabled now is off the lists at once; calls that it has may take their time.
      pool.on('applied', ({ restarted, updated = [] }) => {
        for (const server of [...restarted, ...updated]) this.#settled(server);
      }),
      ...(users ? [] : [new StartRetries({ pool, clock, logger })]),
    ];
  }

  [Symbol.dispose](): void {
    this.#replicas?.[Symbol.dispose]();
    for (const each of this.#subscriptions) each[Symbol.dispose]();
  }

  /** One that is gone, or stopped on purpose, offers nothing. */
  #settled(server: string): void {
    if (this.#pool.hasServer(server) && this.#pool.state(server) !== 'stopped') return;
    for (const { aggregates } of this.#tenants) for (const each of aggregates()) each.onRemoved(server);
  }

  /** Another replica heard that a list changed, which is the same for all. */
  changedElsewhere({ server, principal, notice }: ListChange): void {
    const tenant = this.#tenants.find(principal);
    if (tenant === undefined || !this.#pool.hasServer(server) || tenant.callers.isBound(server)) return;
    const told = [...tenant.aggregates()].map((each) => each.onChangedElsewhere(server, notice));
    Promise.all(told)
      .then(() => this.#told({ server, ...(principal !== undefined && { principal }), notice }, tenant))
      .catch((error: unknown) => this.#logger.warn({ server, error }, 'a changed list could not be told on'));
  }

  /** What other replicas said was not heard for a while: any list may have changed. In turns of the event loop: there are three for each user and server. */
  changedPerhaps(): void {
    const changes = this.#allLists();
    const step = (): boolean => {
      const { value } = changes.next();
      if (value !== undefined) this.changedElsewhere(value);
      return value === undefined;
    };
    inSlices(step).catch((error: unknown) => this.#logger.warn({ error }, 'changed lists could not be told on'));
  }

  *#allLists(): Generator<ListChange, undefined> {
    for (const { principal } of [...this.#tenants]) {
      for (const server of this.#pool.servers()) {
        for (const method of LIST_CHANGES) yield { server, principal, notice: { method } };
      }
    }
    return undefined;
  }

  /** It concerns its principal alone: each of the others would need a connection to look again, whose start concerned all of them. */
  #started({ server, principal, others }: PoolEvents['started']): void {
    const tenant = this.#tenants.find(principal);
    if (tenant === undefined) return;
    // One more connection says nothing new of lists: any client has it started by what it says it can do.
    if (others === 0) tenant.callers.tools.forget(server);
    for (const each of tenant.aggregates()) each.onStarted(server, others === 0);
  }

  #relay(event: PoolEvents['notification']): void {
    const { server, principal, notice } = event;
    const tenant = this.#tenants.find(principal);
    // A principal of the pool's other callers.
    if (tenant === undefined) return;
    const { callers, aggregates } = tenant;
    if (!callers.isBound(server)) {
      for (const each of aggregates()) each.onNotice(server, notice);
      if (LIST_CHANGES.has(notice.method)) this.#replicas?.changed(event);
    }
    if (!namesTask(notice)) {
      this.#told(event, tenant);
      return;
    }
    // It may stand right behind the answer that makes the task, which is on its way by now: in the next turn its owner is known.
    setImmediate()
      .then(() => this.#told(event, tenant))
      .catch((error: unknown) =>
        this.#logger.warn({ server, error }, 'what a server said of a task could not be told on'),
      );
  }

  #told(event: PoolEvents['notification'], tenant: Tenant): void {
    const { server, notice } = event;
    const { callers } = tenant;
    if (notice.method === 'notifications/tools/list_changed') callers.tools.forget(server);
    const { sessions, own, call } = hearingOf(event, tenant, this.#sessions);
    for (const session of sessions) session.endpoint.relay(session, server, notice, own);
    call?.(notice);
  }

  /**
   * Its process ended with what the session had put into it: its client is told by 404, and initialises anew. A session of several servers
   * goes on: it has calls and subscriptions on the others.
   */
  #lost({ server, key }: PoolEvents['sessionLost']): void {
    const session = key === undefined ? undefined : this.#sessions.byKey(key);
    if (session === undefined) return;
    const { endpoint } = session;
    if (endpoint.lost === undefined) void this.#sessions.end(session);
    else endpoint.lost(session, server);
  }

  /** A server asks its own session's client; unanswered here, the pool answers that the method is not found. */
  #ask({ server, principal, key, request, signal, respond }: PoolEvents['orphanRequest']): void {
    const tenant = this.#tenants.find(principal);
    if (tenant === undefined) return;
    const { method, params } = request;
    if (!tenant.callers.isBound(server)) {
      if (!canBeAskedAtAll(method)) return;
      const { sharing } = this.#pool.config(server) ?? {};
      const cause =
        sharing === 'leased'
          ? 'with sharing: "leased" a server may ask during a call'
          : 'with sharing: "shared" a server cannot say whom it asks';
      const why = `method not found: ${method}: ${cause}; set sharing: "bound" for it`;
      respond(Promise.reject(new RpcError(server, RPC_CODES.methodNotFound, why)));
      return;
    }
    const session = key === undefined ? undefined : this.#sessions.byKey(key);
    if (session?.canBeAsked(method) !== true || session.caller.principal !== principal) return;
    const ask = (own: typeof params): Promise<unknown> => session.ask({ server, method, params: own, signal });
    respond(this.#middleware.ask(session, server, request, signal, ask));
  }
}
