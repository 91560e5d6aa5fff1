import type { Era } from '../../registry/config/ServerConfig.js';
import type { Params } from '../protocol/messages.js';
import type { Caller } from './Caller.js';
import type { CallResult } from './CallResult.js';

/** One message on its way through a pool or a gateway, as middleware sees it. */
export interface MiddlewareCall {
  /** A notification has no result: `next` resolves to an empty one. */
  readonly kind: 'request' | 'notification';
  /** Who sent it: requests and notifications of servers pass through, too. */
  readonly from: 'client' | 'server';
  /** Undefined in a gateway for what concerns several servers, such as a list of all tools. */
  readonly server: string | undefined;
  /** Where a client asked, around a gateway: `/mcp`, `/servers/<name>/mcp`, `/groups/<name>/mcp`. Undefined around a pool, and for what servers say. */
  readonly path: string | undefined;
  readonly method: string;
  /** As they are sent. Never change them in place: give `next` other ones. */
  readonly params: Params | undefined;
  /** Of `tools/call`, `prompts/get`, and of all that names a resource: as it stands in the params. */
  readonly tool: string | undefined;
  readonly prompt: string | undefined;
  readonly uri: string | undefined;
  /** On whose behalf; undefined where no one in particular is known, and for what a server says to all. */
  readonly caller: Caller | undefined;
  /** The era that is spoken with the server; undefined before its first handshake. */
  readonly era: Era | undefined;
  /** Aborts when the call is given up. */
  readonly signal: AbortSignal;
  /** Longest in all, in ms from when it is sent on; undefined without a bound. */
  readonly deadlineMs: number | undefined;
  /** Its caller says that it may be sent again. */
  readonly idempotent: boolean;
  /** From 1; one more for each further `next` of a middleware outside of this one. */
  readonly attempt: number;
}

/** What a middleware may change of a call as it goes on. */
export interface CallChanges {
  /** @defaultValue as they are */
  readonly params?: Params;
  /** @defaultValue as it is */
  readonly signal?: AbortSignal;
  /** Longest in all, in ms from now. @defaultValue as it is */
  readonly deadlineMs?: number;
  /** Longest wait for the answer, in ms from its send. @defaultValue as it is */
  readonly timeoutMs?: number;
}

export type Next = (changes?: CallChanges) => Promise<CallResult>;

/**
 * Stands around every call: calls `next` to go on, once, several times or not at all, and gives its result or another. What it
 * throws is the call's failure; of a notification, that it is dropped and logged.
 */
export type Middleware = (call: MiddlewareCall, next: Next) => Promise<CallResult | object>;
