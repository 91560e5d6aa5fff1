import type { Params } from '../connection/messages.js';
import { type CloseOptions, CloseScope } from '../core/CloseScope.js';
import { ClosedError, messageOf, OptionError, PoolkitError, ServerNotFoundError, StartError } from '../core/errors.js';
import { Emitter, type Listener } from '../core/events.js';
import { checkServerConfig } from '../registry/config/checkServerConfig.js';
import type { ServerConfig } from '../registry/ServerConfig.js';
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
import { nearNames } from './server/nearNames.js';
import { resolvePoolOptions } from './server/options.js';
import type { ServerPool } from './server/ServerPool.js';
import { Undecided } from './Undecided.js';
import type { UrlPoolOptions } from './urlConnector.js';

type Wire = 'stdio' | 'http' | 'sse';

export interface UnifiedPoolOptions extends StdioPoolOptions, UrlPoolOptions {
  /** Pools to use instead of ones made here from the options. They are not closed with this one. */
  readonly stdio?: StdioPool;
  readonly http?: HTTPClientPool;
  readonly sse?: SSEPool;
}

const EVENTS: readonly (keyof PoolEvents)[] = [
  'state',
  'started',
  'exited',
  'restarted',
  'stderr',
  'notification',
  'orphanRequest',
  'leaked',
];

const WIRES: readonly Wire[] = ['stdio', 'http', 'sse'];

/**
 * Servers of every wire under one roof: it finds the pool of a name in O(1) and hands on. A name belongs to one pool. A
 * URL whose wire nobody said is tried over Streamable HTTP, then over SSE, on its first use. One server or pool that
 * fails disturbs no other. `close` closes the pools made here, in parallel.
 */
export class UnifiedPool implements McpPool {
  readonly #pools: Readonly<Record<Wire, ServerPool>>;
  readonly #routes = new Map<string, ServerPool>();
  readonly #undecided = new Map<string, Undecided>();
  readonly #events: Emitter<PoolEvents>;
  readonly #forwards: readonly Disposable[];
  readonly #scope: CloseScope;
  readonly #context: ReturnType<typeof resolvePoolOptions>;

  /** @throws OptionError for a bad option, or a name that two of the pools handed in both have */
  constructor(options: UnifiedPoolOptions = {}) {
    const { stdio, http, sse, ...common } = options;
    this.#context = resolvePoolOptions(common);
    const { clock, logger } = this.#context;
    this.#events = new Emitter((error, event) => logger.error({ error, event }, 'a listener of a pool threw'));
    const made: [string, ServerPool][] = [];
    const own = <P extends ServerPool>(name: string, pool: P): P => {
      made.push([name, pool]);
      return pool;
    };
    this.#pools = {
      stdio: stdio ?? own('StdioPool', new StdioPool(common)),
      http: http ?? own('HTTPClientPool', new HTTPClientPool(common)),
      sse: sse ?? own('SSEPool', new SSEPool(common)),
    };
    this.#scope = new CloseScope('UnifiedPool', { clock, logger, onRelease: () => this.#end() });
    for (const [name, pool] of made) this.#scope.own(name, pool);
    for (const wire of WIRES) for (const name of this.#pools[wire].servers()) this.#claim(name, this.#pools[wire]);
    this.#forwards = WIRES.flatMap((wire) => EVENTS.map((event) => this.#forward(this.#pools[wire], event)));
  }

  addServer(config: ServerConfig): void {
    this.#scope.assertOpen();
    checkServerConfig(config);
    if (this.hasServer(config.name))
      throw new OptionError('name', config.name, 'a name that is not taken in this pool');
    if (config.transport === undefined) {
      this.#pools.http.check([asHttp(config)]);
      this.#undecided.set(config.name, this.#decide(config));
      return;
    }
    const pool = this.#pools[config.transport];
    pool.addServer(config);
    this.#routes.set(config.name, pool);
  }

  async startServer(config: ServerConfig | string): Promise<void> {
    this.#scope.assertOpen();
    if (typeof config !== 'string') this.addServer(config);
    const name = typeof config === 'string' ? config : config.name;
    await (await this.#pool(name)).startServer(name);
  }

  async startAll(configs: Iterable<ServerConfig>): Promise<StartReport> {
    this.#scope.assertOpen();
    const started: string[] = [];
    const failed: { name: string; error: PoolkitError }[] = [];
    const start = async (config: ServerConfig): Promise<void> => {
      try {
        await this.startServer(config);
        started.push(config.name);
      } catch (thrown) {
        const known = thrown instanceof PoolkitError;
        failed.push({
          name: config.name,
          error: known ? thrown : new StartError(config.name, messageOf(thrown), {}, thrown),
        });
      }
    };
    await Promise.all([...configs].map(start));
    return { started, failed };
  }

  async stopServer(name: string, options?: CloseOptions): Promise<void> {
    await (await this.#pool(name)).stopServer(name, options);
  }

  async restartServer(name: string): Promise<void> {
    await (await this.#pool(name)).restartServer(name);
  }

  async removeServer(name: string, options?: CloseOptions & { readonly reason?: string }): Promise<void> {
    const undecided = this.#undecided.get(name);
    this.#undecided.delete(name);
    undecided?.cancel(new ClosedError(`server ${name}`));
    const pool = undecided === undefined ? this.#known(name) : undecided.pool;
    this.#routes.delete(name);
    await pool?.removeServer(name, options);
  }

  async apply(configs: Iterable<ServerConfig>, options?: { readonly signal?: AbortSignal }): Promise<ApplyReport> {
    this.#scope.assertOpen();
    options?.signal?.throwIfAborted();
    const wanted = new Map<string, ServerConfig>();
    for (const config of configs) {
      checkServerConfig(config);
      if (wanted.has(config.name)) throw new OptionError('name', config.name, 'a name that no other config has');
      wanted.set(config.name, this.#typed(config));
    }
    const of = (wire: Wire): ServerConfig[] => [...wanted.values()].filter(({ transport }) => transport === wire);
    for (const wire of WIRES) this.#pools[wire].check(of(wire));
    const untyped = [...wanted.values()].filter(({ transport }) => transport === undefined);
    this.#pools.http.check(untyped.map(asHttp));
    // From here on it happens, whole.
    const before = new Set(this.servers());
    const dropped = [...this.#undecided.keys()].filter((name) => !untyped.some((config) => config.name === name));
    await Promise.all(dropped.filter((name) => !wanted.has(name)).map((name) => this.removeServer(name)));
    const results = await Promise.allSettled(WIRES.map((wire) => this.#pools[wire].apply(of(wire), options)));
    this.#routes.clear();
    for (const wire of WIRES) for (const name of this.#pools[wire].servers()) this.#routes.set(name, this.#pools[wire]);
    for (const name of dropped) this.#undecided.delete(name);
    for (const config of untyped) {
      if (!this.#undecided.has(config.name)) this.#undecided.set(config.name, this.#decide(config));
    }
    const errors = results.flatMap((each) => (each.status === 'rejected' ? flat(each.reason) : []));
    if (errors.length > 0) throw new AggregateError(errors, `${errors.length} server(s) did not end cleanly`);
    const reports = results.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
    const unchanged = new Set([
      ...reports.flatMap((each) => each.unchanged),
      ...untyped.map(({ name }) => name).filter((name) => before.has(name)),
    ]);
    const now = this.servers();
    return {
      added: now.filter((name) => !before.has(name)),
      removed: [...before].filter((name) => !wanted.has(name)),
      restarted: now.filter((name) => before.has(name) && !unchanged.has(name)),
      unchanged: now.filter((name) => unchanged.has(name)),
    };
  }

  hasServer(name: string): boolean {
    return this.#find(name) !== undefined || this.#undecided.has(name);
  }

  servers(): string[] {
    return [...new Set([...WIRES.flatMap((wire) => this.#pools[wire].servers()), ...this.#undecided.keys()])];
  }

  /** What it was added with; undefined while its wire is not known, and for one that is not here. */
  config(name: string): ServerConfig | undefined {
    return this.#find(name)?.config(name);
  }

  state(name: string): ServerState {
    const undecided = this.#undecided.get(name);
    return undecided === undefined ? this.#known(name).state(name) : undecided.state;
  }

  stats(name: string): ServerStats {
    const undecided = this.#undecided.get(name);
    return undecided === undefined ? this.#known(name).stats(name) : undecided.stats;
  }

  /** Every server at one moment. */
  allStats(): ServerStats[] {
    return this.servers().map((name) => this.stats(name));
  }

  info(name: string, caller?: Caller): ServerInfo | undefined {
    return this.#undecided.has(name) ? undefined : this.#known(name).info(name, caller);
  }

  request(name: string, method: string, params?: Params, options?: RequestOptions): Promise<unknown> {
    const pool = this.#routes.get(name);
    if (pool !== undefined && !this.#scope.closing) return pool.request(name, method, params, options);
    return this.#pool(name, options?.signal).then((found) => found.request(name, method, params, options));
  }

  async notify(
    name: string,
    method: string,
    params?: Params,
    options?: { readonly caller?: Caller; readonly signal?: AbortSignal },
  ): Promise<void> {
    await (await this.#pool(name, options?.signal)).notify(name, method, params, options);
  }

  async listAll<K extends ListKind>(
    name: string,
    kind: K,
    options?: { readonly caller?: Caller; readonly signal?: AbortSignal; readonly maxPages?: number },
  ): Promise<CompleteList<ListItems[K]>> {
    return (await this.#pool(name, options?.signal)).listAll(name, kind, options);
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
    return (await this.#pool(name, options.signal)).subscribe(name, filter, options);
  }

  async lease(
    name: string,
    options?: { readonly caller?: Caller; readonly signal?: AbortSignal; readonly acquireTimeoutMs?: number },
  ): Promise<ConnectionLease> {
    return (await this.#pool(name, options?.signal)).lease(name, options);
  }

  /** Ends the connection of one session of a `bound` server; resolves when it is gone. */
  async releaseKey(name: string, key: string, options?: { readonly principal?: string }): Promise<void> {
    await (await this.#pool(name)).releaseKey(name, key, options);
  }

  on<K extends keyof PoolEvents>(event: K, listener: Listener<PoolEvents[K]>): Disposable {
    return this.#events.on(event, listener);
  }

  close(options?: CloseOptions): Promise<void> {
    const closing = this.#scope.close(options);
    for (const undecided of this.#undecided.values()) undecided.cancel(new ClosedError('UnifiedPool'));
    return closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #end(): void {
    for (const forward of this.#forwards) forward[Symbol.dispose]();
    this.#events.clear();
  }

  #forward<K extends keyof PoolEvents>(pool: ServerPool, event: K): Disposable {
    return pool.on(event, (payload) => void this.#events.emit(event, payload));
  }

  #claim(name: string, pool: ServerPool): void {
    if (this.#routes.has(name)) throw new OptionError('name', name, 'a name that one pool only has');
    this.#routes.set(name, pool);
  }

  /** The pool of a name whose wire is known, also one that was added to that pool itself. */
  #find(name: string): ServerPool | undefined {
    const routed = this.#routes.get(name);
    if (routed?.hasServer(name) === true) return routed;
    const found = WIRES.map((wire) => this.#pools[wire]).find((pool) => pool.hasServer(name));
    if (found !== undefined) this.#routes.set(name, found);
    return found;
  }

  /** @throws ServerNotFoundError, ClosedError */
  #known(name: string): ServerPool {
    this.#scope.assertOpen();
    const pool = this.#find(name);
    if (pool === undefined) throw new ServerNotFoundError(name, nearNames(name, this.servers()));
    return pool;
  }

  async #pool(name: string, signal?: AbortSignal): Promise<ServerPool> {
    this.#scope.assertOpen();
    const undecided = this.#undecided.get(name);
    if (undecided === undefined) return this.#known(name);
    return undecided.decide(signal);
  }

  #decide(config: ServerConfig): Undecided {
    const { http, sse } = this.#pools;
    return new Undecided(config, { http, sse }, this.#context, (pool) => {
      this.#undecided.delete(config.name);
      this.#routes.set(config.name, pool);
    });
  }

  /** A config without a type whose wire was found before keeps it. */
  #typed(config: ServerConfig): ServerConfig {
    if (config.transport !== undefined) return config;
    const pool = this.#find(config.name);
    if (pool === this.#pools.http) return { ...config, transport: 'http' };
    return pool === this.#pools.sse ? { ...config, transport: 'sse' } : config;
  }
}

function asHttp(config: ServerConfig): ServerConfig {
  return { ...config, transport: 'http' } as ServerConfig;
}

function flat(error: unknown): readonly unknown[] {
  return error instanceof AggregateError ? error.errors : [error];
}
