import type { CompleteRequest } from '@modelcontextprotocol/client';
import { ConnectionLimit } from '../../concurrent/ConnectionLimit.js';
import type { Middleware } from '../../connection/calls/Middleware.js';
import { PoolMiddleware } from '../../connection/calls/PoolMiddleware.js';
import type { Params } from '../../connection/protocol/messages.js';
import { type CloseOptions, CloseScope } from '../../core/close/CloseScope.js';
import type { GracePeriod } from '../../core/close/GracePeriod.js';
import { ClosedError, type PoolkitError } from '../../core/errors.js';
import { Emitter, type Listener } from '../../core/events.js';
import { listenerErrors } from '../../core/limitedLogger.js';
import { checkNames, checkOptions } from '../../core/options.js';
import { Sweeper } from '../../core/time/Sweeper.js';
import { sharedAbort } from '../../core/wait/sharedAbort.js';
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
  PoolInspection,
  RequestOptions,
  ServerInfo,
  ServerState,
  ServerStats,
  StartReport,
  Subscription,
  SubscriptionFilter,
  TypedRequestOptions,
} from '../McpPool.js';
import type { ResultOf } from '../MethodMap.js';
import { withSignal } from './callOptions.js';
import { SELF, traceRefusal } from './calls/trace.js';
import type { PoolContext } from './context.js';
import { type PoolOptions, resolvePoolOptions } from './options.js';
import { FILTER_NAMES } from './partitions/subscriptionFilter.js';
import { type AnyServer, ServerTable } from './ServerTable.js';

type SubscribeOptions = Parameters<McpPool['subscribe']>[2];
/**
 * Servers by name over a `Connector`: what `StdioPool`, `HTTPClientPool`, `SSEPool` and `UnifiedPool` are. It finds the
 * server and hands on; each server keeps its own connections, and none disturbs another.
 */
export abstract class ServerPool implements McpPool {
  /** @internal */
  readonly [SELF] = this;
  readonly #servers: ServerTable;
  readonly #byName: ReadonlyMap<string, AnyServer>;
  readonly #middleware: PoolMiddleware;
  readonly #closing = sharedAbort();
  readonly #context: PoolContext;
  readonly #connector: Connector;
  readonly #scope: CloseScope;

  /** The connector is the pool's from here on. @throws OptionError */
  protected constructor(name: string, connector: Connector, options: PoolOptions) {
    const pool = resolvePoolOptions(options);
    this.#connector = connector;
    const events = new Emitter<PoolEvents>(listenerErrors(pool));
    const { clock, maxConnectionsTotal: max, maxHoldMs } = pool;
    const candidates = (): ReturnType<ServerTable['evictable']> => this.#servers.evictable();
    const totalLimit = new ConnectionLimit({ max, clock, maxHoldMs, maxStarting: Math.ceil(0.75 * max), candidates });
    this.#middleware = new PoolMiddleware(pool, (server, caller) => this.#byName.get(server)?.info(caller));
    const sweeper = new Sweeper(pool.clock);
    this.#context = { owner: this, pool, connector, events, totalLimit, middleware: this.#middleware, sweeper };
    this.#servers = new ServerTable(this.#context);
    this.#byName = this.#servers.byName;
    this.#scope = new CloseScope(name, {
      clock: pool.clock,
      logger: pool.logger,
      onRefuse: () => this.#closing.abort(new ClosedError(name)),
      onDeadline: () => this.#servers.hurry(),
      onRelease: (grace) => this.#release(grace),
    });
  }

  allStats(): ServerStats[] {
    return [...this.#byName.values()].map((server) => server.stats());
  }

  addServer(config: ServerConfig): void {
    this.#scope.assertOpen();
    this.#servers.add(config);
  }

  async startServer(config: ServerConfig | string): Promise<void> {
    this.#scope.assertOpen();
    // Again after it failed, or while it runs: the same server.
    if (typeof config !== 'string' && !this.#servers.holds(config)) this.addServer(config);
    await this.#server(typeof config === 'string' ? config : config.name).start();
  }

  async startAll(configs: Iterable<ServerConfig>): Promise<StartReport> {
    this.#scope.assertOpen();
    return this.#servers.startAll(configs, (config) => this.startServer(config));
  }

  async stopServer(name: string, options?: CloseOptions): Promise<void> {
    await this.#server(name).stop(options);
  }

  async restartServer(name: string): Promise<void> {
    this.#scope.assertOpen();
    await this.#server(name).restart();
  }

  async removeServer(name: string, options: CloseOptions & { readonly reason?: string } = {}): Promise<void> {
    await this.#servers.remove(this.#server(name), options);
  }

  apply(configs: Iterable<ServerConfig>, options: { readonly signal?: AbortSignal } = {}): Promise<ApplyReport> {
    return this.#servers.apply(configs, options, () => this.#scope.assertOpen());
  }

  inspect(): PoolInspection {
    const { pool, totalLimit } = this.#context;
    return {
      name: this.#scope.name,
      closing: this.#scope.closing,
      servers: this.allStats(),
      leaving: this.#servers.leaving,
      connections: totalLimit.taken,
      maxConnectionsTotal: pool.maxConnectionsTotal,
      maxConnections: pool.maxConnections,
      waitingForConnection: totalLimit.waiting,
    };
  }

  hasServer(name: string): boolean {
    return this.#byName.has(name);
  }

  servers(): string[] {
    return [...this.#byName.keys()];
  }

  config(name: string): ServerConfig | undefined {
    return this.#byName.get(name)?.config;
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

  request<M extends string>(
    name: string,
    method: M,
    params?: Params,
    options?: TypedRequestOptions,
  ): Promise<ResultOf<M>>;
  request(
    name: string,
    method: string,
    params: Params | undefined,
    options: RequestOptions & { readonly raw: true },
  ): Promise<Uint8Array>;
  request(name: string, method: string, params?: Params, options?: RequestOptions): Promise<unknown>;
  request(name: string, method: string, params?: Params, given: RequestOptions = {}): Promise<unknown> {
    // A user's connection knows signals alone.
    const options = this.#context.pool.wrapConnection === undefined ? given : withSignal(given);
    const server = this.#byName.get(name);
    if (server === undefined || this.#scope.closing) return this.#refused(name, method, params, options);
    if (this.#middleware.empty) return server.calls.request(method, params, options);
    return this.#middleware.request(name, method, params, withSignal(options), (...given) =>
      server.calls.request(method, ...given),
    );
  }

  callTool(name: string, tool: string, args?: Params, options?: TypedRequestOptions): Promise<ResultOf<'tools/call'>> {
    return this.request(name, 'tools/call', { name: tool, ...(args && { arguments: args }) }, options);
  }

  readResource(name: string, uri: string, options?: TypedRequestOptions): Promise<ResultOf<'resources/read'>> {
    return this.request(name, 'resources/read', { uri }, options);
  }

  getPrompt(
    name: string,
    prompt: string,
    args?: Readonly<Record<string, string>>,
    options?: TypedRequestOptions,
  ): Promise<ResultOf<'prompts/get'>> {
    return this.request(name, 'prompts/get', { name: prompt, ...(args && { arguments: args }) }, options);
  }

  complete(
    name: string,
    params: CompleteRequest['params'],
    options?: TypedRequestOptions,
  ): Promise<ResultOf<'completion/complete'>> {
    return this.request(name, 'completion/complete', params, options);
  }

  async notify(
    name: string,
    method: string,
    params?: Params,
    options: Pick<RequestOptions, 'caller' | 'signal'> = {},
  ): Promise<void> {
    this.#scope.assertOpen();
    const { calls } = this.#server(name);
    await this.#middleware.notify(name, method, params, options, (own) => calls.notify(method, own, options));
  }

  async listAll<K extends ListKind>(
    name: string,
    kind: K,
    options: ListBounds & Pick<RequestOptions, 'caller' | 'signal'> = {},
  ): Promise<CompleteList<ListItems[K]>> {
    const { caller, signal, ...bounds } = checkOptions('listAll', options);
    const { clock, logger } = this.#context.pool;
    const call = { raw: true, ...(caller && { caller }), ...(signal && { signal }) };
    const request = (method: string, params: Params, deadlineMs: number): Promise<unknown> =>
      this.request(name, method, params, deadlineMs === Number.POSITIVE_INFINITY ? call : { ...call, deadlineMs });
    const signals = [this.#closing.signal, signal];
    return listAll({ server: name, caller, request, clock, signals, logger }, kind, bounds);
  }

  async subscribe(name: string, filter: SubscriptionFilter, options: SubscribeOptions): Promise<Subscription> {
    this.#scope.assertOpen();
    checkNames('subscribe.filter', filter, FILTER_NAMES);
    checkOptions('subscribe', options);
    const server = this.#server(name);
    const onNotification = this.#middleware.listener(name, options.caller, options.onNotification);
    return server.subscribe(await this.#middleware.subscribing(name, filter, options), { ...options, onNotification });
  }

  async lease(name: string, options: Parameters<McpPool['lease']>[1] = {}): Promise<ConnectionLease> {
    this.#scope.assertOpen();
    return this.#middleware.lease(await this.#server(name).calls.lease(options), options.caller);
  }

  async releaseKey(name: string, key: string, options: { readonly principal?: string } = {}): Promise<void> {
    await this.#server(name).partitions.release(options.principal, key);
  }

  use(middleware: Middleware): Disposable {
    this.#scope.assertOpen();
    return this.#middleware.use(middleware);
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

  #server(name: string): AnyServer {
    const server = this.#byName.get(name);
    if (server === undefined) throw this.#refusal(name);
    return server;
  }

  /** A call that reached no server: its trace begins and ends here. */
  async #refused(name: string, method: string, params: Params | undefined, options: RequestOptions): Promise<never> {
    throw traceRefusal(this.#refusal(name), [this, this.#context.pool.clock, name, method, params, options]);
  }

  #refusal(name: string): PoolkitError {
    try {
      this.#scope.assertOpen();
      return this.#servers.missing(name);
    } catch (error) {
      return error as PoolkitError;
    }
  }

  async #release(grace: GracePeriod): Promise<void> {
    const errors = await this.#servers.close(grace);
    await this.#connector.close({ graceMs: grace.remainingMs }).catch((error: unknown) => errors.push(error));
    await this.#middleware.close(new ClosedError(this.#scope.name), grace.remainingMs);
    this.#context.totalLimit.close();
    this.#context.sweeper.close();
    this.#context.events.clear();
    if (errors.length > 0) throw new AggregateError(errors);
  }
}
