import type { CloseOptions } from '../../src/core/close/CloseScope.js';
import { RpcError, ServerNotFoundError } from '../../src/core/errors.js';
import { Emitter, type Listener } from '../../src/core/events.js';
import type {
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
  Subscription,
  SubscriptionFilter,
} from '../../src/pool/McpPool.js';

type Params = Readonly<Record<string, unknown>>;

type Handler = (params: Params | undefined, options: RequestOptions) => unknown;

/** A server that is a table of functions by method. */
export interface FakeServer {
  readonly capabilities?: ServerInfo['capabilities'];
  readonly instructions?: string;
  readonly lists?: Partial<Record<ListKind, readonly unknown[] | (() => Promise<readonly unknown[]>)>>;
  readonly methods?: Readonly<Record<string, Handler>>;
  state?: ServerState;
}

/** A pool without processes: what the gateway asks of one and what it was asked. Raw results are bytes, as promised. */
export class FakePool implements McpPool {
  readonly calls: { server: string; method: string; params: unknown; options: RequestOptions }[] = [];
  readonly subscriptions: { server: string; uri: string; closed: boolean; notify: (notice: ServerNotice) => void }[] =
    [];
  readonly #servers: Map<string, FakeServer>;
  readonly #infos = new WeakMap<FakeServer, ServerInfo>();
  readonly #events = new Emitter<PoolEvents>((error) => {
    throw error;
  });

  constructor(servers: Readonly<Record<string, FakeServer>>) {
    this.#servers = new Map(Object.entries(servers));
  }

  use(): never {
    throw new Error('a pool without processes has no middleware');
  }

  emit<K extends keyof PoolEvents>(event: K, payload: PoolEvents[K]): void {
    this.#events.emit(event, payload);
  }

  listeners(event: keyof PoolEvents): number {
    return this.#events.listenerCount(event);
  }

  add(name: string, server: FakeServer): void {
    this.#servers.set(name, server);
  }

  remove(name: string): void {
    this.#servers.delete(name);
  }

  servers(): string[] {
    return [...this.#servers.keys()];
  }

  hasServer(name: string): boolean {
    return this.#servers.has(name);
  }

  state(name: string): ServerState {
    return this.#find(name).state ?? 'ready';
  }

  info(name: string): ServerInfo {
    const { capabilities = { tools: {} }, instructions } = this.#find(name);
    const serverInfo = { name, version: '1.0.0' };
    // As of a connection: the same one for as long as it is up.
    const known = this.#infos.get(this.#find(name));
    if (known !== undefined) return known;
    const info = { era: 'legacy', protocolVersion: '2025-11-25', capabilities, serverInfo, instructions } as const;
    this.#infos.set(this.#find(name), info);
    return info;
  }

  // biome-ignore lint/suspicious/noExplicitAny: it answers whatever a test says.
  async request(server: string, method: string, params?: Params, options: RequestOptions = {}): Promise<any> {
    const handler = this.#find(server).methods?.[method];
    this.calls.push({ server, method, params, options });
    if (handler === undefined) throw new RpcError(server, -32_601, `Method not found: ${method}`);
    const { signal } = options;
    const aborted = new Promise<never>((_, reject) => {
      signal?.addEventListener('abort', () => reject(signal.reason), { once: true });
    });
    const result = await Promise.race([handler(params, options), aborted]);
    return options.raw === true && !(result instanceof Uint8Array) ? Buffer.from(JSON.stringify(result)) : result;
  }

  async listAll<K extends ListKind>(server: string, kind: K): Promise<CompleteList<ListItems[K]>> {
    this.calls.push({ server, method: `${kind}/list`, params: undefined, options: {} });
    const list = this.#find(server).lists?.[kind] ?? [];
    const items = (typeof list === 'function' ? await list() : list) as readonly ListItems[K][];
    return { items, pages: 1, ttlMs: undefined, cacheScope: undefined };
  }

  async subscribe(
    server: string,
    { resourceUris = [] }: SubscriptionFilter,
    options: { readonly onNotification: (notice: ServerNotice) => void; readonly signal?: AbortSignal },
  ): Promise<Subscription> {
    this.#find(server);
    const entry = { server, uri: resourceUris[0] ?? '', closed: false, notify: options.onNotification };
    this.subscriptions.push(entry);
    let end: () => void = () => undefined;
    const ended = new Promise<void>((resolve) => {
      end = resolve;
    });
    const close = async (): Promise<void> => {
      entry.closed = true;
      end();
    };
    options.signal?.addEventListener('abort', () => void close(), { once: true });
    return { filter: {}, ended, close, [Symbol.asyncDispose]: close };
  }

  on<K extends keyof PoolEvents>(event: K, listener: Listener<PoolEvents[K]>): Disposable {
    return this.#events.on(event, listener);
  }

  addServer(): void {
    throw new Error('not in the fake');
  }
  inspect(): never {
    throw new Error('not in the fake');
  }
  startServer = this.#no;
  callTool = this.#no;
  readResource = this.#no;
  getPrompt = this.#no;
  complete = this.#no;
  startAll = this.#no;
  stopServer = this.#no;
  restartServer = this.#no;
  removeServer = this.#no;
  apply = this.#no;
  notify = this.#no;
  config(): undefined {
    return undefined;
  }
  releaseKey(): Promise<void> {
    return Promise.resolve();
  }
  allStats(): ServerStats[] {
    return [];
  }
  stats(): ServerStats {
    throw new Error('not in the fake');
  }
  lease(): Promise<ConnectionLease> {
    return this.#no();
  }
  async close(_?: CloseOptions): Promise<void> {
    this.#events.clear();
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #no(): Promise<never> {
    throw new Error('not in the fake');
  }

  #find(name: string): FakeServer {
    const server = this.#servers.get(name);
    if (server === undefined) throw new ServerNotFoundError(name);
    return server;
  }
}
