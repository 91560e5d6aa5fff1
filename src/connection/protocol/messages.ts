import type { ClientCapabilities, Implementation, ServerCapabilities, Tool } from '@modelcontextprotocol/client';
import type { Cancellation } from '../../core/wait/Cancellation.js';
import type { Era } from '../../registry/config/ServerConfig.js';
import type { OnLarge } from '../channel/large/ResultSink.js';

/** So many messages an array may have, from a client or a server. Only version 2025-03-26 has arrays; real ones are small. */
export const MAX_BATCH = 100;

export type Params = Readonly<Record<string, unknown>>;

/** Where a notification says which subscription it belongs to (2026-07-28, subscriptions). */
export const META_SUBSCRIPTION_ID = 'io.modelcontextprotocol/subscriptionId';

/** What each kind of list is asked for by. */
export const LIST_METHODS = Object.freeze({
  tools: 'tools/list',
  prompts: 'prompts/list',
  resources: 'resources/list',
  resourceTemplates: 'resources/templates/list',
});

/** That a list of the server has changed: it concerns all who use the connection. */
export const LIST_CHANGES: ReadonlySet<string> = new Set([
  'notifications/tools/list_changed',
  'notifications/prompts/list_changed',
  'notifications/resources/list_changed',
]);

/** Those of the lists that a server has. */
export const changesIn = ({ info }: { readonly info: { readonly capabilities: object } }): string[] =>
  [...LIST_CHANGES].filter((method) => (method.split('/')[1] as string) in info.capabilities);

/** A notification from a server. */
export interface ServerNotice {
  readonly method: string;
  readonly params?: Params;
}

/** A request from a server. */
export interface ServerRequest extends ServerNotice {
  readonly id: string | number;
}

/** Answers a server's request: resolves to the result sent back. An `RpcError` thrown is sent as it is. `server`: which asks, where it is known. */
export type RequestHandler = (
  request: ServerRequest,
  context: { readonly signal: AbortSignal; readonly server?: string },
) => Promise<unknown>;

export interface Progress {
  readonly progressToken: string | number;
  readonly progress: number;
  readonly total?: number;
  readonly message?: string;
}

/** What the handshake told about a server. */
export interface ServerInfo {
  readonly era: Era;
  readonly protocolVersion: string;
  readonly capabilities: ServerCapabilities;
  readonly serverInfo: Implementation | undefined;
  readonly instructions: string | undefined;
}

/** The client that a call is made for, as a request of the modern era names it. */
export interface CallClient {
  readonly clientInfo?: Implementation | undefined;
  readonly capabilities: ClientCapabilities;
}

/** One call on one connection. */
export interface CallOptions {
  /** Aborting rejects at once with `signal.reason` and cancels the call upstream. @defaultValue none */
  readonly signal?: AbortSignal;
  /** Resolves to the result's bytes (`Uint8Array`), unparsed. @defaultValue false */
  readonly raw?: boolean;
  /**
   * The params as JSON text, sent as it stands but for their `_meta`: numbers that JavaScript cannot hold and the order of
   * members survive. What it says must be what the params say. @defaultValue none: the params are written anew
   */
  readonly paramsText?: string;
  /** Modern era: the client that the call is made for, in place of the connection's own. @defaultValue the connection's own */
  readonly client?: CallClient;
  /** The tool being called: its schema says which arguments go into HTTP headers (modern era). @defaultValue none: no arguments go into headers */
  readonly toolDefinition?: Tool;
  /** Longest wait, in ms, for a slot and for the transport to take the call. @defaultValue the server's `acquireTimeoutMs` */
  readonly acquireTimeoutMs?: number;
  /** @internal Longest wait, in ms, for a new session of the server in the place of a lost one. */
  readonly sessionWaitMs?: number;
  /** Longest call, in ms from its first send: what is refused unread, and sent again, has what is left. @defaultValue the server's `timeouts` */
  readonly timeoutMs?: number;
  /** Progress starts `timeoutMs` anew. @defaultValue false */
  readonly resetTimeoutOnProgress?: boolean;
  /** The call's time stands still while its server waits for an answer of the caller, such as a form that a human fills in. @defaultValue false */
  readonly pauseWhileAsked?: boolean;
  /** Longest call however much progress comes, in ms from its send. @defaultValue the pool's `maxTotalTimeoutMs` */
  readonly maxTotalTimeoutMs?: number;
  /** @internal In place of `signal`: costs less until it is aborted. */
  readonly cancellation?: Cancellation | undefined;
  /** @internal It goes out once: it is not sent again in a new session when its own is refused. */
  readonly lastSend?: boolean;
  /** @internal Clock ms at which the call is over, sent or not: what a pool makes of `deadlineMs`. */
  readonly untilMs?: number;
  /** @internal With `raw`: a large result may be taken in pieces while it comes. The call then resolves to a `TakenResult`. */
  readonly onLarge?: OnLarge | undefined;
  /** @internal Who makes the call, as the credentials hook is told when the server refuses it (401). */
  readonly caller?: object;
  /** @internal Goes into the `_meta` over what the params have there: trace context. */
  readonly meta?: Params | undefined;
  /** @internal Told the sizes of the call's messages in bytes, for traces. */
  readonly meter?: { sentBytes: number; receivedBytes: number } | undefined;
  /** Asks for progress; called with the caller's own token. @defaultValue none: no progress is asked for */
  readonly onProgress?: (progress: Progress) => void;
  /** Notifications that belong to this call: those of its own stream. @defaultValue none: they go to the listeners of the pool */
  readonly onNotification?: (notice: ServerNotice) => void;
  /** Requests of the server that belong to this call: those of its own stream. @defaultValue none: they go to the listeners of the pool */
  readonly onRequest?: RequestHandler;
}
