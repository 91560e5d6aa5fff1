import { LRUCache } from 'lru-cache';
import { type CloseOptions, CloseScope } from '../core/close/CloseScope.js';
import { QueueFullError, ShutdownTimeoutError } from '../core/errors.js';
import { assertLive, checkFunction, checkMs } from '../core/options.js';
import { within } from '../core/time/within.js';
import { fitsFile } from './disk/envelope.js';
import { type Content, type Entry, toJson } from './entries/Entry.js';
import { EntryStore, type Life } from './entries/EntryStore.js';
import { ServerLists } from './entries/ServerLists.js';
import { Flights, type Loaded, type Standing } from './Flights.js';
import { type Key, sharedKey } from './keys.js';
import type { FileCacheSettings } from './options.js';
import type { Cached, Loader, LoadOptions, SetOptions, ToolStoreStats } from './ToolStore.js';

/** How long a write may still take when the grace of a close is over; a disk that hangs longer is reported. */
export const WRITE_PROOF_MS = 2_000;

/** A load that brought nothing, remembered. */
interface Negative {
  readonly untilMs: number;
  readonly outcome: { readonly error: unknown } | undefined;
}

/** What makes a loaded value into what the callers get; it stores it too, as `loaded.standing` allows. */
export type Settle<T, R> = (loaded: Loaded<T>) => Cached<R>;

/** The cache by whole keys: lookups, sets and loads of any kind of entry. `FileCache` is its public face. */
export class CacheCore {
  readonly settings: FileCacheSettings;
  readonly scope: CloseScope;
  readonly store: EntryStore;
  readonly lists: ServerLists;
  readonly flights: Flights;
  readonly #negatives: LRUCache<string, Negative>;
  #hits = 0;
  #staleHits = 0;
  #misses = 0;
  #refused = 0;

  constructor(settings: FileCacheSettings) {
    const { clock, logger, maxEntries } = settings;
    this.settings = settings;
    this.scope = new CloseScope('FileCache', {
      clock,
      logger,
      onDrain: () => this.#drain(),
      onDeadline: () => this.flights.giveUp(),
      onRelease: () => this.#proveWritten(),
    });
    this.store = new EntryStore(settings, this.scope);
    this.lists = new ServerLists(this.store);
    this.flights = new Flights(this.scope);
    this.#negatives = new LRUCache({ max: maxEntries });
  }

  /** The answer without a promise, when memory has a fresh one. */
  hot(memo: string): Entry | undefined {
    if (this.scope.closing) return undefined;
    const nowMs = this.settings.clock.now();
    const entry = this.store.peek(memo, nowMs);
    if (entry === undefined || nowMs >= entry.freshUntilMs) return undefined;
    this.#hits++;
    return entry;
  }

  async lookup<T>(key: Key, staleToo: boolean): Promise<Cached<T> | undefined> {
    this.scope.assertOpen();
    return this.#answer<T>(await this.#best(key), staleToo);
  }

  #answer<T>(entry: Entry | undefined, staleToo: boolean): Cached<T> | undefined {
    const nowMs = this.settings.clock.now();
    const stale = entry !== undefined && nowMs >= entry.freshUntilMs;
    if (entry === undefined || nowMs >= entry.deadAtMs || (stale && !staleToo)) {
      this.#misses++;
      return undefined;
    }
    if (stale) this.#staleHits++;
    else this.#hits++;
    return { value: entry.value as T, stale, ageMs: entry.ageMs(nowMs) };
  }

  /** The entry of the key; for a scope's tools also the one its upstream said all may see: a fresh one, then the newer. */
  async #best(key: Key): Promise<Entry | undefined> {
    const own = await this.store.find(key);
    if (key.kind !== 'tools' || key.scope === undefined || this.#isFresh(own)) return own;
    const shared = await this.store.find(sharedKey(key));
    if (shared === undefined || !shared.head.shared) return own;
    return own === undefined || this.#isFresh(shared) || shared.head.setAt > own.head.setAt ? shared : own;
  }

  #isFresh(entry: Entry | undefined): boolean {
    return entry !== undefined && this.settings.clock.now() < entry.freshUntilMs;
  }

  /** Checked, and filled up from the options. */
  life({ ttlMs = this.settings.ttlMs, staleMs = this.settings.staleMs }: SetOptions): Life {
    const forever = { infinity: true };
    return { ttlMs: checkMs('ttlMs', ttlMs, forever), staleMs: checkMs('staleMs', staleMs, forever) };
  }

  async set(key: Key, value: unknown, life: Life, option = 'value'): Promise<void> {
    this.scope.assertOpen();
    const entry = this.store.make(key, toJson(option, value), life);
    this.store.assertRoom(entry);
    this.#supersede(key);
    await this.#keep(entry);
  }

  /** Stores what fits; what does not fit still makes the older value void. */
  #keep(entry: Entry): Promise<void> {
    const { logger, maxEntryBytes } = this.settings;
    if (fitsFile(entry.head, entry.bytes, maxEntryBytes)) return this.store.put(entry);
    this.refuse();
    logger.warn({ key: entry.key.name, bytes: entry.bytes, maxEntryBytes }, 'a value is too large for the cache');
    return this.store.remove(entry.key);
  }

  /** Counts a value that is not to be stored. */
  refuse(): void {
    this.#refused++;
  }

  async delete(key: Key): Promise<void> {
    this.scope.assertOpen();
    this.#supersede(key);
    await this.store.remove(key);
  }

  #supersede(key: Key): void {
    this.flights.detachKey(key.memo);
    this.#negatives.delete(key.memo);
  }

  async load<T, R>(
    key: Key,
    loader: Loader<T>,
    settle: Settle<T, R>,
    { signal, negativeTtlMs = 0 }: Pick<LoadOptions, 'signal' | 'negativeTtlMs'>,
  ): Promise<Cached<R>> {
    checkFunction('loader', loader);
    checkMs('negativeTtlMs', negativeTtlMs, { infinity: true });
    this.scope.assertOpen();
    assertLive(signal);
    const { clock } = this.settings;
    let entry = this.store.peek(key.memo, clock.now());
    if (!this.#isFresh(entry)) {
      const best = await this.flights.orAbort(this.#best(key), signal);
      this.scope.assertOpen();
      // Unless a load has landed while the disk was asked.
      const late = this.store.peek(key.memo, clock.now());
      entry = this.#isFresh(late) ? late : best;
    }
    const noting = negativeTtlMs === 0 ? loader : this.#noting(key, loader, negativeTtlMs);
    if (entry?.head.outdated === true && clock.now() >= entry.retryAtMs) {
      return this.#loadOrFallBack(entry, key, noting, settle, signal);
    }
    const cached = this.#answer<R>(entry, true);
    if (cached !== undefined) {
      if (cached.stale && entry !== undefined) this.#revalidate(entry, noting, settle, key);
      return cached;
    }
    const negative = this.#negatives.get(key.memo);
    if (negative === undefined || clock.now() >= negative.untilMs) {
      return this.flights.join(key, noting, settle, signal);
    }
    if (negative.outcome !== undefined) throw negative.outcome.error;
    return settle({ value: undefined as T, hints: {}, standing: 'void' });
  }

  /** Loads anew behind a stale value; a failure leaves that where it is, and is not tried again for `retryMs`. */
  #revalidate<T, R>(stale: Entry, loader: Loader<T>, settle: Settle<T, R>, key: Key): void {
    const { clock, logger, retryMs } = this.settings;
    if (clock.now() < stale.retryAtMs || this.flights.has(key.memo)) return;
    this.flights.join(key, loader, settle, undefined).catch((error: unknown) => {
      stale.retryAtMs = clock.now() + retryMs;
      logger.warn({ error, key: key.name }, 'a value could not be loaded anew; the stale one stays');
    });
  }

  /** Waits for the load; when that fails, the value that was no longer believed is still better than none. */
  async #loadOrFallBack<T, R>(
    outdated: Entry,
    key: Key,
    loader: Loader<T>,
    settle: Settle<T, R>,
    signal: AbortSignal | undefined,
  ): Promise<Cached<R>> {
    try {
      return await this.flights.join(key, loader, settle, signal);
    } catch (error) {
      const { clock, logger, retryMs } = this.settings;
      const fallback = signal?.aborted || this.scope.closing ? undefined : this.#answer<R>(outdated, true);
      if (fallback === undefined) throw error;
      outdated.retryAtMs = clock.now() + retryMs;
      logger.warn({ error, key: key.name }, 'a value could not be loaded anew; the outdated one stays');
      return fallback;
    }
  }

  #noting<T>(key: Key, loader: Loader<T>, negativeTtlMs: number): Loader<T> {
    const note = (outcome: Negative['outcome']): void => {
      this.#negatives.set(key.memo, { untilMs: this.settings.clock.now() + negativeTtlMs, outcome });
    };
    return async (context) => {
      try {
        const value = await loader(context);
        if (value === undefined) note(undefined);
        return value;
      } catch (error) {
        if (!context.signal.aborted) note({ error });
        throw error;
      }
    };
  }

  /** A loaded value as its callers get it; kept as its standing allows. Writing goes on behind. */
  keepLoaded<T>(key: Key, content: Content, life: Life, standing: Standing): Cached<T> {
    const entry = this.store.make(key, content, life);
    try {
      if (standing === 'current') {
        this.#negatives.delete(key.memo);
        void this.#keep(entry);
      } else if (standing === 'outdated' && !this.store.holds(entry)) {
        void this.#keep(entry.asOutdated(entry.order));
      } else this.refuse();
    } catch (error) {
      if (!(error instanceof QueueFullError)) throw error;
      this.refuse();
    }
    return { value: entry.value as T, stale: false, ageMs: 0 };
  }

  get stats(): ToolStoreStats {
    return {
      hits: this.#hits,
      staleHits: this.#staleHits,
      misses: this.#misses,
      refused: this.#refused,
      loads: this.flights.loads,
      loadFailures: this.flights.failures,
      loading: this.flights.size,
      ...this.store.stats,
    };
  }

  close(options?: CloseOptions): Promise<void> {
    return this.scope.close(options);
  }

  async #drain(): Promise<void> {
    for (let busy = this.flights.inFlight(); busy.length > 0; busy = this.flights.inFlight()) await Promise.all(busy);
    await this.store.settle();
  }

  async #proveWritten(): Promise<void> {
    const late = (): Error => new ShutdownTimeoutError('FileCache: a write to its directory', WRITE_PROOF_MS);
    await within(this.store.finish(), { clock: this.settings.clock, timeoutMs: WRITE_PROOF_MS, late });
  }
}
