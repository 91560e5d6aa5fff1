import type { Clock } from '../../core/clock.js';
import type { Logger } from '../../core/logger.js';
import type { CurationTable } from '../curation/CurationTable.js';
import type { GatewayPool } from '../GatewayOptions.js';
import type { Target } from '../http/paths.js';
import type { Params } from '../rpc/envelope.js';
import type { Callers } from '../session/callers/Callers.js';
import type { BareEndpoint, Downstream, Endpoint } from './Endpoint.js';
import type { EndpointMiddleware, Routes } from './EndpointMiddleware.js';
import { ServerEndpoint } from './ServerEndpoint.js';

export interface EndpointsOptions {
  readonly pool: GatewayPool;
  readonly callers: Callers;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly curation: CurationTable;
  /** The aggregate of one group. */
  readonly group: (name: string) => BareEndpoint;
  /** Stands for the clients of the modern era. */
  readonly anyone: Downstream;
  readonly middleware: EndpointMiddleware;
  /** Told of each, once, when it is made. */
  readonly onEndpoint: (endpoint: Endpoint, server?: string) => void;
  /** The sessions of an endpoint. */
  readonly sessionsOf: (endpoint: Endpoint) => readonly Downstream[];
}

/** The endpoints of one tenant, made when they are asked for. */
export class Endpoints {
  readonly #options: EndpointsOptions;
  readonly #servers = new Map<string, Endpoint>();
  readonly #groups = new Map<string, Endpoint>();
  #aggregate: Endpoint | undefined;
  /** Requests and subscriptions under way. */
  #running = 0;

  constructor(options: EndpointsOptions) {
    this.#options = options;
  }

  /** The aggregate, as clients reach it. */
  addAggregate(aggregate: BareEndpoint): Endpoint {
    this.#aggregate = this.#around(aggregate, this.#serverNamed(), ['all'], this.#serversOf());
    this.#options.onEndpoint(this.#aggregate);
    return this.#aggregate;
  }

  /** Of one server, of one group or of all; undefined for one there is not. */
  at({ server, group }: Target): Endpoint | undefined {
    return group === undefined ? this.of(server) : this.#ofGroup(group);
  }

  /** A group's, if it was asked for. */
  known(group: string): Endpoint | undefined {
    return this.#groups.get(group);
  }

  /** Whether a request or a subscription is under way. */
  get busy(): boolean {
    return this.#running > 0;
  }

  *[Symbol.iterator](): Iterator<readonly [Endpoint, string | undefined]> {
    if (this.#aggregate !== undefined) yield [this.#aggregate, undefined];
    for (const [name, endpoint] of this.#servers) yield [endpoint, name];
  }

  #ofGroup(name: string): Endpoint | undefined {
    // A group that is gone leaves its sessions behind: they are not found any more.
    if (!this.#options.curation.hasGroup(name)) return undefined;
    const endpoint =
      this.#groups.get(name) ??
      this.#around(this.#options.group(name), this.#serverNamed(name), ['group', name], this.#serversOf(name));
    this.#groups.set(name, endpoint);
    return endpoint;
  }

  /** The servers of one group, or all. */
  #serversOf(group?: string): () => readonly string[] {
    const { pool, curation } = this.#options;
    if (group === undefined) return () => pool.servers();
    const { curator } = curation.view(group);
    return () => pool.servers().filter((server) => curator().holds(server));
  }

  /** Whose tool or prompt a request names. */
  #serverNamed(group?: string): Routes['serverOf'] {
    const { pool, curation } = this.#options;
    const { curator } = curation.view(group);
    return (_method, params) => {
      const name = params?.['name'] ?? (params?.['ref'] as Params | undefined)?.['name'];
      return typeof name === 'string' ? curator().serverOf(name, pool.servers()) : undefined;
    };
  }

  /** Of the aggregate, or of a server by its name; undefined for one there is not. */
  of(name: string | undefined): Endpoint | undefined {
    if (name === undefined) return this.#aggregate;
    const known = this.#servers.get(name);
    if (known !== undefined) return known;
    const { pool, callers, clock, logger, sessionsOf, middleware } = this.#options;
    if (!pool.hasServer(name)) return undefined;
    const inner = new ServerEndpoint({
      pool,
      server: name,
      callers,
      clock,
      logger,
      sessions: () => [endpoint, this.#aggregate].flatMap((each) => (each === undefined ? [] : sessionsOf(each))),
      tell: (session, notice) =>
        middleware.told(session, name, notice, ({ method, params }) => session.notify(method, params)),
    });
    const endpoint = this.#around(
      inner,
      () => name,
      ['server', name],
      () => [name],
    );
    this.#servers.set(name, endpoint);
    this.#options.onEndpoint(endpoint, name);
    return endpoint;
  }

  #around(
    endpoint: BareEndpoint,
    serverOf: Routes['serverOf'],
    place: readonly string[],
    servers: () => readonly string[],
  ): Endpoint {
    const { callers, middleware, anyone, curation } = this.#options;
    return middleware.around(endpoint, {
      serverOf,
      scope: JSON.stringify([anyone.caller?.principal ?? null, ...place]),
      path: pathOf(place),
      searching: () => place[0] !== 'server' && curation.view(place[1]).searching(),
      moves: () => !servers().some((server) => callers.isBound(server)),
      anyone,
      eraOf: (server, session) => callers.eraOf(server, session),
      began: () => {
        this.#running++;
      },
      ended: () => {
        this.#running--;
      },
    });
  }
}

function pathOf([kind, name]: readonly string[]): string {
  return name === undefined ? '/mcp' : `/${kind}s/${name}/mcp`;
}
