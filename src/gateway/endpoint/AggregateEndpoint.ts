import type { Implementation, ServerCapabilities } from '@modelcontextprotocol/client';
import type { McpPool, ServerInfo, ServerNotice } from '../../pool/McpPool.js';
import type { Params } from '../rpc/envelope.js';
import { INVALID_PARAMS, METHOD_NOT_FOUND, Refusal } from '../rpc/failure.js';
import { Catalog, type CatalogOptions } from './Catalog.js';
import { type CallOptions, type Downstream, type Endpoint, type EndpointInfo, infoOf } from './Endpoint.js';
import { within } from './within.js';

export interface AggregateEndpointOptions extends CatalogOptions {
  readonly serverInfo: Implementation;
}

/** Notifications that make a list stale, and what they say to clients of the aggregate. */
const LIST_CHANGES: Readonly<Record<string, 'tools' | 'prompts'>> = {
  'notifications/tools/list_changed': 'tools',
  'notifications/prompts/list_changed': 'prompts',
};

/** `/mcp`: the tools and prompts of all servers, as `server__name`. Resources are to be had from each server's own path. */
export class AggregateEndpoint implements Endpoint {
  readonly #options: AggregateEndpointOptions;
  readonly #pool: McpPool;
  readonly #tools: Catalog<'tools'>;
  readonly #prompts: Catalog<'prompts'>;

  constructor(options: AggregateEndpointOptions) {
    this.#options = options;
    this.#pool = options.pool;
    this.#tools = new Catalog('tools', options);
    this.#prompts = new Catalog('prompts', options);
  }

  /** What any server can do, of what the aggregate passes on. A server that does not start is left out. */
  async info(signal: AbortSignal): Promise<EndpointInfo> {
    const names = this.#pool.servers();
    const infos = await Promise.all(names.map((name) => this.#infoOf(name, signal)));
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

  async request(_: Downstream, method: string, params: Params | undefined, call: CallOptions): Promise<unknown> {
    switch (method) {
      case 'tools/list':
        return { tools: await this.#page(this.#tools, params) };
      case 'prompts/list':
        return { prompts: await this.#page(this.#prompts, params) };
      case 'tools/call': {
        const route = await found(this.#tools, params?.['name'], 'tool');
        return this.#pool.request(route.server, method, { ...params, name: route.name }, { ...call, raw: true });
      }
      case 'prompts/get': {
        const route = await found(this.#prompts, params?.['name'], 'prompt');
        return this.#pool.request(route.server, method, { ...params, name: route.name }, { ...call, raw: true });
      }
      case 'completion/complete': {
        const ref = params?.['ref'] as Params | undefined;
        if (ref?.['type'] !== 'ref/prompt') throw new Refusal(INVALID_PARAMS, 'ref is of type "ref/prompt" here');
        const route = await found(this.#prompts, ref['name'], 'prompt');
        const renamed = { ...params, ref: { ...ref, name: route.name } };
        return this.#pool.request(route.server, method, renamed, { ...call, raw: true });
      }
      default:
        throw new Refusal(METHOD_NOT_FOUND, `${method} is not to be had here: see the servers' own paths`);
    }
  }

  relay(session: Downstream, _: string, { method }: ServerNotice): void {
    if (LIST_CHANGES[method] !== undefined) session.notify(method, undefined);
  }

  /** A server's lists may be others now. Before anything is relayed. */
  onNotice(server: string, { method }: ServerNotice): void {
    const kind = LIST_CHANGES[method];
    if (kind === 'tools') this.#tools.invalidate(server);
    if (kind === 'prompts') this.#prompts.invalidate(server);
  }

  onStarted(server: string): void {
    this.#tools.invalidate(server);
    this.#prompts.invalidate(server);
  }

  async #infoOf(server: string, signal: AbortSignal): Promise<ServerInfo | undefined> {
    const { clock, listTimeoutMs, logger } = this.#options;
    try {
      const bound = { clock, timeoutMs: listTimeoutMs, signal };
      return await within(server, 'initialize', bound, (bounded) => infoOf(this.#pool, server, bounded));
    } catch (error) {
      logger.debug({ server, error }, 'a server is left out of what the aggregate can do');
      return undefined;
    }
  }

  async #page(catalog: Catalog<'tools' | 'prompts'>, params: Params | undefined): Promise<unknown[]> {
    if (params?.['cursor'] !== undefined) throw new Refusal(INVALID_PARAMS, 'this list has one page and no cursors');
    return [...(await catalog.routes()).values()].map(({ item }) => item);
  }
}

async function found<K extends 'tools' | 'prompts'>(catalog: Catalog<K>, name: unknown, what: string) {
  const route = typeof name === 'string' ? await catalog.find(name) : undefined;
  if (route === undefined) throw new Refusal(INVALID_PARAMS, `unknown ${what}: ${String(name).slice(0, 200)}`);
  return route;
}
