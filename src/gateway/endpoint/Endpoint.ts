import type { ClientCapabilities, Implementation, ServerCapabilities, Tool } from '@modelcontextprotocol/client';
import { NotSentError, OutcomeUnknownError, PoolkitError, RequestTimeoutError } from '../../core/errors.js';
import type { CallSignal } from '../../core/wait/Cancellation.js';
import type { Caller, McpPool, RequestOptions, ServerInfo, ServerNotice, Subscription } from '../../pool/McpPool.js';
import type { Era } from '../../registry/config/ServerConfig.js';
import type { HeldQuestions } from '../bridge/HeldQuestions.js';
import type { ListenFilter, Listening } from '../modern/Listening.js';
import type { Params } from '../rpc/envelope.js';

/** What a client learns when it initialises, besides the protocol version. */
export interface EndpointInfo {
  readonly capabilities: ServerCapabilities;
  readonly serverInfo: Implementation;
  readonly instructions?: string;
}

type OrUndefined<T, K extends keyof T> = { readonly [N in K]?: T[N] | undefined };

/** What a request on its way up carries along. */
export interface CallOptions
  extends OrUndefined<
    RequestOptions,
    | 'onLarge'
    | 'onProgress'
    | 'onNotification'
    | 'onRequest'
    | 'paramsText'
    | 'client'
    | 'toolDefinition'
    | 'parent'
    | 'timeoutMs'
    | 'deadlineMs'
  > {
  /** Ends it. */
  readonly signal?: CallSignal | undefined;
  /** Modern era: where its client connected from (`addressOrigin`). */
  readonly address?: string | undefined;
  /** Modern era: looks at the definition of the tool that is to be called, and throws what the call is refused with. */
  readonly onTool?: (tool: Tool, args: unknown) => void;
  /** Its request as it is kept while it runs, where it is noted which server it goes to. */
  readonly request?: { server: string | undefined } | undefined;
}

/** A client's session, as far as an endpoint has to do with it. */
export interface Downstream {
  /** Lowest level of log messages it asked for; undefined while it asked for none. */
  logLevel: string | undefined;
  /** What its connections to `bound` servers are known by. Not its id: that one is a secret. */
  readonly key: string;
  /** The era its client speaks. */
  readonly era: Era;
  /** What its client can do for a server; undefined when nothing. */
  readonly capabilities: ClientCapabilities | undefined;
  readonly clientInfo: Implementation | undefined;
  /** Whom its calls are made for, as middleware is told; undefined for a client that is like any other. */
  readonly caller: Caller | undefined;
  /** Where its client connects from, or whose it is (`originOf`); undefined for those that stand for clients from everywhere. */
  readonly origin: string | undefined;
  /** The legacy version agreed on with it. */
  readonly protocolVersion: string | undefined;
  /** Counts what waits for its client's answers; undefined for one that stands for clients of the modern era. */
  readonly held: HeldQuestions | undefined;
  /** Aborts when the session ends. */
  readonly signal: AbortSignal;
  /** Sends what belongs to no call and is for others too: down the client's stream alone. */
  notify(method: string, params: unknown): void;
  /**
   * Sends what a connection of its own said: down a call's stream while one is in flight, else the client's stream. `server`: whose call it
   * has to be, where calls go to several.
   */
  tell(method: string, params: unknown, server?: string): void;
  /** Enters a subscription made by `subscribe`, once per URI. `signal`: of the request, which ends what is not open yet. */
  subscribe(uri: string, subscribe: () => Promise<Subscription>, signal?: AbortSignal): Promise<void>;
  unsubscribe(uri: string): Promise<void>;
}

export interface ListenOptions {
  /** Where its client connected from (`addressOrigin`). */
  readonly address?: string | undefined;
  readonly signal: AbortSignal;
  readonly onNotification: (notice: ServerNotice) => void;
}

/** What stands behind one path of the gateway, for one principal. */
export interface Endpoint extends BareEndpoint {
  /** What its sessions' tickets are good for: the same in every process. */
  readonly scope: string;
  /** Whether its sessions can go on in another process: none of its servers has a connection for each session. */
  readonly moves: boolean;
  /** Stands for the clients of the modern era, as whose its principal's calls are made. */
  readonly anyone: Downstream;
  /** Has a legacy client's `initialize`, and what answers it as JSON in parts, pass middleware. `open` opens the session; it may be asked to several times, or not at all. */
  opening(
    params: Params | undefined,
    client: { readonly address: string | undefined; readonly signal: AbortSignal },
    open: (params: Params | undefined) => Promise<readonly Buffer[]>,
  ): Promise<readonly Buffer[]>;
  /** Has what a session's client says to that server, on a connection of its own, pass middleware, in its order. Rejects as `send` does. */
  said(
    session: Downstream,
    server: string,
    method: string,
    params: Params | undefined,
    send: (params: Params | undefined) => Promise<void>,
  ): Promise<void>;
}

/** What an endpoint does, without its place in a gateway. */
export interface BareEndpoint {
  info(session: Downstream, signal: AbortSignal): Promise<EndpointInfo>;
  /** Resolves to the result: a value, or its JSON as bytes. */
  request(session: Downstream, method: string, params: Params | undefined, call: CallOptions): Promise<unknown>;
  /** Modern era: tells what the filter asks for, of what there is, until closed. */
  listen(client: Downstream, filter: ListenFilter, options: ListenOptions): Promise<Listening>;
  /** What reaches `session` of a notification that belongs to no call. `own`: it came on a connection of its own. */
  relay(session: Downstream, server: string, notice: ServerNotice, own: boolean): void;
  /** A connection of the session's own was lost, with what the server knew by it. Where there is none, the session ends with it. */
  lost?: ((session: Downstream, server: string) => void) | undefined;
}

/**
 * What the handshake told, starting the server if there was none yet. A server that was stopped on purpose stays so, and
 * one that is down for the moment is known all the same.
 */
export async function infoOf(
  pool: McpPool,
  server: string,
  caller: Caller | undefined,
  signal: AbortSignal,
): Promise<ServerInfo> {
  // What another session's process told is that session's alone.
  const known = pool.info(server, caller);
  if (known !== undefined) return known;
  try {
    await pool.request(server, 'ping', undefined, {
      signal,
      idempotent: true,
      ...(caller && { caller }),
    });
  } catch (error) {
    // What it did about a ping is of no account to a caller, whose own call was not sent.
    if (error instanceof OutcomeUnknownError || error instanceof RequestTimeoutError)
      throw new NotSentError(server, error.message, error);
    // A server that answers at all has shaken hands, whatever it thinks of a ping.
    if (!(error instanceof PoolkitError) || error.code !== 'ERR_RPC') throw error;
  }
  const info = pool.info(server, caller);
  if (info === undefined) throw new Error(`server ${server} answered without a handshake`);
  return info;
}
