import { Mutex } from 'async-mutex';
import type { Params } from '../connection/protocol/messages.js';
import { type CloseOptions, CloseScope } from '../core/close/CloseScope.js';
import { ClosedError, OptionError } from '../core/errors.js';
import { Emitter, type Listener } from '../core/events.js';
import { checkServerConfig } from '../registry/config/checkServerConfig.js';
import type { ServerConfig } from '../registry/config/ServerConfig.js';
import type { UrlPoolOptions } from './connectors/urlConnector.js';
import { HTTPClientPool } from './HTTPClientPool.js';
import type {
  ApplyReport,
  Caller,
  CompleteList,
  ConnectionLease,
  ListItems,
  ListKind,
  McpPool,
  PoolEvents,
  RequestOptions,
  ServerInfo,
  ServerNotice,
  ServerState,
  ServerStats,
  StartReport,
  Subscription,
  SubscriptionFilter,
} from './McpPool.js';
import { SSEPool } from './SSEPool.js';
import { StdioPool, type StdioPoolOptions } from './StdioPool.js';
import { type ResolvedPoolOptions, resolvePoolOptions } from './server/options.js';
import { TotalSeats } from './server/partitions/TotalSeats.js';
import type { ServerPool } from './server/ServerPool.js';
import { startAll } from './server/startAll.js';
import { applyConfigs, asHttp } from './unified/applyConfigs.js';
import { forwardEvents } from './unified/forwardEvents.js';
import { assertDistinct, Routes } from './unified/Routes.js';

export interface UnifiedPoolOptions extends StdioPoolOptions, UrlPoolOptions {
  /** Pools to use instead of ones made here from the options. They are not closed with this one. */
  readonly stdio?: StdioPool;
  readonly http?: HTTPClientPool;
  readonly sse?: SSEPool;
}

/**
 * Servers of every wire under one roof: it finds the pool of a name in O(1) and hands on. A name belongs to one pool. A
 * URL whose wire nobody said is tried over Streamable HTTP, then over SSE, on its first use. One server or pool that
 * fails disturbs no other. `close` closes the pools made here, in parallel.
 */
export class UnifiedPool implements McpPool {
  readonly #routes: Routes;
  readonly #made: readonly ServerPool[];
  readonly #events: Emitter<PoolEvents>;
  readonly #forwards: Disposable;
  readonly #scope: CloseScope;
  readonly #context: ResolvedPoolOptions;
  readonly #applying = new Mutex();

  /** @throws OptionError for a bad option, or a name that two of the pools handed in both have */
  constructor(options: UnifiedPoolOptions = {}) {
    const { stdio, http, sse, ...common } = options;
    this.#context = resolvePoolOptions(common);
    const { clock, logger } = this.#context;
    this.#events = new Emitter((error, event) => logger.error({ error, event }, 'a listener of a pool threw'));
    assertDistinct([stdio, http, sse]);
    const made: ServerPool[] = [];
    const own = <P extends ServerPool>(pool: P): P => {
      made.push(pool);
      return pool;
    };
    const total = new TotalSeats(this.#context);
    const pools = {
      http: http ?? own(new HTTPClientPool(common, total)),
      sse: sse ?? own(new SSEPool(common, total)),
      stdio: stdio ?? own(new StdioPool(common, total)),
    };
    this.#made = made;
    this.#routes = new Routes(pools, this.#context, (server, state, previous) => {
      this.#events.emit('state', { server, state, previous });
    });
    this.#scope = new CloseScope('UnifiedPool', { clock, logger, onRelease: () => this.#end() });
    for (const pool of made) this.#scope.own(pool.constructor.name, pool);
    this.#forwards = forwardEvents(this.#routes, this.#events);
  }

  addServer(config: ServerConfig): void {
    this.#scope.assertOpen();
    checkServerConfig(config);
    const { name, transport } = config;
    if (this.hasServer(name)) throw new OptionError('name', name, 'a name that is not taken in this pool');
    const { pools } = this.#routes;
    if (transport === undefined) {
      pools.http.check([asHttp(config)]);
      this.#routes.hold(config);
    } else {
      pools[transport].addServer(config);
      this.#routes.set(name, pools[transport]);
    }
  }

  async startServer(config: ServerConfig | string): Promise<void> {
    this.#scope.assertOpen();
    if (typeof config !== 'string') this.addServer(config);
    const name = typeof config === 'string' ? config : config.name;
    const undecided = this.#routes.undecided.get(name);
    await (undecided?.start() ?? this.#routes.known(name).startServer(name));
  }

  async startAll(configs: Iterable<ServerConfig>): Promise<StartReport> {
    this.#scope.assertOpen();
    return startAll(configs, (config) => this.startServer(config));
  }

  async stopServer(name: string, options?: CloseOptions): Promise<void> {
    const undecided = this.#routes.undecided.get(name);
    await (undecided?.stop(options) ?? this.#routes.known(name).stopServer(name, options));
  }

  async restartServer(name: string): Promise<void> {
    this.#scope.assertOpen();
    const undecided = this.#routes.undecided.get(name);
    await (undecided?.start() ?? this.#routes.known(name).restartServer(name));
  }

  async removeServer(name: string, options?: CloseOptions & { readonly reason?: string }): Promise<void> {
    const undecided = this.#routes.undecided.get(name);
    const pool = undecided === undefined ? this.#routes.known(name) : undefined;
    this.#routes.undecided.delete(name);
    this.#routes.forget(name);
    await this.#scope.track(undecided?.end(new ClosedError(`server ${name}`), options) ?? Promise.resolve());
    await pool?.removeServer(name, options);
  }

  /** As of every pool; a server whose wire changes is one that was restarted. Never two at once. */
  apply(configs: Iterable<ServerConfig>, options?: { readonly signal?: AbortSignal }): Promise<ApplyReport> {
    const wanted = [...configs];
    return this.#applying.runExclusive(() => {
      this.#scope.assertOpen();
      options?.signal?.throwIfAborted();
      return applyConfigs(wanted, {
        routes: this.#routes,
        logger: this.#context.logger,
        start: (name) => this.startServer(name),
        state: (name) => this.state(name),
      });
    });
  }

  hasServer(name: string): boolean {
    return this.#routes.has(name);
  }

  servers(): string[] {
    return this.#routes.names();
  }

  /** What it was added with, with its wire once that is known; undefined for one that is not here. */
  config(name: string): ServerConfig | undefined {
    return this.#routes.undecided.get(name)?.config ?? this.#routes.find(name)?.config(name);
  }

  state(name: string): ServerState {
    return this.#routes.undecided.get(name)?.state ?? this.#routes.known(name).state(name);
  }

  stats(name: string): ServerStats {
    return this.#routes.undecided.get(name)?.stats ?? this.#routes.known(name).stats(name);
  }

  /** Every server at one moment. */
  allStats(): ServerStats[] {
    return this.servers().map((name) => this.stats(name));
  }

  info(name: string, caller?: Caller): ServerInfo | undefined {
    return this.#routes.undecided.has(name) ? undefined : this.#routes.known(name).info(name, caller);
  }

  request(name: string, method: string, params?: Params, options?: RequestOptions): Promise<unknown> {
    const pool = this.#routes.get(name);
    if (pool !== undefined && !this.#scope.closing) return pool.request(name, method, params, options);
    return this.#request(name, method, params, options);
  }

  async notify(
    name: string,
    method: string,
    params?: Params,
    options?: { readonly caller?: Caller; readonly signal?: AbortSignal },
  ): Promise<void> {
    await (await this.#pool(name, options)).notify(name, method, params, options);
  }

  async listAll<K extends ListKind>(
    name: string,
    kind: K,
    options?: { readonly caller?: Caller; readonly signal?: AbortSignal; readonly maxPages?: number },
  ): Promise<CompleteList<ListItems[K]>> {
    return (await this.#pool(name, options)).listAll(name, kind, options);
  }

  async subscribe(
    name: string,
    filter: SubscriptionFilter,
    options: {
      readonly caller?: Caller;
      readonly signal?: AbortSignal;
      readonly onNotification: (notice: ServerNotice) => void;
    },
  ): Promise<Subscription> {
    return (await this.#pool(name, options)).subscribe(name, filter, options);
  }

  async lease(
    name: string,
    options?: { readonly caller?: Caller; readonly signal?: AbortSignal; readonly acquireTimeoutMs?: number },
  ): Promise<ConnectionLease> {
    return (await this.#pool(name, options)).lease(name, options);
  }

  /** Ends the connection of one session of a `bound` server; resolves when it is gone. */
  async releaseKey(name: string, key: string, options?: { readonly principal?: string }): Promise<void> {
    if (!this.#routes.undecided.has(name)) await this.#routes.known(name).releaseKey(name, key, options);
  }

  on<K extends keyof PoolEvents>(event: K, listener: Listener<PoolEvents[K]>): Disposable {
    return this.#events.on(event, listener);
  }

  close(options?: CloseOptions): Promise<void> {
    const closing = this.#scope.close(options);
    if (!this.#scope.closing) return closing;
    // At once, for those who wait there; how it ends is told through the scope.
    for (const pool of this.#made) void pool.close(options).catch((error: unknown) => error);
    for (const undecided of this.#routes.undecided.values()) {
      void this.#scope.track(undecided.end(new ClosedError('UnifiedPool'), { graceMs: 0 }));
    }
    return closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Events are told until the last server has ended. */
  async #end(): Promise<void> {
    await Promise.allSettled(this.#made.map((pool) => pool.close()));
    this.#forwards[Symbol.dispose]();
    this.#events.clear();
  }

  /** Of a server whose wire is not known yet, or of none: what the hot path does not find. */
  async #request(
    name: string,
    method: string,
    params: Params | undefined,
    options: RequestOptions = {},
  ): Promise<unknown> {
    const { clock } = this.#context;
    const startMs = clock.now();
    const pool = await this.#pool(name, options);
    if (options.deadlineMs === undefined) return pool.request(name, method, params, options);
    const deadlineMs = Math.max(0, options.deadlineMs - (clock.now() - startMs));
    return pool.request(name, method, params, { ...options, deadlineMs });
  }

  /** The pool of a name, once it is known. @throws ServerNotFoundError, ClosedError, or why it could not be found out */
  async #pool(name: string, { caller, signal, acquireTimeoutMs, deadlineMs }: WaitOptions = {}): Promise<ServerPool> {
    this.#scope.assertOpen();
    const undecided = this.#routes.undecided.get(name);
    if (undecided === undefined) return this.#routes.known(name);
    const timeoutMs = Math.min(acquireTimeoutMs ?? this.#context.acquireTimeoutMs, deadlineMs ?? Infinity);
    return undecided.decide(caller, { signal, timeoutMs });
  }
}

type WaitOptions = Pick<RequestOptions, 'caller' | 'signal' | 'acquireTimeoutMs' | 'deadlineMs'>;
