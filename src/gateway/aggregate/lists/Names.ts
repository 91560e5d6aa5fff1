import { messageOf, NotSentError, neverRan, type PoolkitError } from '../../../core/errors.js';
import type { ListItems } from '../../../pool/McpPool.js';
import type { Curator } from '../../curation/Curator.js';
import type { Downstream } from '../../endpoint/Endpoint.js';
import type { Access } from '../../users/scopes/ScopeRules.js';
import type { Catalog } from './Catalog.js';
import { type Entry, joined } from './pages.js';
import type { ServerList } from './ServerList.js';

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

interface Exposed<T> extends Owner {
  readonly entries: readonly Entry<T>[];
  readonly places: ReadonlyMap<string, number>;
}

/** What a user may do, and all servers there are. */
export interface NamedAccess extends Access {
  readonly servers: () => readonly string[];
}

export interface NamesOptions {
  readonly curator: () => Curator;
  readonly access?: NamedAccess | undefined;
}

/** Names whose servers are remembered. */
const MAX_ROUTES = 100_000;

/** Tools or prompts of all servers that clients of the aggregate see, under the names that they know them by. */
export class Names<K extends 'tools' | 'prompts'> {
  readonly #catalog: Catalog<K>;
  readonly #kind: K;
  readonly #servers: () => readonly string[];
  readonly #curator: () => Curator;
  readonly #access: NamedAccess | undefined;
  readonly #owners = new Map<string, Owner>();
  /** What clients see of each list, in its order, and under which names: made once for it. */
  readonly #named = new WeakMap<readonly ListItems[K][], Exposed<ListItems[K]>>();

  /** `curator` may be another one at any time. */
  constructor(kind: K, catalog: Catalog<K>, servers: () => readonly string[], { curator, access }: NamesOptions) {
    this.#kind = kind;
    this.#catalog = catalog;
    this.#servers = servers;
    this.#curator = curator;
    this.#access = access;
  }

  /** Every item that clients see, as its server has it; its key is its exposed name. `shown` is for those of a page. */
  of(lists: readonly ServerList<ListItems[K]>[]): readonly Entry<ListItems[K]>[] {
    const curator = this.#curator();
    return joined(lists.map(({ server, items }) => this.#exposed(curator, server, items).entries));
  }

  /** An item as clients see it. */
  shown({ server, key, item }: Entry<ListItems[K]>): ListItems[K] {
    return this.#kind === 'tools' ? this.#curator().tool(server, item, key) : { ...item, name: key };
  }

  #exposed(curator: Curator, server: string, items: readonly ListItems[K][]): Exposed<ListItems[K]> {
    const known = this.#named.get(items);
    if (known?.curator === curator && known.server === server) return known;
    const entries: Entry<ListItems[K]>[] = [];
    const places = new Map<string, number>();
    const access = this.#kind === 'tools' ? this.#access : undefined;
    for (const [index, item] of items.entries()) {
      const key = this.#nameOf(curator, server, item.name);
      if (key === undefined) continue;
      // One that is not the user's is refused by name, where it is called.
      if (access === undefined || access.shows(server, item.name)) entries.push({ server, key, item });
      // Of equal ones the first is meant.
      if (!places.has(key)) places.set(key, index);
    }
    const exposed = { server, curator, entries, places };
    this.#named.set(items, exposed);
    return exposed;
  }

  #nameOf(curator: Curator, server: string, own: string): string | undefined {
    return this.#kind === 'tools' ? curator.toolName(server, own) : curator.promptName(server, own);
  }

  /**
   * Where `exposed` leads. Only the server whose prefix it has is asked, also when it could not be listed so far.
   * @throws ForbiddenError for a server that the user may not use; what its server could not be listed for, when it is not
   * known what that offers
   */
  async find(exposed: string, session: Downstream): Promise<Route<ListItems[K]> | undefined> {
    const curator = this.#curator();
    const access = this.#access;
    // A server that is not the user's to use is not among `servers`: it is refused by its prefix.
    const owner = access && curator.serverOf(exposed, access.servers());
    if (owner !== undefined) access?.check(owner);
    const known = this.#owners.get(exposed);
    const server = known?.curator === curator ? known.server : curator.serverOf(exposed, this.#servers());
    if (server === undefined) return undefined;
    const inList = (list: readonly ListItems[K][] = []): ListItems[K] | undefined => {
      const place = this.#exposed(curator, server, list).places.get(exposed);
      return place === undefined ? undefined : list[place];
    };
    let list = await this.#catalog.list(server, session);
    let item = inList(list);
    // It may be new on a server that does not tell of changes. One that has just not answered is not waited for twice.
    if (item === undefined && list !== undefined) {
      list = await this.#catalog.list(server, session, true);
      item = inList(list);
    }
    if (list === undefined) throw this.#unlisted(server);
    if (item === undefined) return undefined;
    if (this.#owners.size < MAX_ROUTES) this.#owners.set(exposed, { server, curator });
    return { server, name: item.name, item };
  }

  /** Nothing was sent: an error that leaves open whether a call ran is told as the cause alone. */
  #unlisted(server: string): PoolkitError {
    const error = this.#catalog.lastErrors.get(server);
    if (neverRan(error)) return error as PoolkitError;
    return new NotSentError(server, `its ${this.#kind} could not be listed: ${messageOf(error)}`, error);
  }
}
