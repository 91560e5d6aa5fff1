import { messageOf, NotSentError, neverRan, type PoolkitError } from '../../../core/errors.js';
import { inSlices } from '../../../core/time/inSlices.js';
import type { ListItems } from '../../../pool/McpPool.js';
import type { Curator } from '../../curation/Curator.js';
import type { Downstream } from '../../endpoint/Endpoint.js';
import type { Access } from '../../users/scopes/ScopeRules.js';
import type { Catalog } from './Catalog.js';
import type { Entry, Section } from './pages.js';
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
  readonly entries: Entry<T>[];
  readonly places: Map<string, number>;
  /** Until all of it is there. */
  naming: Promise<void> | undefined;
}

/** What a user may do, and all servers there are. */
export interface NamedAccess extends Access {
  readonly servers: () => readonly string[];
}

export interface NamesOptions {
  readonly curator: () => Curator;
  readonly access?: NamedAccess | undefined;
}

/** A list of so many items is named at once. */
const SHORT = 64;
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
  async of(lists: readonly ServerList<ListItems[K]>[]): Promise<readonly Section<ListItems[K]>[]> {
    const curator = this.#curator();
    const all: Exposed<ListItems[K]>[] = [];
    for (const { server, items } of lists) {
      const exposed = this.#exposed(curator, server, items);
      if (exposed.naming !== undefined) await exposed.naming;
      all.push(exposed);
    }
    return all;
  }

  /** The item that clients see under that name: of several servers' the first. */
  async named(lists: readonly ServerList<ListItems[K]>[], key: string): Promise<Entry<ListItems[K]> | undefined> {
    const curator = this.#curator();
    for (const { server, items } of lists) {
      const { naming, places } = this.#exposed(curator, server, items);
      if (naming !== undefined) await naming;
      const item = items[places.get(key) ?? -1];
      if (item !== undefined && this.#shows(server, item)) return { server, key, item };
    }
    return undefined;
  }

  /** An item as clients see it. */
  shown({ server, key, item }: Entry<ListItems[K]>): ListItems[K] {
    return this.#kind === 'tools' ? this.#curator().tool(server, item, key) : { ...item, name: key };
  }

  /** A long list is named in turns of the event loop, once for all who ask meanwhile. */
  #exposed(curator: Curator, server: string, items: readonly ListItems[K][]): Exposed<ListItems[K]> {
    const known = this.#named.get(items);
    if (known?.curator === curator && known.server === server) return known;
    const exposed: Exposed<ListItems[K]> = { server, curator, entries: [], places: new Map(), naming: undefined };
    const { entries, places } = exposed;
    let index = 0;
    const step = (): boolean => {
      const item = items[index];
      if (item === undefined) return true;
      const key = this.#nameOf(curator, server, item.name);
      if (key !== undefined) {
        // One that is not the user's is refused by name, where it is called.
        if (this.#shows(server, item)) entries.push({ server, key, item });
        // Of equal ones the first is meant.
        if (!places.has(key)) places.set(key, index);
      }
      index++;
      return false;
    };
    this.#named.set(items, exposed);
    if (items.length > SHORT) {
      exposed.naming = inSlices(step).then(() => {
        exposed.naming = undefined;
      });
    } else while (!step());
    return exposed;
  }

  #shows(server: string, { name }: ListItems[K]): boolean {
    return this.#kind !== 'tools' || this.#access === undefined || this.#access.shows(server, name);
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
    type Found = ListItems[K] | undefined;
    const inList = (list: readonly ListItems[K][] = []): Found | Promise<Found> => {
      const { naming, places } = this.#exposed(curator, server, list);
      if (naming !== undefined) return naming.then(() => inList(list));
      const place = places.get(exposed);
      return place === undefined ? undefined : list[place];
    };
    let list = await this.#catalog.list(server, session);
    let item = inList(list);
    // A call waits for no promise that need not be.
    if (item instanceof Promise) item = await item;
    // It may be new on a server that does not tell of changes. One that has just not answered is not waited for twice.
    if (item === undefined && list !== undefined) {
      list = await this.#catalog.list(server, session, true);
      item = await inList(list);
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
    // One that was removed meanwhile has none.
    const why = error === undefined ? '' : `: ${messageOf(error)}`;
    return new NotSentError(server, `its ${this.#kind} could not be listed${why}`, error);
  }
}
