import type { Implementation, ServerCapabilities } from '@modelcontextprotocol/client';
import { RequestTimeoutError } from '../../core/errors.js';
import { withDeadline } from '../../core/time/within.js';
import type { ListItems, McpPool, ServerInfo, ServerNotice } from '../../pool/McpPool.js';
import { changed, type GivenParams } from '../bridge/paramsFor.js';
import { discovered } from '../endpoint/discovered.js';
import type { CallOptions, Downstream, Endpoint, EndpointInfo, ListenOptions } from '../endpoint/Endpoint.js';
import { type ListenFilter, type Listening, untilAborted } from '../modern/Listening.js';
import type { Params } from '../rpc/envelope.js';
import { INVALID_PARAMS, METHOD_NOT_FOUND, Refusal } from '../rpc/failure.js';
import type { Callers } from '../session/Callers.js';
import type { ToolCatalog } from '../ToolCatalog.js';
import { Catalog, type CatalogOptions, type CatalogSource } from './Catalog.js';

export interface AggregateEndpointOptions extends CatalogOptions {
  readonly serverInfo: Implementation;
  readonly catalog: ToolCatalog;
  /** The sessions of this endpoint. */
  readonly sessions: () => readonly Downstream[];
}

/** Notifications that make a list stale, and what they say to clients of the aggregate. */
const LIST_CHANGES: ReadonlyMap<string, 'tools' | 'prompts'> = new Map([
  ['notifications/tools/list_changed', 'tools'],
  ['notifications/prompts/list_changed', 'prompts'],
]);

/** `/mcp`: the tools and prompts of all servers, as `server__name`. Resources are to be had from each server's own path. */
export class AggregateEndpoint implements Endpoint {
  readonly #options: AggregateEndpointOptions;
  readonly #pool: McpPool;
  readonly #callers: Callers;
  readonly #tools: Catalog<'tools'>;
  readonly #prompts: Catalog<'prompts'>;
  /** Subscriptions of the modern era, told of a kind of list that changed. */
  readonly #listeners = new Set<(kind: string) => void>();

  constructor(options: AggregateEndpointOptions) {
    this.#options = options;
    this.#pool = options.pool;
    this.#callers = options.callers;
    const changed = (kind: string) => (): void => {
      for (const session of options.sessions()) session.notify(`notifications/${kind}/list_changed`, undefined);
      for (const listener of this.#listeners) listener(kind);
    };
    this.#tools = new Catalog('tools', options, toolsFrom(options), changed('tools'));
    this.#prompts = new Catalog('prompts', options, promptsFrom(options.pool), changed('prompts'));
  }

  /** What any server can do, of what the aggregate passes on. A server that does not start is left out. */
  async info(session: Downstream, signal: AbortSignal): Promise<EndpointInfo> {
    const names = this.#pool.servers();
    const infos = await Promise.all(names.map((name) => this.#infoOf(name, session, signal)));
    const some = (has: (capabilities: ServerCapabilities) => unknown): boolean =>
      infos.some((info) => info !== undefined && has(info.capabilities) !== undefined);
    const instructions = infos.flatMap((info, index) =>
      info?.instructions === undefined ? [] : [`# ${names[index]}\n\n${info.instructions}`],
    );
    return {
      capabilities: {
        tools: { listChanged: true },
        ...(some(({ prompts }) => prompts) ? { prompts: { listChanged: true } } : {}),
        ...(some(({ completions }) => completions) ? { completions: {} } : {}),
      },
      serverInfo: this.#options.serverInfo,
      ...(instructions.length === 0 ? {} : { instructions: instructions.join('\n\n') }),
    };
  }

  async request(session: Downstream, method: string, params: Params | undefined, call: CallOptions): Promise<unknown> {
    switch (method) {
      case 'server/discover':
        if (session.era === 'legacy') break;
        return discovered(await this.info(session, call.signal ?? session.signal));
      case 'tools/list':
        return { tools: await this.#page(this.#tools, session, params) };
      case 'prompts/list':
        return { prompts: await this.#page(this.#prompts, session, params) };
      case 'tools/call': {
        const { server, name } = await found(this.#tools, session, params?.['name'], 'tool');
        return this.#send(server, session, method, changed(params, call, { params: { name } }), call);
      }
      case 'prompts/get': {
        const { server, name } = await found(this.#prompts, session, params?.['name'], 'prompt');
        return this.#send(server, session, method, changed(params, call, { params: { name } }), call);
      }
      case 'completion/complete': {
        const ref = params?.['ref'] as Params | undefined;
        if (ref?.['type'] !== 'ref/prompt') throw new Refusal(INVALID_PARAMS, 'ref is of type "ref/prompt" here');
        const { server, name } = await found(this.#prompts, session, ref['name'], 'prompt');
        const renamed = changed(params, call, { params: { ref: { ...ref, name } } });
        return this.#send(server, session, method, renamed, call);
      }
    }
    throw new Refusal(METHOD_NOT_FOUND, `${method} is not to be had here: see the servers' own paths`);
  }

  /** With params that are not as the client gave them. */
  #send(
    server: string,
    session: Downstream,
    method: string,
    { params, paramsText }: GivenParams,
    { paramsText: _, ...call }: CallOptions,
  ): Promise<unknown> {
    return this.#callers.request(
      server,
      session,
      method,
      params,
      paramsText === undefined ? call : { ...call, paramsText },
    );
  }

  /** Changes of the lists there are; it ends with its signal. */
  async listen(
    _client: Downstream,
    filter: ListenFilter,
    { signal, onNotification }: ListenOptions,
  ): Promise<Listening> {
    const { toolsListChanged, promptsListChanged } = filter;
    const agreed = { ...(toolsListChanged && { toolsListChanged }), ...(promptsListChanged && { promptsListChanged }) };
    const listener = (kind: string): void => {
      if (Object.hasOwn(agreed, `${kind}ListChanged`)) onNotification({ method: `notifications/${kind}/list_changed` });
    };
    this.#listeners.add(listener);
    return untilAborted(agreed, signal, () => this.#listeners.delete(listener));
  }

  relay(session: Downstream, server: string, { method }: ServerNotice, own: boolean): void {
    const kind = LIST_CHANGES.get(method);
    if (kind === undefined) return;
    if (!own) session.notify(method, undefined);
    else {
      this.#catalogs[kind].invalidate(server, session);
      session.tell(method, undefined);
    }
  }

  /** What all share of a server's lists may be another now. Before anything is relayed. */
  onNotice(server: string, { method }: ServerNotice): void {
    const kind = LIST_CHANGES.get(method);
    if (kind === undefined) return;
    this.#catalogs[kind].invalidate(server);
    for (const listener of this.#listeners) listener(kind);
  }

  onStarted(server: string): void {
    this.#tools.onStarted(server);
    this.#prompts.onStarted(server);
  }

  onRemoved(server: string): void {
    this.#tools.onRemoved(server);
    this.#prompts.onRemoved(server);
  }

  get #catalogs(): { readonly tools: Catalog<'tools'>; readonly prompts: Catalog<'prompts'> } {
    return { tools: this.#tools, prompts: this.#prompts };
  }

  async #infoOf(server: string, session: Downstream, signal: AbortSignal): Promise<ServerInfo | undefined> {
    const { clock, listTimeoutMs, logger } = this.#options;
    try {
      const late = (): Error => new RequestTimeoutError(server, 'initialize', listTimeoutMs);
      const bounds = { clock, timeoutMs: listTimeoutMs, signal, late };
      return await withDeadline(bounds, (bounded) => this.#callers.info(server, session, bounded));
    } catch (error) {
      logger.debug({ server, error }, 'a server is left out of what the aggregate can do');
      return undefined;
    }
  }

  async #page(
    catalog: Catalog<'tools' | 'prompts'>,
    session: Downstream,
    params: Params | undefined,
  ): Promise<unknown[]> {
    if (params?.['cursor'] !== undefined) throw new Refusal(INVALID_PARAMS, 'this list has one page and no cursors');
    return catalog.items(session);
  }
}

/** Tools come through the cache. What a `bound` server offers a session is that session's alone, so that it is not cached. */
function toolsFrom({ pool, catalog, callers }: AggregateEndpointOptions): CatalogSource<ListItems['tools']> {
  return {
    list: async (server, { signal, caller }) => {
      const query = { signal, ...(caller && { caller }) };
      if (callers.isBound(server)) return { ...(await pool.listAll(server, 'tools', query)), stale: false };
      const { tools, stale } = await catalog.tools(server, query);
      return { items: tools, stale };
    },
    refresh: async (server, signal) => {
      const { tools, stale } = await catalog.refresh(server, { signal });
      return { items: tools, stale };
    },
  };
}

function promptsFrom(pool: McpPool): CatalogSource<ListItems['prompts']> {
  const list: CatalogSource<ListItems['prompts']>['list'] = async (server, query) => ({
    ...(await pool.listAll(server, 'prompts', query)),
    stale: false,
  });
  return { list, refresh: (server, signal) => list(server, { signal }) };
}

async function found<K extends 'tools' | 'prompts'>(
  catalog: Catalog<K>,
  session: Downstream,
  name: unknown,
  what: string,
) {
  const route = typeof name === 'string' ? await catalog.find(name, session) : undefined;
  if (route === undefined) throw new Refusal(INVALID_PARAMS, `unknown ${what}: ${String(name).slice(0, 200)}`);
  return route;
}
