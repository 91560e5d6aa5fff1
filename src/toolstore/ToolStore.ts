import type { Tool } from '@modelcontextprotocol/client';
import type { Closeable, CloseOptions } from '../core/close/CloseScope.js';
import type { EraStore } from '../core/era/EraStore.js';

/** A server as a cache knows it: its name, or its name and the fingerprint of the configuration it runs under. */
export type ServerRef = string | { readonly name: string; readonly fingerprint?: string | undefined };

export interface SetOptions {
  /** How long the value is fresh, in ms; 0 is stale at once, `Infinity` for ever. @defaultValue the cache's `ttlMs` */
  readonly ttlMs?: number;
  /** How long after that it may still be served while it is loaded anew, in ms. @defaultValue the cache's `staleMs` */
  readonly staleMs?: number;
}

/** What a loader can see and say about the value it is loading. */
export interface LoadContext {
  /** Aborted when no caller waits any more, or when the cache closes and the grace is over. */
  readonly signal: AbortSignal;
  /** Says how long the value lives, known only now; `store: false` hands it to the callers and keeps nothing. */
  hint(hints: SetOptions & { readonly store?: boolean }): void;
}

export type Loader<T> = (context: LoadContext) => T | Promise<T>;

export interface LoadOptions extends SetOptions {
  /**
   * Aborting rejects this caller at once with `signal.reason`; the loader goes on for the others.
   * @defaultValue none
   */
  readonly signal?: AbortSignal | undefined;
  /**
   * How long a failure, or a loader's `undefined`, answers later callers without a new load, in ms, in memory only.
   * @defaultValue 0: never
   */
  readonly negativeTtlMs?: number;
}

/** What the upstream said along with a list of tools. */
export interface ToolHints {
  /** The result's `ttlMs`. Absent means stale at once, unless the cache's `defaultTtlMs` says more. */
  readonly ttlMs?: number | undefined;
  /** Only `'public'` lets other scopes see the list; absent means private. */
  readonly cacheScope?: 'public' | 'private' | undefined;
  /** `false`: pages are missing; such a list is never stored. @defaultValue true */
  readonly complete?: boolean;
  /** `true`: the result of a retry after `input_required`; never stored. @defaultValue false */
  readonly inputRequired?: boolean;
}

/** What a loader of tools gives back: the list and what the upstream said about it. */
export interface ToolListing extends ToolHints {
  readonly tools: readonly Tool[];
}

export interface CachedTools {
  /** Frozen, and shared by all who ask: copy it to change it. */
  readonly tools: readonly Tool[];
  /** True when the list is no longer known to be right: it is being loaded anew, or its upstream is down. */
  readonly stale: boolean;
  /** Milliseconds since it was stored. */
  readonly ageMs: number;
}

/** A value and whether it is still fresh. */
export interface Cached<T> {
  readonly value: T;
  readonly stale: boolean;
  readonly ageMs: number;
}

/** One cache at one moment; counters count from its making. */
export interface ToolStoreStats {
  /** Values in memory, and their size as JSON. */
  readonly entries: number;
  readonly bytes: number;
  /** Answered fresh. */
  readonly hits: number;
  /** Answered stale. */
  readonly staleHits: number;
  /** Not there, expired, or stale where only a fresh value would do. */
  readonly misses: number;
  /** Loaders started, and those of them that failed. */
  readonly loads: number;
  readonly loadFailures: number;
  /** Loaders running now. */
  readonly loading: number;
  /** Files written or removed, and tries that failed. */
  readonly writes: number;
  readonly writeFailures: number;
  /** Keys whose newest value is not on disk yet. */
  readonly unsaved: number;
  /** Files found damaged, foreign or oversized, and moved away. */
  readonly quarantined: number;
  /** Values not stored: too large, incomplete, or from a retry after `input_required`. */
  readonly refused: number;
  /** Stale temporary files, expired and surplus files removed by the sweep. */
  readonly swept: number;
  /** Why the cache works in memory only just now; undefined while the disk is fine. */
  readonly degraded: string | undefined;
}

/**
 * What `FileCache` and `NoOpCache` are. Values are JSON; what comes out is frozen. `get` and `getTools` give fresh
 * values only; the `lookup` ones also give stale ones, and say so.
 */
export interface ToolStore extends Closeable, AsyncDisposable {
  /** The fresh tool list of a server as `scope` sees it; undefined on a miss. */
  getTools(server: ServerRef, scope?: string): Promise<readonly Tool[] | undefined>;
  /** The same, a stale list too, and marked. */
  lookupTools(server: ServerRef, scope?: string): Promise<CachedTools | undefined>;
  /** Resolves when the list is on disk, or known not to get there now. */
  setTools(server: ServerRef, tools: readonly Tool[], scope?: string, hints?: ToolHints): Promise<void>;
  /**
   * Forgets a server's lists: those of one scope, or of all; with a fingerprint, only those under it. With
   * `keepAsFallback` they stay for `getOrLoadTools`, which serves one, marked stale, only when its loader fails.
   */
  invalidate(server: ServerRef, scope?: string, options?: { readonly keepAsFallback?: boolean }): Promise<void>;
  /** Names of the servers that have a list here, fresh or stale, in order. */
  listServers(): Promise<string[]>;
  /** The list, from here or from `loader`; stale lists are served while the loader runs behind. */
  getOrLoadTools(
    server: ServerRef,
    loader: Loader<ToolListing>,
    options?: Pick<LoadOptions, 'signal' | 'negativeTtlMs'> & { readonly scope?: string | undefined },
  ): Promise<CachedTools>;
  get<T = unknown>(key: string): Promise<T | undefined>;
  lookup<T = unknown>(key: string): Promise<Cached<T> | undefined>;
  set(key: string, value: unknown, options?: SetOptions): Promise<void>;
  delete(key: string): Promise<void>;
  getOrLoad<T>(key: string, loader: Loader<T>, options?: LoadOptions): Promise<T>;
  /** Where a pool keeps what it learned about servers' eras. */
  eraStore(): EraStore;
  readonly stats: ToolStoreStats;
  close(options?: CloseOptions): Promise<void>;
}
