import type { Clock } from '../../core/clock.js';
import { messageOf, RequestTimeoutError, RpcError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { withDeadline } from '../../core/time/within.js';
import type { Caller, ListItems, McpPool } from '../../pool/McpPool.js';
import type { Downstream } from '../endpoint/Endpoint.js';
import { METHOD_NOT_FOUND } from '../rpc/failure.js';
import type { Callers } from '../session/Callers.js';
import { exposedName, prefixIn, prefixOf } from './exposedNames.js';
import { validItems } from './validItems.js';

export interface CatalogOptions {
  readonly pool: McpPool;
  readonly callers: Callers;
  readonly listTimeoutMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Aborts what is being listed. */
  readonly signal: AbortSignal;
}

/** One server's list, as a cache gives it. */
export interface Listing<T> {
  readonly items: readonly T[];
  /** It may be another by now, or its server is down: it is asked for again behind. */
  readonly stale: boolean;
}

export interface CatalogSource<T> {
  list(server: string, query: { readonly signal: AbortSignal; readonly caller?: Caller }): Promise<Listing<T>>;
  /** The same, but waits for the server; stale when that failed. */
  refresh(server: string, signal: AbortSignal): Promise<Listing<T>>;
}

export interface Route<T> {
  readonly server: string;
  /** Its name there. */
  readonly name: string;
  /** As clients of the aggregate see it. */
  readonly item: T;
}

/** The lists of all who see the same, or of one session: a `bound` server may offer each another. */
class Lists<T> {
  readonly known = new Map<string, readonly T[]>();
  readonly loading = new Map<string, Promise<readonly T[] | undefined>>();
  /** Loads behind a stale list. */
  readonly refreshing = new Map<string, Promise<void>>();
}

/**
 * What all servers offer under one roof: `server__name`, in the order of the servers. A server's list is kept until it
 * says that it changed, or starts anew; one that cannot be listed is left out and asked again next
 * time, and so is an item no client could take.
 */
export class Catalog<K extends 'tools' | 'prompts'> {
  readonly #kind: K;
  readonly #options: CatalogOptions;
  readonly #source: CatalogSource<ListItems[K]>;
  readonly #onChange: () => void;
  readonly #shared = new Lists<ListItems[K]>();
  readonly #own = new WeakMap<Downstream, Lists<ListItems[K]>>();
  /** Routes found, as long as nothing has changed. */
  readonly #found = new Map<string, Route<ListItems[K]>>();
  /** What clients were last shown of each server, as JSON. */
  readonly #shown = new Map<string, string>();

  readonly #problems = new Map<string, readonly string[]>();
  readonly #told = new Map<string, string>();

  /** `onChange`: what clients were shown is not what there is any more, and no server says so. */
  constructor(kind: K, options: CatalogOptions, source: CatalogSource<ListItems[K]>, onChange: () => void) {
    this.#kind = kind;
    this.#options = options;
    this.#source = source;
    this.#onChange = onChange;
  }

  /** Forgets what `server` listed: to all, or to a session on its own connection. */
  invalidate(server: string, session?: Downstream): void {
    const lists = session === undefined ? this.#shared : this.#listsOf(server, session);
    for (const each of [lists.known, lists.loading, lists.refreshing]) each.delete(server);
    this.#found.clear();
  }

  /** A server is up, again or for the first time. One that came up to be listed is being looked at already. */
  onStarted(server: string): void {
    const { loading, refreshing } = this.#shared;
    if (this.#options.callers.isBound(server) || loading.has(server) || refreshing.has(server)) return;
    this.invalidate(server);
    if (this.#shown.size === 0) return;
    this.#load(server, this.#shared)
      .then((items) => {
        if (items !== undefined) this.#tellUnless(items, this.#shown.get(server) ?? EMPTY);
      })
      .catch((error: unknown) => this.#failed(server, error));
  }

  /** What is left out of a server's list and why, as of its last listing. */
  problems(server: string): readonly string[] {
    return this.#problems.get(server) ?? [];
  }

  /** A server is not there any more. */
  onRemoved(server: string): void {
    this.invalidate(server);
    const shown = this.#shown.get(server);
    this.#shown.delete(server);
    if (shown !== undefined && shown !== EMPTY) this.#onChange();
  }

  /** Everything, as `session` sees it, under its exposed name. */
  async items(session: Downstream): Promise<ListItems[K][]> {
    const servers = this.#options.pool.servers();
    const lists = await this.#listsFrom(servers, session);
    for (const { server, items } of lists) this.#show(server, items);
    return [...this.#named(lists)].map(({ exposed, item }) => ({ ...item, name: exposed }));
  }

  /** Where `exposed` leads. Only the server whose prefix it has is asked, also when it could not be listed so far. */
  async find(exposed: string, session: Downstream): Promise<Route<ListItems[K]> | undefined> {
    const found = this.#found.get(exposed);
    if (found !== undefined) return found;
    const prefix = prefixIn(exposed);
    const server = this.#options.pool.servers().find((each) => prefixOf(each) === prefix);
    if (prefix === undefined || server === undefined) return undefined;
    const item = (await this.#list(server, session))?.find(({ name }) => exposedName(prefix, name) === exposed);
    if (item === undefined) return undefined;
    const route = { server, name: item.name, item };
    if (!this.#options.callers.isBound(server) && this.#found.size < MAX_ROUTES) this.#found.set(exposed, route);
    return route;
  }

  async #listsFrom(servers: readonly string[], session: Downstream): Promise<List<ListItems[K]>[]> {
    return Promise.all(servers.map(async (server) => ({ server, items: (await this.#list(server, session)) ?? [] })));
  }

  *#named(lists: readonly List<ListItems[K]>[]): Generator<{ exposed: string; item: ListItems[K] }> {
    for (const { server, items } of lists) {
      const prefix = prefixOf(server);
      for (const item of items) yield { exposed: exposedName(prefix, item.name), item };
    }
  }

  #listsOf(server: string, session: Downstream): Lists<ListItems[K]> {
    if (!this.#options.callers.isBound(server)) return this.#shared;
    const own = this.#own.get(session) ?? new Lists<ListItems[K]>();
    this.#own.set(session, own);
    return own;
  }

  /** One load per server at a time; undefined when the server has nothing to give now. */
  #list(server: string, session: Downstream): Promise<readonly ListItems[K][] | undefined> {
    const lists = this.#listsOf(server, session);
    const known = lists.known.get(server);
    if (known !== undefined) return Promise.resolve(known);
    return lists.loading.get(server) ?? this.#load(server, lists, this.#options.callers.of(server, session));
  }

  #load(server: string, lists: Lists<ListItems[K]>, caller?: Caller): Promise<readonly ListItems[K][] | undefined> {
    const load = this.#ask(server, caller, false).then((listing) => {
      // One that was invalidated meanwhile may be of before the change.
      if (lists.loading.get(server) !== load || listing === undefined) return listing?.items;
      lists.known.set(server, listing.items);
      if (listing.stale) this.#refresh(server, lists, listing.items);
      return listing.items;
    });
    lists.loading.set(server, load);
    void load.then(() => lists.loading.get(server) === load && lists.loading.delete(server));
    return load;
  }

  /** Until the server has told its new list the stale one stands; when it cannot, the next caller has it asked again. */
  #refresh(server: string, lists: Lists<ListItems[K]>, stale: readonly ListItems[K][]): void {
    const refresh = this.#ask(server, undefined, true).then((listing) => {
      if (lists.refreshing.get(server) !== refresh) return;
      lists.refreshing.delete(server);
      if (listing === undefined || listing.stale) {
        lists.known.delete(server);
        return;
      }
      lists.known.set(server, listing.items);
      this.#tellUnless(listing.items, JSON.stringify(stale));
    });
    lists.refreshing.set(server, refresh);
    refresh.catch((error: unknown) => this.#failed(server, error));
  }

  /** In the background: no client waits for it. */
  #failed(server: string, error: unknown): void {
    this.#options.logger.error({ server, error }, 'a list could not be told to its clients');
  }

  #tellUnless(items: readonly ListItems[K][], shown: string): void {
    if (JSON.stringify(items) === shown) return;
    this.#found.clear();
    this.#onChange();
  }

  #show(server: string, items: readonly ListItems[K][]): void {
    if (!this.#options.callers.isBound(server)) this.#shown.set(server, JSON.stringify(items));
  }

  /** What clients can take of a list; what is left out is told once. */
  #valid(server: string, listed: readonly ListItems[K][]): readonly ListItems[K][] {
    const { items, problems } = validItems(this.#kind, listed);
    this.#problems.set(server, problems);
    const told = problems.slice(0, MAX_TOLD).join('; ');
    if (problems.length > 0 && this.#told.get(server) !== told) {
      this.#options.logger.warn({ server, leftOut: problems.length, problems: told }, 'items of a list are left out');
    }
    this.#told.set(server, told);
    return items;
  }

  /** Never rejects. */
  async #ask(server: string, caller: Caller | undefined, refresh: boolean): Promise<Listing<ListItems[K]> | undefined> {
    const { pool, listTimeoutMs, logger, clock, signal } = this.#options;
    try {
      const capabilities = pool.info(server, caller)?.capabilities;
      if (capabilities !== undefined && capabilities[this.#kind] === undefined) return NOTHING;
      const late = (): Error => new RequestTimeoutError(server, `${this.#kind}/list`, listTimeoutMs);
      const bounds = { clock, timeoutMs: listTimeoutMs, signal, late };
      const listing = await withDeadline(bounds, (bounded) =>
        refresh
          ? this.#source.refresh(server, bounded)
          : this.#source.list(server, { signal: bounded, ...(caller && { caller }) }),
      );
      return { items: this.#valid(server, listing.items), stale: listing.stale };
    } catch (error) {
      if (signal.aborted) return undefined;
      if (error instanceof RpcError && error.rpcCode === METHOD_NOT_FOUND) return NOTHING;
      logger.warn(
        { server, kind: this.#kind, error: messageOf(error) },
        'a server could not be listed and is left out',
      );
      return undefined;
    }
  }
}

interface List<T> {
  readonly server: string;
  readonly items: readonly T[];
}

const NOTHING = Object.freeze({ items: [], stale: false });
const EMPTY = '[]';
/** Routes remembered at most. */
const MAX_ROUTES = 100_000;
/** Problems of a list that are spelled out in the log. */
const MAX_TOLD = 5;
