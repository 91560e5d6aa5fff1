import { SharedTable } from '../../../concurrent/SharedTable.js';
import { listRestMs } from '../../../connection/ListPace.js';
import type { Caller } from '../../../pool/McpPool.js';
import type { Downstream } from '../../endpoint/Endpoint.js';
import type { ListIndex } from '../uris/ListIndex.js';

/** How long a list may be kept, and by whom (2026-07-28, caching). */
export interface ListHints {
  readonly ttlMs?: number | undefined;
  readonly cacheScope?: 'public' | 'private' | undefined;
}

/** One server's list, as a cache gives it. */
export interface Listing<T> extends ListHints {
  readonly items: readonly T[];
  /** It may be another by now, or its server is down: it is asked for again behind. */
  readonly stale: boolean;
}

/** One without what no client can take. */
export interface ValidListing<T> extends Listing<T> {
  readonly index: ListIndex;
  /** What it takes in memory, about. */
  readonly bytes: number;
}

export interface CatalogSource<T> {
  list(server: string, query: { readonly signal: AbortSignal; readonly caller?: Caller }): Promise<Listing<T>>;
  /** The same, but waits for the server; stale when that failed. */
  refresh(server: string, signal: AbortSignal): Promise<Listing<T>>;
}

/** A server's list as it was told last. */
export interface Known<T> {
  readonly items: readonly T[];
  readonly index: ListIndex;
  readonly hints: ListHints;
  /** When its server wants it asked for again; undefined: once it says that it changed. */
  readonly untilMs: number | undefined;
  /** When it is old, as its server does not say that it changed; undefined: it says so. */
  oldAtMs?: number | undefined;
  /** What it takes in memory, about. */
  readonly bytes: number;
  readonly id: object;
  /** Its server has another by now: calls of what is in it go on by it until that one is there. */
  outdated: boolean;
}

/** A list is old after so long, in ms, whose server does not say when it changes. */
const OLD_MS = 1_000;

/** A large one is the work of a tenth of the time at most, whatever its server says. */
export const oldAfter = (nowMs: number, { bytes }: { readonly bytes: number }, ms = OLD_MS): number =>
  nowMs + Math.max(ms, listRestMs(bytes));

/** `says`: whether its server says when it changes. */
export function knownOf<T>(
  { items, index, bytes, ttlMs, cacheScope }: ValidListing<T>,
  nowMs: number,
  says: boolean,
): Known<T> {
  const untilMs = ttlMs === undefined ? undefined : oldAfter(nowMs, { bytes }, ttlMs);
  const oldAtMs = ttlMs === undefined && !says ? oldAfter(nowMs, { bytes }) : undefined;
  return { items, index, bytes, hints: { ttlMs, cacheScope }, untilMs, oldAtMs, id: {}, outdated: false };
}

/** What a list takes beside its items. */
const LIST_BYTES = 512;

/** The lists of all who see the same, or of one session: a `bound` server may offer each another. */
export class KnownLists<T> {
  readonly known = new Map<string, Known<T>>();
  readonly loading = new Map<string, Promise<Known<T> | undefined>>();
  /** Loads behind a stale list. */
  readonly refreshing = new Map<string, Promise<void>>();
  /** Servers whose list a client has asked for. */
  readonly asked = new Set<string>();
  /** Servers whose list a client did not wait for. */
  readonly missed = new Set<string>();
  readonly session: Downstream | undefined;

  constructor(session?: Downstream) {
    this.session = session;
  }

  /** It is the server's list from here on, as long as there is room for it. */
  keep(server: string, list: Known<T>): void {
    this.forget(server);
    this.known.set(server, list);
    const place: Place = { lists: new WeakRef(this as KnownLists<unknown>), server, id: list.id };
    kept.set(list.id, place, server, list.bytes + LIST_BYTES);
  }

  /** The list is used: of those of its server others go before it. */
  use(server: string, list: Known<T>): void {
    if (kept.has(list.id)) kept.use(list.id);
    else if (this.known.get(server) === list) this.keep(server, list);
  }

  /** The server's list, as far as is known; undefined for one that is outdated. */
  current(server: string): Known<T> | undefined {
    const list = this.known.get(server);
    return list?.outdated === true ? undefined : list;
  }

  /** What was the server's list takes no room any more. */
  forget(server: string): void {
    const list = this.known.get(server);
    if (list !== undefined) kept.delete(list.id);
    this.known.delete(server);
  }
}

/**
 * What the lists of all sessions, users and gateways of the process may take together: of the server whose lists take most, those used
 * least lately are asked for again.
 */
export const MAX_LISTS_BYTES = 128 * 1_024 * 1_024;

interface Place {
  /** It goes with its session or user. */
  readonly lists: WeakRef<KnownLists<unknown>>;
  readonly server: string;
  readonly id: object;
}

const kept = new SharedTable<object, Place, string>({
  maxWeight: MAX_LISTS_BYTES,
  onGone: ({ lists, server, id }) => {
    const known = lists.deref()?.known;
    if (known?.get(server)?.id === id) known.delete(server);
  },
});
