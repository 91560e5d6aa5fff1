import type { ListItems } from '../../../pool/McpPool.js';
import type { Downstream } from '../../endpoint/Endpoint.js';
import type { Catalog, ServerList } from './Catalog.js';
import { exposedName, prefixIn, prefixOf } from './exposedNames.js';

export interface Route<T> {
  readonly server: string;
  /** Its name there. */
  readonly name: string;
  /** As its server has it. */
  readonly item: T;
}

interface Found<T> extends Route<T> {
  /** The list it was found in: while that is the server's list, so is the route. */
  readonly list: readonly T[];
}

/** Routes remembered. */
const MAX_ROUTES = 100_000;

/** Tools or prompts of all servers under the names that clients of the aggregate know them by: `server__name`. */
export class Names<K extends 'tools' | 'prompts'> {
  readonly #catalog: Catalog<K>;
  readonly #servers: () => readonly string[];
  readonly #found = new Map<string, Found<ListItems[K]>>();

  constructor(catalog: Catalog<K>, servers: () => readonly string[]) {
    this.#catalog = catalog;
    this.#servers = servers;
  }

  /** Every item under its exposed name, which is its key as well. */
  *of(lists: readonly ServerList<ListItems[K]>[]): Generator<{ server: string; key: string; item: ListItems[K] }> {
    for (const { server, items } of lists) {
      const prefix = prefixOf(server);
      for (const item of items) {
        const key = exposedName(prefix, item.name);
        yield { server, key, item: { ...item, name: key } };
      }
    }
  }

  /** Where `exposed` leads. Only the server whose prefix it has is asked, also when it could not be listed so far. */
  async find(exposed: string, session: Downstream): Promise<Route<ListItems[K]> | undefined> {
    const found = this.#found.get(exposed);
    if (found !== undefined) {
      if ((await this.#catalog.list(found.server, session)) === found.list) return found;
      this.#found.delete(exposed);
    }
    const prefix = prefixIn(exposed);
    const server = this.#servers().find((each) => prefixOf(each) === prefix);
    if (prefix === undefined || server === undefined) return undefined;
    const isIt = ({ name }: ListItems[K]): boolean => exposedName(prefix, name) === exposed;
    let list = await this.#catalog.list(server, session);
    let item = list?.find(isIt);
    if (item === undefined) {
      // It may be new on a server that does not tell of changes.
      list = await this.#catalog.list(server, session, true);
      item = list?.find(isIt);
    }
    if (list === undefined || item === undefined) return undefined;
    const route = { server, name: item.name, item, list };
    if (this.#found.size < MAX_ROUTES) this.#found.set(exposed, route);
    return route;
  }
}
