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

/** What a list takes beside its items. */
const LIST_BYTES = 512;

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

/** What the lists of all sessions, users and gateways of the process may take together: those used least lately are asked for again. */
export const MAX_LISTS_BYTES = 128 * 1_024 * 1_024;

interface Place {
  /** It goes with its session or user. */
  readonly lists: WeakRef<KnownLists<unknown>>;
  readonly server: string;
}

const kept = new LRUCache<object, Place>({
  maxSize: MAX_LISTS_BYTES,
  dispose: ({ lists, server }, id) => {
    const known = lists.deref()?.known;
    if (known?.get(server)?.id === id) known.delete(server);
  },
});

/** A list is there, and used: it stays as long as there is room. */
export function used(lists: KnownLists<unknown>, server: string, { id, bytes }: Known<unknown>): void {
  if (kept.get(id) !== undefined) return;
  const size = Math.min(MAX_LISTS_BYTES, bytes + LIST_BYTES);
  kept.set(id, { lists: new WeakRef(lists), server }, { size });
}
