import { Mutex } from 'async-mutex';
import type { Params } from '../../connection/protocol/messages.js';
import { type CloseOptions, CloseScope } from '../../core/close/CloseScope.js';
import type { GracePeriod } from '../../core/close/GracePeriod.js';
import { messageOf, OptionError, type PoolkitError, ServerNotFoundError } from '../../core/errors.js';
import { Emitter, type Listener } from '../../core/events.js';
import { nearNames } from '../../core/nearNames.js';
import { checkServerConfig } from '../../registry/config/checkServerConfig.js';
import { fingerprint } from '../../registry/config/fingerprint.js';
import type { ServerConfig } from '../../registry/config/ServerConfig.js';
import type { Connector } from '../connectors/Connector.js';
import type { ListBounds } from '../ListBounds.js';
import { listAll } from '../listAll.js';
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
} from '../McpPool.js';
import { isSome } from './callers/callerKey.js';
import type { PoolContext } from './context.js';
import { ConnectionLimit, type Evictable } from './limits/ConnectionLimit.js';
import { Sweeper } from './limits/Sweeper.js';
import { type PoolOptions, resolvePoolOptions } from './options.js';
import { Server } from './Server.js';
import { startAll } from './startAll.js';

/**
 * Servers by name over a `Connector`: what `StdioPool`, `HTTPClientPool`, `SSEPool` and `UnifiedPool` are. It finds the
 * server and hands on; each server keeps its own connections, and none disturbs another.
 */
export abstract class ServerPool implements McpPool {
  readonly #servers = new Map<string, Server>();
  /** Removed or replaced, and not gone yet. */
  readonly #leaving = new Set<Server>();
  readonly #context: PoolContext;
  readonly #connector: Connector;
  readonly #scope: CloseScope;
  readonly #applying = new Mutex();

  /** The connector is the pool's from here on. @throws OptionError */
  protected constructor(name: string, connector: Connector, options: PoolOptions) {
    const pool = resolvePoolOptions(options);
    this.#connector = connector;
    const events = new Emitter<PoolEvents>((error, event) =>
      pool.logger.error({ error, event }, 'a listener of a pool threw'),
    );
    const totalLimit = new ConnectionLimit({
      max: pool.maxConnectionsTotal,
      clock: pool.clock,
      maxHoldMs: pool.maxHoldMs,
      candidates: () => this.#evictable(),
    });
    this.#context = { pool, connector, events, totalLimit, sweeper: new Sweeper(pool.clock) };
    this.#scope = new CloseScope(name, {
      clock: pool.clock,
      logger: pool.logger,
      // A removal may have been given more time than the close.
      onDeadline: () => {
        for (const server of this.#leaving) void server.remove({ graceMs: 0 }).catch((error: unknown) => error);
      },
      onRelease: (grace) => this.#release(grace),
    });
  }

  allStats(): ServerStats[] {
    return [...this.#servers.values()].map((server) => server.stats());
  }

  addServer(config: ServerConfig): void {
    this.#scope.assertOpen();
    this.#servers.set(config.name, this.#check(config));
  }

  async startServer(config: ServerConfig | string): Promise<void> {
    this.#scope.assertOpen();
    // Again after it failed, or while it runs: the same server.
    if (typeof config !== 'string' && !this.#holds(config)) this.addServer(config);
    await this.#server(typeof config === 'string' ? config : config.name).start();
  }

  async startAll(configs: Iterable<ServerConfig>): Promise<StartReport> {
    this.#scope.assertOpen();
    return startAll(configs, (config) => this.startServer(config));
  }

  async stopServer(name: string, options?: CloseOptions): Promise<void> {
    await this.#server(name).stop(options);
  }

  async restartServer(name: string): Promise<void> {
    this.#scope.assertOpen();
    await this.#server(name).restart();
  }

  async removeServer(name: string, options: CloseOptions & { readonly reason?: string } = {}): Promise<void> {
    const server = this.#server(name);
    this.#servers.delete(name);
    this.#context.pool.logger.info({ server: name, reason: options.reason }, 'server removed');
    await this.#end(server, options);
  }

  apply(configs: Iterable<ServerConfig>, options: { readonly signal?: AbortSignal } = {}): Promise<ApplyReport> {
    const wanted = [...configs];
    return this.#applying.runExclusive(async () => {
      this.#scope.assertOpen();
      options.signal?.throwIfAborted();
      const fresh = new Map<string, Server>();
      for (const config of wanted) {
        if (fresh.has(config.name)) throw new OptionError('name', config.name, 'a name that no other config has');
        fresh.set(config.name, this.#check(config, true));
      }
      const kept = (name: string): boolean => this.#servers.get(name)?.fingerprint === fresh.get(name)?.fingerprint;
      const report: ApplyReport = {
        added: [...fresh.keys()].filter((name) => !this.#servers.has(name)),
        removed: [...this.#servers.keys()].filter((name) => !fresh.has(name)),
        restarted: [...fresh.keys()].filter((name) => this.#servers.has(name) && !kept(name)),
        unchanged: [...fresh.keys()].filter(kept),
      };
      for (const name of report.added) this.#servers.set(name, fresh.get(name) as Server);
      const results = await Promise.allSettled([
        ...report.removed.map((name) => this.removeServer(name, { reason: 'no longer configured' })),
        ...report.restarted.map((name) => this.#replace(name, fresh.get(name) as Server)),
      ]);
      const errors = results.flatMap((each) => (each.status === 'rejected' ? [each.reason as unknown] : []));
      if (errors.length > 0) throw new AggregateError(errors, `${errors.length} server(s) did not end cleanly`);
      return report;
    });
  }

  hasServer(name: string): boolean {
    return this.#servers.has(name);
  }

  servers(): string[] {
    return [...this.#servers.keys()];
  }

  config(name: string): ServerConfig | undefined {
    return this.#servers.get(name)?.config;
  }

  state(name: string): ServerState {
    return this.#server(name).state;
  }

  stats(name: string): ServerStats {
    return this.#server(name).stats();
  }

  info(name: string, caller?: Caller): ServerInfo | undefined {
    return this.#server(name).info(caller);
  }

  request(name: string, method: string, params?: Params, options: RequestOptions = {}): Promise<unknown> {
    const server = this.#servers.get(name);
    if (server === undefined || this.#scope.closing) return Promise.reject(this.#refusal(name));
    return server.calls.request(method, params, options);
  }

  async notify(
    name: string,
    method: string,
    params?: Params,
    options: { readonly caller?: Caller; readonly signal?: AbortSignal } = {},
  ): Promise<void> {
    this.#scope.assertOpen();
    await this.#server(name).calls.notify(method, params, options);
  }

  async listAll<K extends ListKind>(
    name: string,
    kind: K,
    { caller, signal, ...bounds }: ListBounds & { readonly caller?: Caller; readonly signal?: AbortSignal } = {},
  ): Promise<CompleteList<ListItems[K]>> {
    const { clock, logger } = this.#context.pool;
    const call = { ...(caller && { caller }), ...(signal && { signal }) };
    const request = (method: string, params: Params, deadlineMs: number): Promise<unknown> =>
      this.request(name, method, params, deadlineMs === Number.POSITIVE_INFINITY ? call : { ...call, deadlineMs });
    return listAll({ server: name, request, nowMs: () => clock.now(), logger }, kind, bounds);
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
    this.#scope.assertOpen();
    return this.#server(name).subscribe(filter, options);
  }

  async lease(
    name: string,
    options: { readonly caller?: Caller; readonly signal?: AbortSignal; readonly acquireTimeoutMs?: number } = {},
  ): Promise<ConnectionLease> {
    this.#scope.assertOpen();
    return this.#server(name).calls.lease(options);
  }

  async releaseKey(name: string, key: string, options: { readonly principal?: string } = {}): Promise<void> {
    await this.#server(name).partitions.release(options.principal, key);
  }

  on<K extends keyof PoolEvents>(event: K, listener: Listener<PoolEvents[K]>): Disposable {
    return this.#context.events.on(event, listener);
  }

  /** With `graceMs: 0` nothing is waited for but the proof: processes are killed in this very turn. */
  close(options?: CloseOptions): Promise<void> {
    const closing = this.#scope.close(options);
    if (options?.graceMs === 0) this.#connector.kill?.();
    return closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  *#evictable(): Iterable<Evictable> {
    for (const { partitions } of this.#servers.values()) yield* partitions.evictable();
  }

  /** Whether exactly this is registered. */
  #holds(config: ServerConfig): boolean {
    const held = this.#servers.get(config?.name);
    if (held === undefined) return false;
    checkServerConfig(config);
    return held.fingerprint === fingerprint(config);
  }

  #server(name: string): Server {
    const server = this.#servers.get(name);
    if (server === undefined) throw this.#refusal(name);
    return server;
  }

  #refusal(name: string): PoolkitError {
    try {
      this.#scope.assertOpen();
    } catch (error) {
      return error as PoolkitError;
    }
    return new ServerNotFoundError(name, nearNames(name, this.#servers.keys()));
  }

  /** A server ready to be registered. @throws OptionError; nothing has happened then. */
  #check(config: ServerConfig, replaces = false): Server {
    checkServerConfig(config);
    const { transports } = this.#connector;
    if (!transports.includes(config.transport)) {
      throw new OptionError(
        `servers.${config.name}.transport`,
        config.transport,
        transports.map((each) => (each === undefined ? 'a url alone' : `'${each}'`)).join(' or '),
      );
    }
    if (!replaces && this.#servers.has(config.name)) {
      throw new OptionError('name', config.name, 'a name that is not taken in this pool');
    }
    const server = new Server(config, this.#context);
    const attributes = this.#connector.attributes(config.transport);
    if (server.options.sharing === 'shared' && !attributes && isSome(server.options.clientCapabilities)) {
      throw new OptionError(
        `servers.${config.name}.clientCapabilities`,
        server.options.clientCapabilities,
        "none with sharing 'shared' on this transport, which cannot tell whose request comes back; use 'leased' or 'bound'",
      );
    }
    return server;
  }

  /** Ends it for good; a close meanwhile waits for it, within its own grace. */
  async #end(server: Server, options?: CloseOptions): Promise<void> {
    this.#leaving.add(server);
    try {
      await server.remove(options);
    } finally {
      this.#leaving.delete(server);
    }
  }

  /** Calls that come meanwhile wait for the old one's end. One that was up is started again. */
  async #replace(name: string, fresh: Server): Promise<void> {
    const old = this.#server(name);
    const up = ['ready', 'starting', 'degraded'].includes(old.state);
    const gone = this.#end(old);
    fresh.replace(old, gone);
    this.#servers.set(name, fresh);
    await gone;
    if (!up || this.#servers.get(name) !== fresh || fresh.state === 'stopped') return;
    // How it goes is told by events and state; the config was applied either way.
    fresh
      .start()
      .catch((error: unknown) =>
        this.#context.pool.logger.warn({ server: name, error: messageOf(error) }, 'restart failed'),
      );
  }

  async #release(grace: GracePeriod): Promise<void> {
    const servers = [...this.#servers.values(), ...this.#leaving];
    const shortened = grace.onShorten((graceMs) => {
      for (const server of servers) void server.remove({ graceMs }).catch((error: unknown) => error);
    });
    const results = await Promise.allSettled(servers.map((server) => server.remove({ graceMs: grace.remainingMs })));
    shortened[Symbol.dispose]();
    const last = await Promise.allSettled([this.#connector.close({ graceMs: grace.remainingMs })]);
    this.#context.totalLimit.close();
    this.#context.sweeper.close();
    this.#context.events.clear();
    const errors = [...results, ...last].flatMap((each) =>
      each.status === 'rejected' ? [each.reason as unknown] : [],
    );
    if (errors.length > 0) throw new AggregateError(errors);
  }
}
