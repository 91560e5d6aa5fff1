import { LRUCache } from 'lru-cache';
import type { Downstream } from '../../endpoint/Endpoint.js';

/** How long a list may be kept, and by whom (2026-07-28, caching). */
export interface ListHints {
  readonly ttlMs?: number | undefined;
  readonly cacheScope?: 'public' | 'private' | undefined;
}

/** A server's list as it was told last. */
export interface Known<T> {
  readonly items: readonly T[];
  readonly hints: ListHints;
  /** When its server wants it asked for again; undefined: once it says that it changed. */
  readonly untilMs: number | undefined;
  /** What it takes in memory, about. */
  readonly bytes: number;
  readonly id: object;
}

/** The lists of all who see the same, or of one session: a `bound` server may offer each another. */
export class KnownLists<T> {
  readonly known = new Map<string, Known<T>>();
  readonly loading = new Map<string, Promise<Known<T> | undefined>>();
  /** Loads behind a stale list. */
  readonly refreshing = new Map<string, Promise<void>>();
  /** Servers whose list a client did not wait for. */
  readonly missed = new Set<string>();
  readonly session: Downstream | undefined;

  constructor(session?: Downstream) {
    this.session = session;
  }
}

/** What the lists of all sessions may take together, of one kind: those used least lately are asked for again. */
export const MAX_OWN_BYTES = 64 * 1_024 * 1_024;

/** The lists that sessions have of their own, as long as there is room. Nothing is kept for one that is gone. */
export class OwnLists<T> {
  readonly #of = new WeakMap<Downstream, KnownLists<T>>();
  readonly #kept = new LRUCache<object, { readonly lists: WeakRef<KnownLists<T>>; readonly server: string }>({
    maxSize: MAX_OWN_BYTES,
    dispose: ({ lists, server }, id) => {
      const known = lists.deref()?.known;
      if (known?.get(server)?.id === id) known.delete(server);
    },
  });

  of(session: Downstream): KnownLists<T> {
    const lists = this.#of.get(session) ?? new KnownLists<T>(session);
    this.#of.set(session, lists);
    return lists;
  }

  /** A list is there, and used. */
  used(lists: KnownLists<T>, server: string, { id, bytes }: Known<T>): void {
    if (lists.session === undefined || this.#kept.get(id) !== undefined) return;
    this.#kept.set(id, { lists: new WeakRef(lists), server }, { size: Math.max(1, bytes) });
  }
}
