import type { ListItems } from '../../../pool/McpPool.js';
import type { Curator } from '../../curation/Curator.js';
import type { Downstream } from '../../endpoint/Endpoint.js';
import type { Catalog, ServerList } from './Catalog.js';

export interface Route<T> {
  readonly server: string;
  /** Its name there. */
  readonly name: string;
  /** As its server has it. */
  readonly item: T;
}

interface Owner {
  readonly server: string;
  readonly curator: Curator;
}

/** Names whose servers are remembered. */
const MAX_ROUTES = 100_000;

/** Tools or prompts of all servers that clients of the aggregate see, under the names that they know them by. */
export class Names<K extends 'tools' | 'prompts'> {
  readonly #catalog: Catalog<K>;
  readonly #kind: K;
  readonly #servers: () => readonly string[];
  readonly #curator: () => Curator;
  readonly #owners = new Map<string, Owner>();
  /** Routes found, as long as the list that they were found in. */
  readonly #found = new WeakMap<readonly ListItems[K][], Map<string, Route<ListItems[K]>>>();

  /** `curator` may be another one at any time. */
  constructor(kind: K, catalog: Catalog<K>, servers: () => readonly string[], curator: () => Curator) {
    this.#kind = kind;
    this.#catalog = catalog;
    this.#servers = servers;
    this.#curator = curator;
  }

  /** Every item under its exposed name, which is its key as well. */
  *of(lists: readonly ServerList<ListItems[K]>[]): Generator<{ server: string; key: string; item: ListItems[K] }> {
    const curator = this.#curator();
    for (const { server, items } of lists) {
      for (const item of items) {
        const key = this.#nameOf(curator, server, item.name);
        if (key === undefined) continue;
        yield { server, key, item: this.#kind === 'tools' ? curator.tool(server, item, key) : { ...item, name: key } };
      }
    }
  }

  #nameOf(curator: Curator, server: string, own: string): string | undefined {
    return this.#kind === 'tools' ? curator.toolName(server, own) : curator.promptName(server, own);
  }

  /** Where `exposed` leads. Only the server whose prefix it has is asked, also when it could not be listed so far. */
  async find(exposed: string, session: Downstream): Promise<Route<ListItems[K]> | undefined> {
    const curator = this.#curator();
    const known = this.#owners.get(exposed);
    const server = known?.curator === curator ? known.server : curator.serverOf(exposed, this.#servers());
    if (server === undefined) return undefined;
    const isIt = ({ name }: ListItems[K]): boolean => this.#nameOf(curator, server, name) === exposed;
    let list = await this.#catalog.list(server, session);
    const found = list === undefined ? undefined : this.#found.get(list)?.get(exposed);
    if (found !== undefined && known?.curator === curator) return found;
    let item = list?.find(isIt);
    if (item === undefined) {
      // It may be new on a server that does not tell of changes.
      list = await this.#catalog.list(server, session, true);
      item = list?.find(isIt);
    }
    if (list === undefined || item === undefined) return undefined;
    const route = { server, name: item.name, item };
    if (this.#owners.size < MAX_ROUTES) this.#owners.set(exposed, { server, curator });
    const routes = this.#found.get(list) ?? new Map<string, Route<ListItems[K]>>();
    this.#found.set(list, routes.set(exposed, route));
    return route;
  }
}
