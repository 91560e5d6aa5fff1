import { channel } from 'node:diagnostics_channel';
import { isToolError } from '../../../connection/calls/toolError.js';
import type { CallOptions, Params, ServerInfo } from '../../../connection/protocol/messages.js';
import type { Clock } from '../../../core/clock.js';
import { PoolkitError } from '../../../core/errors.js';
import { ownText } from '../../../core/text/ownText.js';
import type { McpPool, RequestOptions } from '../../McpPool.js';
import { isEraRefusal } from '../callers/callerKey.js';
import type { PooledConnection } from '../connections/PooledConnection.js';

/** The connection that a call was handed to. */
export interface TracedConnection {
  /** Counts up over all pools of the process. */
  readonly id: number;
  /** Of the process behind it, on stdio. */
  readonly pid: number | undefined;
  readonly info: ServerInfo;
}

/**
 * One call, from its acceptance by a pool to its end: the same object at every phase, filled in as it goes. Nothing of
 * its arguments or its result is in it but their sizes. Only `meta` is for a subscriber to set.
 */
export interface TracedCall {
  /** Counts up over all pools of the process. */
  readonly id: number;
  readonly pool: McpPool;
  readonly server: string;
  readonly method: string;
  /** Of `tools/call`, the tool; of `prompts/get`, the prompt; of the methods of one resource, its URI. */
  readonly target: string | undefined;
  readonly principal: string | undefined;
  /** What the caller handed on as `parent`. */
  readonly parent: object | undefined;
  /** W3C trace context of the call's own `_meta`. */
  readonly traceparent: string | undefined;
  readonly tracestate: string | undefined;
  /** Clock ms at which it was accepted. */
  readonly acceptedMs: number;
  /** Times it was handed to a connection, so far. */
  readonly attempt: number;
  /** Of the newest attempt; undefined before the first. */
  readonly connection: TracedConnection | undefined;
  /** From acceptance to the first attempt: limiter, start and queue; of a call that was never sent, to its end. */
  readonly queuedMs: number;
  /** From the newest attempt to its end; 0 before. */
  readonly callMs: number;
  /** Of the newest attempt's message. */
  readonly sentBytes: number;
  /** Of the answer's message; 0 when none came. */
  readonly receivedBytes: number;
  /**
   * `ok`; `tool_error` for a result with `isError`; else the code of the error, and `ABORTED` for a signal's reason.
   * Undefined before the end.
   */
  readonly outcome: string | undefined;
  readonly error: unknown;
  /** Goes into the `_meta` of the next attempt, over what the caller gave: set it at `queue` or `send`. */
  meta: Params | undefined;
}

/**
 * What subscribers of the diagnostics channel `mcp-poolkit:call` get: `queue` when a call is accepted, `send` when it is
 * handed to a connection, `retry` when an attempt failed and another follows, `answer` at its end, once for each call.
 */
export interface CallTrace {
  readonly phase: 'queue' | 'send' | 'retry' | 'answer';
  readonly server: string;
  readonly method: string;
  readonly call: TracedCall;
  /** Why the call, or with `retry` the attempt, failed. */
  readonly error?: unknown;
  /** W3C trace context of the call's `_meta`. */
  readonly traceparent?: string;
}

/** Where a pool has itself, as its calls name it. @internal */
export const SELF: unique symbol = Symbol('the pool itself');

/** The pool behind what stands in front of it, such as a recorder's proxy. */
export function selfOf(pool: McpPool): McpPool {
  return (pool as { readonly [SELF]?: McpPool })[SELF] ?? pool;
}

/** Whether a pool is itself, with no proxy in front of it that may look at results. */
export const isItself = (pool: McpPool): boolean => (pool as { readonly [SELF]?: McpPool })[SELF] === pool;

/** Calls are followed only while it has subscribers. */
export const callChannel = channel('mcp-poolkit:call');

/** Names that are a message's and not a peer's to grow: longer ones are cut. */
export const MAX_TARGET_CHARS = 1_024;

let calls = 0;

/** What a call tells as it goes. */
export type Traced = Pick<CallTracer, 'sent' | 'retried' | 'answered' | 'failed' | 'metered'>;

/** Follows one call. */
export class CallTracer implements TracedCall {
  readonly id = ++calls;
  readonly pool: McpPool;
  readonly server: string;
  readonly method: string;
  readonly target: string | undefined;
  readonly principal: string | undefined;
  readonly parent: object | undefined;
  readonly traceparent: string | undefined;
  readonly tracestate: string | undefined;
  readonly acceptedMs: number;
  attempt = 0;
  connection: TracedConnection | undefined;
  queuedMs = 0;
  callMs = 0;
  sentBytes = 0;
  receivedBytes = 0;
  outcome: string | undefined;
  error: unknown;
  meta: Params | undefined;
  readonly #clock: Clock;
  #sentMs = 0;
  /** Nothing was told of it yet: a call that only finds out which era its server speaks is none. */
  #quiet: boolean;

  constructor(
    pool: McpPool,
    clock: Clock,
    server: string,
    method: string,
    params: Params | undefined,
    { caller, parent }: Pick<RequestOptions, 'caller' | 'parent'>,
  ) {
    const meta = params?.['_meta'] as Params | undefined;
    this.pool = pool;
    this.#clock = clock;
    this.server = server;
    this.method = ownText(method, MAX_TARGET_CHARS);
    this.target = targetOf(method, params);
    this.principal = caller?.principal;
    this.parent = parent;
    this.traceparent = textOf(meta?.['traceparent']);
    this.tracestate = textOf(meta?.['tracestate']);
    this.acceptedMs = clock.now();
    this.#quiet = caller?.eraOnly === true;
    if (!this.#quiet) this.#tell('queue');
  }

  /** It is handed to a connection. */
  sent(pooled: PooledConnection): void {
    this.#begin();
    this.#sentMs = this.#clock.now();
    if (this.attempt++ === 0) this.queuedMs = this.#sentMs - this.acceptedMs;
    this.sentBytes = 0;
    this.receivedBytes = 0;
    this.connection = pooled.traced;
    this.#tell('send');
  }

  /** The attempt failed, and another follows. */
  retried(error: unknown): void {
    this.#begin();
    this.callMs = this.#clock.now() - this.#sentMs;
    callChannel.publish({ ...this.#base('retry'), error } satisfies CallTrace);
  }

  answered(result: unknown): void {
    this.#begin();
    this.#end(this.method === 'tools/call' && isToolError(result) ? 'tool_error' : 'ok');
    this.#tell('answer');
  }

  failed(error: unknown): void {
    if (this.#quiet && isEraRefusal(error)) return;
    this.#begin();
    this.error = error;
    this.#end(error instanceof PoolkitError ? error.code : 'ABORTED');
    callChannel.publish({ ...this.#base('answer'), error } satisfies CallTrace);
  }

  #begin(): void {
    if (!this.#quiet) return;
    this.#quiet = false;
    this.#tell('queue');
  }

  #end(outcome: string): void {
    const nowMs = this.#clock.now();
    if (this.attempt === 0) this.queuedMs = nowMs - this.acceptedMs;
    else this.callMs = nowMs - this.#sentMs;
    this.outcome = outcome;
  }

  #tell(phase: CallTrace['phase']): void {
    callChannel.publish(this.#base(phase));
  }

  #base(phase: CallTrace['phase']): CallTrace {
    const { server, method, traceparent } = this;
    return traceparent === undefined
      ? { phase, server, method, call: this }
      : { phase, server, method, call: this, traceparent };
  }

  /** A call's options, with which its connection tells sizes and passes trace context on. */
  metered(options: CallOptions): CallOptions {
    // Names that are there already: a copy that gets new ones is 20 times slower (Node 20).
    const own: { -readonly [K in keyof CallOptions]: CallOptions[K] } = { ...options };
    own.meter = this;
    own.meta = this.meta;
    return own;
  }
}

/** The error of a call that reached no server, whose trace begins and ends here. */
export function traceRefusal<E>(error: E, of: Readonly<ConstructorParameters<typeof CallTracer>>): E {
  if (callChannel.hasSubscribers) new CallTracer(...of).failed(error);
  return error;
}

/** What a request is about, by the name that its method has for it. */
export function targetOf(method: string, params: Params | undefined): string | undefined {
  if (method === 'tools/call' || method === 'prompts/get') return textOf(params?.['name']);
  return method.startsWith('resources/') ? textOf(params?.['uri']) : undefined;
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? ownText(value, MAX_TARGET_CHARS) : undefined;
}
