import type { Clock } from '../core/clock.js';
import { type CloseOptions, CloseScope } from '../core/close/CloseScope.js';
import type { EraStore } from '../core/era/EraStore.js';
import { Flights } from './Flights.js';
import { eraKey, jsonKey, type Key, toolsKey } from './keys.js';
import type {
  CachedTools,
  Loader,
  LoadOptions,
  ServerRef,
  SetOptions,
  ToolHints,
  ToolListing,
  ToolStore,
  ToolStoreStats,
} from './ToolStore.js';

/** A `ToolStore` that keeps nothing: every get is a miss. Callers who load one key at the same time share a loader. */
export class NoOpCache implements ToolStore {
  readonly #scope: CloseScope;
  readonly #flights: Flights;
  #misses = 0;

  constructor(options: { readonly clock?: Clock } = {}) {
    this.#scope = new CloseScope('NoOpCache', {
      ...options,
      onDrain: async () => void (await Promise.all(this.#flights.inFlight())),
      onDeadline: () => this.#flights.giveUp(),
    });
    this.#flights = new Flights(this.#scope);
  }

  async #miss(_key: Key): Promise<undefined> {
    this.#scope.assertOpen();
    this.#misses++;
    return undefined;
  }

  async #drop(_key: Key): Promise<void> {
    this.#scope.assertOpen();
  }

  async get(key: string): Promise<undefined> {
    return this.#miss(jsonKey(key));
  }

  async lookup(key: string): Promise<undefined> {
    return this.#miss(jsonKey(key));
  }

  async set(key: string, _value: unknown, _options?: SetOptions): Promise<void> {
    return this.#drop(jsonKey(key));
  }

  async delete(key: string): Promise<void> {
    return this.#drop(jsonKey(key));
  }

  async getOrLoad<T>(key: string, loader: Loader<T>, options: LoadOptions = {}): Promise<T> {
    return this.#load(jsonKey(key), loader, (value) => value, options.signal);
  }

  async #load<T, R>(key: Key, loader: Loader<T>, settle: (value: T) => R, signal?: AbortSignal): Promise<R> {
    await this.#miss(key);
    signal?.throwIfAborted();
    return this.#flights.join(key, loader, ({ value }) => settle(value), signal);
  }

  async getTools(server: ServerRef, scope?: string): Promise<undefined> {
    return this.#miss(toolsKey(server, scope));
  }

  async lookupTools(server: ServerRef, scope?: string): Promise<undefined> {
    return this.#miss(toolsKey(server, scope));
  }

  async setTools(server: ServerRef, _tools: ToolListing['tools'], scope?: string, _hints?: ToolHints): Promise<void> {
    return this.#drop(toolsKey(server, scope));
  }

  async invalidate(server: ServerRef, scope?: string): Promise<void> {
    const key = toolsKey(server, scope);
    this.#flights.detach(({ kind, name }) => kind === 'tools' && name === key.name);
    return this.#drop(key);
  }

  async listServers(): Promise<string[]> {
    this.#scope.assertOpen();
    return [];
  }

  async getOrLoadTools(
    server: ServerRef,
    loader: Loader<ToolListing>,
    options: { readonly signal?: AbortSignal | undefined; readonly scope?: string | undefined } = {},
  ): Promise<CachedTools> {
    const settle = ({ tools }: ToolListing): CachedTools => ({ tools, stale: false, ageMs: 0 });
    return this.#load(toolsKey(server, options.scope), loader, settle, options.signal);
  }

  eraStore(): EraStore {
    return {
      get: async (fingerprint) => this.#miss(eraKey(fingerprint)),
      set: async (fingerprint) => this.#drop(eraKey(fingerprint)),
      delete: async (fingerprint) => this.#drop(eraKey(fingerprint)),
    };
  }

  get stats(): ToolStoreStats {
    return {
      entries: 0,
      bytes: 0,
      hits: 0,
      staleHits: 0,
      misses: this.#misses,
      loads: this.#flights.loads,
      loadFailures: this.#flights.failures,
      loading: this.#flights.size,
      writes: 0,
      writeFailures: 0,
      unsaved: 0,
      quarantined: 0,
      refused: 0,
      swept: 0,
      degraded: undefined,
    };
  }

  close(options?: CloseOptions): Promise<void> {
    return this.#scope.close(options);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
