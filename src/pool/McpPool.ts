import type {
  CallToolResult,
  CompleteRequest,
  CompleteResult,
  GetPromptResult,
  Prompt,
  ReadResourceResult,
  Resource,
  ResourceTemplateType,
  Tool,
} from '@modelcontextprotocol/client';
import type { Caller } from '../connection/calls/Caller.js';
import type { Middleware } from '../connection/calls/Middleware.js';
import type {
  CallOptions,
  Params,
  Progress,
  RequestHandler,
  ServerInfo,
  ServerNotice,
  ServerRequest,
} from '../connection/protocol/messages.js';
import type { Closeable, CloseOptions } from '../core/close/CloseScope.js';
import type { Listener } from '../core/events.js';
import type { ServerConfig } from '../registry/config/ServerConfig.js';
import type { ListBounds } from './ListBounds.js';
import type { ResultOf } from './MethodMap.js';
import type {
  ApplyReport,
  PoolEvents,
  PoolInspection,
  RestartReason,
  ServerState,
  ServerStats,
  StartReport,
} from './reports.js';

export type {
  ApplyReport,
  Caller,
  PoolEvents,
  PoolInspection,
  Progress,
  RequestHandler,
  RestartReason,
  ServerInfo,
  ServerNotice,
  ServerRequest,
  ServerState,
  ServerStats,
  StartReport,
};

/** One call: what every connection takes, and what only a pool does. */
export interface RequestOptions extends CallOptions {
  /** Who asks: what keeps users and sessions apart. @defaultValue a caller of no principal */
  readonly caller?: Caller;
  /**
   * On a connection of the caller's own, `onNotification` and `onRequest` get only what came on the call's own stream; the rest
   * goes to the pool's events. @defaultValue false
   */
  readonly attributedOnly?: boolean;
  /** The call may be sent again when its outcome is unknown. @defaultValue false */
  readonly idempotent?: boolean;
  /** Longest in all, in ms from now: limiter, queue, start and call. @defaultValue none */
  readonly deadlineMs?: number;
  /** What the call is a part of, such as a client's request: traces hand it on as it is. @defaultValue none */
  readonly parent?: object;
}

/** Options of a call whose result is a parsed, typed one. */
export type TypedRequestOptions = RequestOptions & { readonly raw?: false };

export type ListKind = 'tools' | 'prompts' | 'resources' | 'resourceTemplates';

export interface ListItems {
  readonly tools: Tool;
  readonly prompts: Prompt;
  readonly resources: Resource;
  readonly resourceTemplates: ResourceTemplateType;
}

/** Every page of a list. */
export interface CompleteList<T = unknown> {
  readonly items: readonly T[];
  readonly pages: number;
  /** The smallest freshness hint of the pages; undefined when one gave none. */
  readonly ttlMs: number | undefined;
  /** `private` if one page was. */
  readonly cacheScope: 'public' | 'private' | undefined;
}

/** What a legacy subscription names; modern servers take the rest too. */
export interface SubscriptionFilter {
  readonly resourceUris?: readonly string[];
  readonly toolsListChanged?: boolean;
  readonly promptsListChanged?: boolean;
  readonly resourcesListChanged?: boolean;
}

export interface Subscription extends AsyncDisposable {
  /** What the server agreed to tell of: in the legacy era what it can, by its capabilities. */
  readonly filter: SubscriptionFilter;
  /** Resolves when it is over, by `close`, its signal or the server. */
  readonly ended: Promise<void>;
  close(): Promise<void>;
}

/** A whole connection, borrowed. */
export interface ConnectionLease extends AsyncDisposable {
  readonly server: string;
  readonly info: ServerInfo;
  /** Aborted when the connection dies or the lease is revoked. */
  readonly signal: AbortSignal;
  request<M extends string>(method: M, params?: Params, options?: TypedRequestOptions): Promise<ResultOf<M>>;
  request(method: string, params?: Params, options?: RequestOptions): Promise<unknown>;
  notify(method: string, params?: Params): Promise<void>;
  on(event: 'notification', listener: Listener<ServerNotice>): Disposable;
  on(event: 'request', listener: RequestHandler): Disposable;
  /** Gives it back, once the calls made on it have settled; new ones are refused at once. Idempotent. */
  release(): void;
}

/** Servers by name, and calls to them: what `StdioPool`, `HTTPClientPool`, `SSEPool` and `UnifiedPool` are. */
export interface McpPool extends AsyncDisposable, Closeable {
  /** Registers; starts on first use. A second add of a name throws `OptionError`. */
  addServer(config: ServerConfig): void;
  /**
   * Registers it, unless it is registered with this very config, and starts it: resolves when it is initialised, rejects
   * with `StartError`. After a failure it may be called again.
   */
  startServer(config: ServerConfig | string): Promise<void>;
  /** Starts all; one bad server never stops the others. */
  startAll(configs: Iterable<ServerConfig>): Promise<StartReport>;
  /** Ends it; then `ServerStoppedError` until `startServer(name)`. */
  stopServer(name: string, options?: CloseOptions): Promise<void>;
  /** Stop, then start; resets backoff and breaker. Concurrent callers share one. Rejects with `StartError`, of several targets with each that failed. */
  restartServer(name: string): Promise<void>;
  removeServer(name: string, options?: CloseOptions & { readonly reason?: string }): Promise<void>;
  /** Makes the pool hold exactly `configs`: adds, removes, restarts only what changed. Validated whole first. Holds at once; resolves when what it ended is gone. */
  apply(configs: Iterable<ServerConfig>, options?: { readonly signal?: AbortSignal }): Promise<ApplyReport>;
  hasServer(name: string): boolean;
  servers(): string[];
  /** What it was added with; undefined for one that is not here. */
  config(name: string): ServerConfig | undefined;
  state(name: string): ServerState;
  stats(name: string): ServerStats;
  /** Every server at one moment. */
  allStats(): ServerStats[];
  /** All it holds and has counted, as one plain object. */
  inspect(): PoolInspection;
  /** What the handshake told; undefined before one. */
  info(name: string, caller?: Caller): ServerInfo | undefined;
  /** One request of any method; its result is typed where `MethodMap` knows the method, and bytes with `raw: true`. */
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
  /** Calls a tool. A tool that failed is a result with `isError`; what rejects is the call. */
  callTool(name: string, tool: string, args?: Params, options?: TypedRequestOptions): Promise<CallToolResult>;
  readResource(name: string, uri: string, options?: TypedRequestOptions): Promise<ReadResourceResult>;
  getPrompt(
    name: string,
    prompt: string,
    args?: Readonly<Record<string, string>>,
    options?: TypedRequestOptions,
  ): Promise<GetPromptResult>;
  /** Completes an argument of a prompt or of a resource template. */
  complete(name: string, params: CompleteRequest['params'], options?: TypedRequestOptions): Promise<CompleteResult>;
  notify(
    name: string,
    method: string,
    params?: Params,
    options?: { readonly caller?: Caller; readonly signal?: AbortSignal },
  ): Promise<void>;
  /** Every page of a list, within bounds. A server whose cursors run in a circle is warned of, and what it gave is kept. */
  listAll<K extends ListKind>(
    name: string,
    kind: K,
    options?: ListBounds & { readonly caller?: Caller; readonly signal?: AbortSignal },
  ): Promise<CompleteList<ListItems[K]>>;
  /** Takes no slot; taken up again after a reconnect. URIs that middleware refuses are left out; where nothing else was asked for, it rejects. */
  subscribe(
    name: string,
    filter: SubscriptionFilter,
    options: {
      readonly caller?: Caller;
      readonly signal?: AbortSignal;
      readonly onNotification: (notice: ServerNotice) => void;
    },
  ): Promise<Subscription>;
  lease(
    name: string,
    options?: { readonly caller?: Caller; readonly signal?: AbortSignal; readonly acquireTimeoutMs?: number },
  ): Promise<ConnectionLease>;
  /** Ends the connection of one session of a `bound` server; resolves when it is gone. */
  releaseKey(name: string, key: string, options?: { readonly principal?: string }): Promise<void>;
  /**
   * Has every call from now on pass through `middleware`, innermost so far, until disposed: requests and notifications of either
   * side, lists, leases and subscriptions included; handshakes and pings of the pool's own are not.
   */
  use(middleware: Middleware): Disposable;
  on<K extends keyof PoolEvents>(event: K, listener: Listener<PoolEvents[K]>): Disposable;
  close(options?: CloseOptions): Promise<void>;
}
