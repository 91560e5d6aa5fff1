import { channel } from 'node:diagnostics_channel';
import { isToolError } from '../../connection/calls/toolError.js';
import { systemClock } from '../../core/clock.js';
import { PoolkitError } from '../../core/errors.js';
import { ownText } from '../../core/text/ownText.js';
import type { McpPool } from '../../pool/McpPool.js';
import { MAX_TARGET_CHARS, selfOf, targetOf } from '../../pool/server/calls/trace.js';

/** One request of a client, from its arrival to its answer: the same object at both phases, and the `parent` of its calls. */
export interface TracedRequest {
  /** Unique in the process, and beyond: `sequence` is in it. */
  readonly id: string;
  /** Counts up over all requests of the process. */
  readonly sequence: number;
  /** The pool that its calls go to. */
  readonly pool: McpPool;
  readonly method: string;
  /** As with calls. */
  readonly target: string | undefined;
  readonly era: 'legacy' | 'modern';
  readonly protocolVersion: string | undefined;
  /** What came by: the front's name for it. */
  readonly transport: 'http' | 'stdio';
  /** W3C trace context of its `_meta`. */
  readonly traceparent: string | undefined;
  readonly tracestate: string | undefined;
  /** The same of the HTTP request that it came in. */
  readonly httpTraceparent: string | undefined;
  readonly httpTracestate: string | undefined;
  /** Epoch ms at which it came. */
  readonly startedAt: number;
  /** From its arrival to its answer; 0 before. */
  readonly durationMs: number;
  /** As with calls; undefined before the end. */
  readonly outcome: string | undefined;
  readonly error: unknown;
  /** Fails it with that reason, which its client is told. */
  readonly cancel: (reason: unknown) => void;
}

/** What subscribers of the diagnostics channel `mcp-poolkit:request` get. */
export interface RequestTrace {
  readonly phase: 'begin' | 'end';
  readonly request: TracedRequest;
}

/** Requests are followed only while it has subscribers. */
export const requestChannel = channel('mcp-poolkit:request');

export interface RequestOrigin {
  readonly pool: McpPool;
  readonly method: string;
  readonly params: Readonly<Record<string, unknown>> | undefined;
  readonly era: 'legacy' | 'modern';
  readonly protocolVersion?: string | undefined;
  readonly transport: 'http' | 'stdio';
  readonly headers?: Readonly<Record<string, string | string[] | undefined>>;
  readonly cancel: (reason: unknown) => void;
}

let requests = 0;
/** Of this process: ids of several do not collide in one log. */
const RUN = Math.floor(Math.random() * 2 ** 32).toString(36);

/** Follows one request of a client. */
export class RequestTracer implements TracedRequest {
  readonly sequence = ++requests;
  readonly pool: McpPool;
  readonly method: string;
  readonly target: string | undefined;
  readonly era: 'legacy' | 'modern';
  readonly protocolVersion: string | undefined;
  readonly transport: 'http' | 'stdio';
  readonly traceparent: string | undefined;
  readonly tracestate: string | undefined;
  readonly httpTraceparent: string | undefined;
  readonly httpTracestate: string | undefined;
  readonly startedAt = systemClock.wallNow();
  readonly cancel: (reason: unknown) => void;
  durationMs = 0;
  outcome: string | undefined;
  error: unknown;
  readonly #startedMs = performance.now();

  private constructor({ pool, method, params, era, protocolVersion, transport, headers, cancel }: RequestOrigin) {
    const meta = params?.['_meta'] as Readonly<Record<string, unknown>> | undefined;
    this.pool = selfOf(pool);
    this.method = ownText(method, MAX_TARGET_CHARS);
    this.target = targetOf(method, params);
    this.era = era;
    this.protocolVersion = protocolVersion;
    this.transport = transport;
    this.traceparent = textOf(meta?.['traceparent']);
    this.tracestate = textOf(meta?.['tracestate']);
    this.httpTraceparent = textOf(headers?.['traceparent']);
    this.httpTracestate = textOf(headers?.['tracestate']);
    this.cancel = cancel;
    this.#tell('begin');
  }

  get id(): string {
    return `${RUN}-${this.sequence.toString(36)}`;
  }

  /** Undefined while no one listens: then it costs nothing. */
  static begin(origin: () => RequestOrigin): RequestTracer | undefined {
    return requestChannel.hasSubscribers ? new RequestTracer(origin()) : undefined;
  }

  answered(result: unknown): void {
    this.#end(this.method === 'tools/call' && isToolError(result) ? 'tool_error' : 'ok');
  }

  failed(error: unknown): void {
    this.error = error;
    this.#end(error instanceof PoolkitError ? error.code : error instanceof Error ? 'ERROR' : 'ABORTED');
  }

  /** Its client gave it up. */
  aborted(error: unknown): void {
    this.error = error;
    this.#end('ABORTED');
  }

  #end(outcome: string): void {
    if (this.outcome !== undefined) return;
    this.outcome = outcome;
    this.durationMs = performance.now() - this.#startedMs;
    this.#tell('end');
  }

  #tell(phase: RequestTrace['phase']): void {
    requestChannel.publish({ phase, request: this } satisfies RequestTrace);
  }
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value.length <= MAX_TARGET_CHARS ? value : undefined;
}
