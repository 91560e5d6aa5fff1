import { createHash } from 'node:crypto';
import { type Clock, systemClock } from '../core/clock.js';
import { type CloseOptions, CloseScope } from '../core/close/CloseScope.js';
import { ClosedError } from '../core/errors.js';
import { type Logger, silentLogger } from '../core/logger.js';
import { checkCount, checkFunction, checkPart, withDefaults } from '../core/options.js';
import { lent, within } from '../core/time/within.js';
import type { Caller, McpPool } from '../pool/McpPool.js';
import { canonical } from '../registry/config/fingerprint.js';
import type { CachedTools, ServerRef, ToolHints, ToolListing, ToolStore } from '../toolstore/ToolStore.js';

export interface ToolCatalogOptions {
  /** Asked for the lists; lent, never closed. */
  readonly pool: Pick<McpPool, 'listAll' | 'on'>;
  /** Keeps them; lent, never closed. */
  readonly cache: ToolStore;
  /** The fingerprint of a server's configuration: a changed one starts with an empty list. @defaultValue none */
  readonly fingerprint?: (server: string) => string | undefined;
  /** Most pages of one list, from 1. @defaultValue the pool's own bound */
  readonly maxPages?: number;
  /** Where it logs; anything with pino's methods. @defaultValue a logger that is silent */
  readonly logger?: Logger;
  /** Measures time and arms timers; a `FakeClock` in tests. @defaultValue the system's clock */
  readonly clock?: Clock;
}

export interface CatalogQuery {
  readonly caller?: Caller;
  /** Aborting rejects at once with `signal.reason`; the list is still fetched for others who wait. */
  readonly signal?: AbortSignal;
}

/** What `inspect()` gives. */
export interface ToolCatalogInspection {
  /** Lists that are being fetched from their servers. */
  readonly loading: number;
  /** Servers whose lists are being forgotten. */
  readonly invalidating: readonly string[];
  readonly closing: boolean;
}

/**
 * A server's lists being forgotten. A server may say a thousand times a second that its list changed, and to forget one is work
 * on a disk: one run at a time, and one more for all who ask while it is under way.
 */
class Invalidation {
  readonly #forget: () => Promise<void>;
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  constructor(forget: () => Promise<void>) {
    this.#forget = forget;
  }

  get idle(): boolean {
    return this.#running === undefined && this.#next === undefined;
  }

  /** Settled when all is forgotten that was asked for so far. Never rejects. */
  get last(): Promise<void> | undefined {
    return (this.#next ?? this.#running)?.catch(() => undefined);
  }

  /** A run that begins now or later. */
  run(): Promise<void> {
    if (this.#running === undefined) return this.#start();
    this.#next ??= this.#running.then(
      () => this.#start(),
      () => this.#start(),
    );
    return this.#next;
  }

  #start(): Promise<void> {
    this.#next = undefined;
    const running = this.#forget().finally(() => {
      if (this.#running === running) this.#running = undefined;
    });
    this.#running = running;
    return running;
  }
}

/** By server. Catalogs that share a cache hear of the same changes: one run does for all. */
const invalidations = new WeakMap<ToolStore, Map<string, Invalidation>>();

function invalidationsOf(cache: ToolStore): Map<string, Invalidation> {
  const known = invalidations.get(cache) ?? new Map<string, Invalidation>();
  invalidations.set(cache, known);
  return known;
}

/** Lists whose hints are remembered. */
const MAX_HINTS = 10_000;

const LIST_CHANGED = 'notifications/tools/list_changed';

/**
 * The tools of a pool's servers, through a cache. A fresh list comes from the cache; a stale one too, marked `stale`,
 * while one loader per server and principal fetches the next: so a dead upstream's last good list stays on offer. After
 * a server's `list_changed` callers wait for its new list, and get the old one, stale, only when that fails. Lists are kept apart by
 * principal, by fingerprint and by the capabilities the caller has for the server, since servers offer tools by them.
 * Rejects: `ERR_CLOSED`, and with no list to fall back on whatever `pool.listAll` rejects with.
 */
export class ToolCatalog implements AsyncDisposable {
  readonly #options: ToolCatalogOptions;
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #scope: CloseScope;
  readonly #listening: Disposable;
  readonly #invalidations: Map<string, Invalidation>;
  readonly #hints = new Map<string, ToolHints>();
  /** Aborts at the end of a close's grace. */
  readonly #over = new AbortController();
  #loading = 0;

  /** @throws OptionError */
  constructor(given: ToolCatalogOptions) {
    const others = { pool: true, cache: true, fingerprint: true, maxPages: true, logger: true, clock: true } as const;
    const options = withDefaults('ToolCatalog', given, {}, others);
    if (options.maxPages !== undefined) checkCount('maxPages', options.maxPages, { min: 1 });
    if (options.fingerprint !== undefined) checkFunction('fingerprint', options.fingerprint);
    checkPart('cache', options.cache, ['getOrLoadTools', 'invalidate'], 'a ToolStore, such as a FileCache');
    checkPart('pool', options.pool, ['listAll', 'on'], 'a pool');
    this.#options = options;
    this.#logger = options.logger ?? silentLogger;
    this.#invalidations = invalidationsOf(options.cache);
    this.#clock = options.clock ?? systemClock;
    this.#scope = new CloseScope('ToolCatalog', {
      clock: this.#clock,
      onRefuse: () => this.#listening[Symbol.dispose](),
      onDeadline: () => this.#over.abort(new ClosedError('ToolCatalog')),
    });
    this.#listening = options.pool.on('notification', ({ server, notice }) => {
      if (notice.method !== LIST_CHANGED) return;
      this.invalidate(server).catch((error: unknown) =>
        this.#logger.warn({ error, server }, 'a changed tool list could not be forgotten'),
      );
    });
  }

  /** The list of one server as the caller sees it. */
  async tools(server: string, { caller, signal }: CatalogQuery = {}): Promise<CachedTools> {
    this.#scope.assertOpen();
    const { cache } = this.#options;
    // A list still on disk from before would pass for a fresh one.
    const pending = this.#invalidations.get(server)?.last;
    if (pending !== undefined) await within(pending, { clock: this.#clock, signal });
    return cache.getOrLoadTools(this.#refOf(server, caller), (context) => this.#load(server, caller, context.signal), {
      scope: caller?.principal,
      signal,
    });
  }

  /** The list as the server has it now, for callers of no principal; the last good one, stale, when it cannot tell. */
  async refresh(server: string, { signal }: Pick<CatalogQuery, 'signal'> = {}): Promise<CachedTools> {
    await this.invalidate(server);
    return this.tools(server, signal === undefined ? {} : { signal });
  }

  async #load(server: string, caller: Caller | undefined, signal: AbortSignal): Promise<ToolListing> {
    const { pool, maxPages } = this.#options;
    this.#loading++;
    try {
      const { items, ttlMs, cacheScope } = await pool.listAll(server, 'tools', {
        signal,
        ...(caller === undefined ? {} : { caller }),
        ...(maxPages === undefined ? {} : { maxPages }),
      });
      this.#remember(server, caller, { ttlMs, cacheScope });
      return { tools: items, ttlMs, cacheScope };
    } finally {
      this.#loading--;
    }
  }

  /** @internal What a server said of how long its list holds, and for whom, when it was last fetched; it may have said nothing. */
  hints(server: string, { caller }: Pick<CatalogQuery, 'caller'> = {}): ToolHints {
    return this.#hints.get(this.#hintKey(server, caller)) ?? {};
  }

  #remember(server: string, caller: Caller | undefined, hints: ToolHints): void {
    const key = this.#hintKey(server, caller);
    this.#hints.delete(key);
    this.#hints.set(key, hints);
    const [oldest] = this.#hints.keys();
    if (this.#hints.size > MAX_HINTS && oldest !== undefined) this.#hints.delete(oldest);
  }

  #hintKey(server: string, caller: Caller | undefined): string {
    return JSON.stringify([server, caller?.principal, this.#refOf(server, caller)]);
  }

  /** What it holds and waits for, as one plain object; the lists themselves are the cache's. */
  inspect(): ToolCatalogInspection {
    return { loading: this.#loading, invalidating: [...this.#invalidations.keys()], closing: this.#scope.closing };
  }

  /** No longer believes what is known of a server's tools, for every caller; it stays for when the server is down. */
  async invalidate(server: string): Promise<void> {
    this.#scope.assertOpen();
    let invalidation = this.#invalidations.get(server);
    if (invalidation === undefined) {
      const { invalidate } = lent('the cache of tools', this.#options.cache, ['invalidate'], { clock: this.#clock });
      invalidation = new Invalidation(() => invalidate(server, undefined, { keepAsFallback: true }));
      this.#invalidations.set(server, invalidation);
    }
    const own = invalidation;
    const done = own.run().finally(() => {
      if (own.idle) this.#invalidations.delete(server);
    });
    await this.#scope.track(within(done, { clock: this.#clock, signal: this.#over.signal }));
  }

  #refOf(server: string, caller: Caller | undefined): ServerRef {
    const fingerprint = this.#options.fingerprint?.(server);
    const capabilities = caller?.capabilities;
    if (capabilities === undefined || Object.keys(capabilities).length === 0) return { name: server, fingerprint };
    const profile = createHash('sha256').update(canonical(capabilities)).digest('hex');
    return { name: server, fingerprint: `${fingerprint ?? ''}+${profile}` };
  }

  /** Stops listening to the pool. Pool and cache, both lent, stay open. */
  close(options?: CloseOptions): Promise<void> {
    return this.#scope.close(options);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
