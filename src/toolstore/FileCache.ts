import type { Tool } from '@modelcontextprotocol/client';
import type { CloseOptions } from '../core/close/CloseScope.js';
import type { EraStore, EraVerdict } from '../core/era/EraStore.js';
import { OptionError } from '../core/errors.js';
import { checkBoolean } from '../core/options.js';
import { CacheCore } from './CacheCore.js';
import { type Content, listContent, toJson } from './entries/Entry.js';
import type { Loaded } from './Flights.js';
import { eraKey, fileOf, jsonKey, jsonMemo, serverParts, sharedKey, toolsKey } from './keys.js';
import { type FileCacheOptions, fileCacheSettings } from './options.js';
import type {
  Cached,
  CachedTools,
  LoadContext,
  Loader,
  LoadOptions,
  ServerRef,
  SetOptions,
  ToolHints,
  ToolListing,
  ToolStore,
  ToolStoreStats,
} from './ToolStore.js';

/**
 * Tool lists, or any JSON, that survive restarts: an LRU in memory, a checksummed file behind each key.
 *
 * A value that comes out was set for exactly that key (server name, config fingerprint, auth scope) and is within its
 * life; `get` and `getTools` give fresh ones only. A damaged file is a miss. Several processes may share the directory:
 * the last whole write wins, and is noticed within `recheckMs`. A disk that fails makes it a memory cache until it
 * heals; no method rejects for that. Rejects: `ERR_CLOSED`, `ERR_OPTION`, `ERR_QUEUE_FULL` from a `set` when too many
 * writes wait; `getOrLoad` also with what its loader threw. Age is counted by the monotonic clock within a process and
 * by the wall clock across restarts.
 */
export class FileCache implements ToolStore {
  readonly #core: CacheCore;

  /** @throws OptionError */
  constructor(options: FileCacheOptions = {}) {
    this.#core = new CacheCore(fileCacheSettings(options));
  }

  get<T = unknown>(key: string): Promise<T | undefined> {
    const entry = this.#core.hot(jsonMemo(key));
    return entry === undefined ? this.#get(key) : Promise.resolve(entry.value as T);
  }

  async #get<T>(key: string): Promise<T | undefined> {
    return (await this.#core.lookup<T>(jsonKey(key), false))?.value;
  }

  async lookup<T = unknown>(key: string): Promise<Cached<T> | undefined> {
    return this.#core.lookup<T>(jsonKey(key), true);
  }

  async set(key: string, value: unknown, options: SetOptions = {}): Promise<void> {
    await this.#core.set(jsonKey(key), value, this.#core.life(options));
  }

  async delete(key: string): Promise<void> {
    await this.#core.delete(jsonKey(key));
  }

  /**
   * The fresh value; else a stale one, while one loader fetches a newer behind; else what the one loader brings. Its
   * value is handed over as soon as it is there, before it is on disk. A loader that fails leaves a stale value where
   * it is. A loader's `undefined` is handed over and not stored. A loader must not wait for its own key.
   */
  async getOrLoad<T>(key: string, loader: Loader<T>, options: LoadOptions = {}): Promise<T> {
    const own = jsonKey(key);
    const life = this.#core.life(options);
    const settle = ({ value, hints: { store = true, ...hints }, standing }: Loaded<T>): Cached<T> =>
      value === undefined
        ? { value, stale: false, ageMs: 0 }
        : this.#core.keepLoaded<T>(
            own,
            toJson(LOADED, value),
            this.#core.life({ ...life, ...hints }),
            store ? standing : 'void',
          );
    return (await this.#core.load(own, loader, settle, options)).value;
  }

  async getTools(server: ServerRef, scope?: string): Promise<readonly Tool[] | undefined> {
    const key = toolsKey(server, scope);
    const entry = this.#core.hot(key.memo);
    if (entry !== undefined) return entry.value as readonly Tool[];
    return (await this.#core.lookup<readonly Tool[]>(key, false))?.value;
  }

  async lookupTools(server: ServerRef, scope?: string): Promise<CachedTools | undefined> {
    const cached = await this.#core.lookup<readonly Tool[]>(toolsKey(server, scope), true);
    return cached && toolsOf(cached);
  }

  /** Without `hints` the list is the caller's own word and lives for `ttlMs`; with them the upstream's rules hold. */
  async setTools(server: ServerRef, tools: readonly Tool[], scope?: string, hints?: ToolHints): Promise<void> {
    const key = toolsKey(server, scope);
    this.#core.scope.assertOpen();
    checkTools(tools);
    if (!isStorable(hints)) return this.#core.refuse();
    const shared = hints?.cacheScope === 'public';
    const life = { ...this.#core.life(hints === undefined ? {} : { ttlMs: this.#ttlMs(hints) }), shared };
    if (!shared || scope === undefined) return this.#core.set(key, tools, life, 'tools');
    // What the scope saw alone before would hide what all may see now.
    await Promise.all([this.#core.set(sharedKey(key), tools, life, 'tools'), this.#core.delete(key)]);
  }

  async invalidate(
    server: ServerRef,
    scope?: string,
    { keepAsFallback = false }: { readonly keepAsFallback?: boolean } = {},
  ): Promise<void> {
    const key = toolsKey(server, scope);
    const { store, flights, lists, scope: own } = this.#core;
    own.assertOpen();
    checkBoolean('keepAsFallback', keepAsFallback);
    // Whatever any scope is loading now may be of a time before.
    flights.detach(
      ({ kind, name, fingerprint }) =>
        kind === 'tools' && name === key.name && (key.fingerprint === '' || fingerprint === key.fingerprint),
      keepAsFallback ? 'outdated' : 'void',
    );
    if (scope === undefined) return lists.retire(serverParts(server), keepAsFallback);
    const retired = lists.retireFile(fileOf(key), keepAsFallback);
    const shared = await store.find(sharedKey(key));
    if (shared?.head.shared === true) await lists.retireFile(shared.head.file, keepAsFallback);
    await retired;
  }

  async listServers(): Promise<string[]> {
    this.#core.scope.assertOpen();
    return this.#core.lists.servers(this.#core.settings.clock.now());
  }

  /** As `getOrLoad`, with the upstream's hints; a list fetched just now is not marked stale, whatever its `ttlMs`. */
  async getOrLoadTools(
    server: ServerRef,
    loader: Loader<ToolListing>,
    options: Pick<LoadOptions, 'signal' | 'negativeTtlMs'> & { readonly scope?: string | undefined } = {},
  ): Promise<CachedTools> {
    const key = toolsKey(server, options.scope);
    const load = async (context: LoadContext): Promise<LoadedTools> => {
      const listing = await loader(context);
      checkTools(listing?.tools);
      return { listing, content: await listContent(LOADED, listing.tools) };
    };
    const settle = ({ value, hints: { store = true, ...hints }, standing }: Loaded<LoadedTools>) => {
      const { listing, content } = value;
      const shared = listing.cacheScope === 'public';
      const life = { ...this.#core.life({ ttlMs: this.#ttlMs(listing), ...hints }), shared };
      const allowed = store && isStorable(listing) ? standing : 'void';
      const target = shared ? sharedKey(key) : key;
      if (target.memo !== key.memo && allowed === 'current') void this.#core.store.remove(key);
      return this.#core.keepLoaded<readonly Tool[]>(target, content, life, allowed);
    };
    return toolsOf(await this.#core.load(key, load, settle, options));
  }

  /** The upstream's word, if it is a duration, within our bound; an absent one is stale at once unless told otherwise. */
  #ttlMs({ ttlMs }: ToolHints): number {
    const { defaultTtlMs, maxTtlMs } = this.#core.settings;
    return Math.min(typeof ttlMs === 'number' && ttlMs >= 0 ? ttlMs : defaultTtlMs, maxTtlMs);
  }

  eraStore(): EraStore {
    const core = this.#core;
    return {
      async get(fingerprint) {
        const cached = await core.lookup<EraVerdict>(eraKey(fingerprint), false);
        return cached?.value;
      },
      async set(fingerprint, verdict) {
        await core.set(eraKey(fingerprint), verdict, { ttlMs: core.settings.eraTtlMs, staleMs: 0 }, 'verdict');
      },
      async delete(fingerprint) {
        await core.delete(eraKey(fingerprint));
      },
    };
  }

  get stats(): ToolStoreStats {
    return this.#core.stats;
  }

  /** Its folder and its counters, for a debug page. */
  inspect(): ToolStoreStats & { readonly directory: string } {
    return { directory: this.#core.settings.directory, ...this.stats };
  }

  /** Loaders and writes under way get the grace; then loaders are aborted, named and given up. Idempotent. */
  close(options?: CloseOptions): Promise<void> {
    return this.#core.close(options);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** A list that was loaded, and what is kept of it. */
interface LoadedTools {
  readonly listing: ToolListing;
  readonly content: Content;
}

const LOADED = 'the loaded value';

const isStorable = (hints: ToolHints | undefined): boolean =>
  hints?.complete !== false && hints?.inputRequired !== true;

const toolsOf = ({ value, stale, ageMs }: Cached<readonly Tool[]>): CachedTools => ({ tools: value, stale, ageMs });

function checkTools(tools: unknown): void {
  if (!Array.isArray(tools)) throw new OptionError('tools', tools, 'an array of tools');
}
