import type { Clock } from '../../core/clock.js';
import { type Closeable, type CloseOptions, CloseScope } from '../../core/close/CloseScope.js';
import type { Logger } from '../../core/logger.js';
import type { Caller } from '../../pool/McpPool.js';
import { ListFailures } from '../aggregate/lists/ListFailures.js';
import type { MergedInfos } from '../aggregate/MergedInfos.js';
import type { RequestStates } from '../bridge/RequestStates.js';
import type { CurationTable } from '../curation/CurationTable.js';
import type { Endpoint } from '../endpoint/Endpoint.js';
import type { EndpointMiddleware } from '../endpoint/EndpointMiddleware.js';
import type { Endpoints } from '../endpoint/Endpoints.js';
import { type MadeEndpoints, makeEndpoints } from '../endpoint/makeEndpoints.js';
import type { GatewayOptions, GatewaySettings } from '../GatewayOptions.js';
import type { HeldBytes } from '../http/HeldBytes.js';
import { ModernClients } from '../modern/ModernClients.js';
import { Callers } from '../session/callers/Callers.js';
import { passesPieces } from '../session/callers/passesPieces.js';
import { OwnTasks, type TaskOwners } from '../session/OwnTasks.js';
import type { SessionTable } from '../session/SessionTable.js';
import type { User } from './Authenticate.js';
import type { ScopeRules } from './scopes/ScopeRules.js';
import { scopedPool } from './scopes/scopedPool.js';

/** What the tenants of a gateway share. */
export interface TenantOptions {
  readonly gateway: Pick<GatewayOptions, 'pool' | 'cache' | 'sessionKeys'>;
  readonly settings: GatewaySettings;
  readonly sessions: () => SessionTable;
  readonly middleware: EndpointMiddleware;
  /** What all of them are shown. */
  readonly curation: CurationTable;
  readonly held: HeldBytes;
  readonly states: RequestStates;
  readonly taskOwners: TaskOwners;
  readonly infos: MergedInfos;
  readonly logger: Logger;
  readonly clock: Clock;
  /** Aborts when the gateway closes. */
  readonly signal: AbortSignal;
  readonly onEndpoint: (endpoint: Endpoint, server?: string) => void;
  /** What scopes open; undefined where they open nothing in particular. */
  readonly scopes: ScopeRules | undefined;
}

/**
 * All that a gateway keeps for one principal, or for all clients without one: endpoints, lists, callers. Nothing of it is ever
 * shared with another, so that there is no check that could be forgotten: what belongs to one cannot be reached from another.
 */
export class Tenant implements Closeable {
  readonly principal: string | undefined;
  readonly subject: string | undefined;
  readonly callers: Callers;
  /** Of all servers together, and of the groups that were asked for. */
  readonly aggregates: MadeEndpoints['aggregates'];
  readonly endpoints: Endpoints;
  readonly #scope: CloseScope;
  /** As of its newest request. */
  #user: User | undefined;

  constructor(user: User | undefined, options: TenantOptions) {
    const { gateway, settings, sessions, middleware, curation, held, logger, clock, signal } = options;
    this.principal = user?.principal;
    this.subject = user?.subject;
    this.#user = user;
    this.#scope = new CloseScope('the endpoints of a principal', { clock, logger });
    const caller = user === undefined ? undefined : this.#caller(user);
    const clients = new ModernClients(signal, caller);
    const access = options.scopes?.of(user?.scopes ?? []);
    const pool = access === undefined ? gateway.pool : scopedPool(gateway.pool, access);
    this.callers = new Callers({
      pool,
      logger,
      clock,
      clients,
      base: caller,
      failures: new ListFailures(pool, clock),
      callIdleMs: settings.callIdleMs,
      inPieces: passesPieces(gateway.pool),
      held,
      states: options.states,
      tasks: new OwnTasks(options.taskOwners, gateway.pool, this.principal),
      sessions,
    });
    const { endpoints, aggregates, parts } = makeEndpoints(
      { ...gateway, pool },
      {
        access: access && { ...access, servers: () => gateway.pool.servers() },
        callers: this.callers,
        anyone: clients.anyone,
        middleware,
        curation,
        infos: options.infos,
        sessionsOf: (endpoint) => sessions().of(endpoint),
        allSessions: () => [...sessions()].filter((session) => session.caller.principal === this.principal),
        onEndpoint: options.onEndpoint,
        settings,
        signal,
        logger,
        clock,
      },
    );
    this.endpoints = endpoints;
    this.aggregates = aggregates;
    for (const [name, part] of parts) this.#scope.own(name, part);
  }

  /** It has made a request: what it brings along is the newest from here on. */
  seen(user: User | undefined): void {
    this.#user = user;
  }

  close(options?: CloseOptions): Promise<void> {
    return this.#scope.close(options);
  }

  /** Its context is the newest when it is asked for, however long ago a connection was opened. */
  #caller({ principal, subject }: User): Caller {
    const newest = (): unknown => this.#user?.context;
    return {
      principal,
      ...(subject !== undefined && { subject }),
      get context() {
        return newest();
      },
    };
  }
}
