import type { Context, Span, SpanContext, Tracer } from '@opentelemetry/api';
import { messageOf } from '../../core/errors.js';
import { ownText } from '../../core/text/ownText.js';
import type { CallTrace, TracedCall } from '../../pool/server/calls/trace.js';
import type { RequestTrace, TracedRequest } from '../requests/requestTrace.js';
import { codeOf, downstream, failure, MAX_SPAN_TEXT_CHARS, operation, spanName, upstream } from './attributes.js';
import { parseTraceContext, traceContextOf } from './traceContext.js';

type Api = typeof import('@opentelemetry/api');

interface CallSpans {
  readonly call: Span;
  readonly context: Context;
  queue: Span | undefined;
  attempt: Span | undefined;
}

/**
 * The spans of one request: that of the client (SERVER), in it the call to a server, in that the wait and each attempt
 * (CLIENT), whose context goes upstream.
 */
export class Spans {
  readonly #api: Api;
  readonly #tracer: Tracer;
  readonly #principals: boolean;
  readonly #requests = new WeakMap<object, Context>();
  readonly #calls = new WeakMap<TracedCall, CallSpans>();

  constructor(api: Api, tracer: Tracer, principals: boolean) {
    this.#api = api;
    this.#tracer = tracer;
    this.#principals = principals;
  }

  onRequest({ phase, request }: RequestTrace): void {
    const { trace, SpanKind } = this.#api;
    if (phase === 'begin') {
      const { parent, link } = this.#parentOf(request);
      const span = this.#tracer.startSpan(
        spanName(request),
        {
          kind: SpanKind.SERVER,
          attributes: { ...operation(request, true), ...downstream(request), 'mcp_poolkit.request.id': request.id },
          ...(link !== undefined && { links: [{ context: link }] }),
        },
        parent,
      );
      this.#requests.set(request, trace.setSpan(parent, span));
      return;
    }
    const context = this.#requests.get(request);
    const span = context === undefined ? undefined : trace.getSpan(context);
    if (span !== undefined) this.#end(span, request);
  }

  onCall({ phase, call, error }: CallTrace): void {
    if (phase === 'queue') this.#accepted(call);
    const spans = this.#calls.get(call);
    if (spans === undefined) return;
    if (phase === 'send') this.#sent(call, spans);
    else if (phase === 'retry') {
      if (spans.attempt !== undefined) this.#end(spans.attempt, { outcome: codeOf(error), error });
      spans.attempt = undefined;
    } else if (phase === 'answer') {
      spans.queue?.end();
      if (spans.attempt !== undefined) this.#end(spans.attempt, call);
      spans.call.setAttributes({
        'mcp_poolkit.attempts': call.attempt,
        'mcp_poolkit.queue.duration_ms': call.queuedMs,
      });
      this.#end(spans.call, call);
      this.#calls.delete(call);
    }
  }

  #accepted(call: TracedCall): void {
    const { trace, context: contexts } = this.#api;
    const requested = call.parent === undefined ? undefined : this.#requests.get(call.parent);
    const remote = this.#remote(call.traceparent, call.tracestate);
    const active = contexts.active();
    const outer = requested ?? (remote === undefined ? active : trace.setSpanContext(active, remote));
    const { server, principal } = call;
    const attributes = {
      ...operation(call, true),
      'mcp_poolkit.server': server,
      ...(this.#principals && principal !== undefined && { 'mcp_poolkit.principal': principal }),
    };
    const span = this.#tracer.startSpan(`call ${server}`, { attributes }, outer);
    const context = trace.setSpan(outer, span);
    const queue = this.#tracer.startSpan(`queue ${server}`, { attributes: { 'mcp_poolkit.server': server } }, context);
    this.#calls.set(call, { call: span, context, queue, attempt: undefined });
  }

  #sent(call: TracedCall, spans: CallSpans): void {
    spans.queue?.end();
    spans.queue = undefined;
    const { connection, pool, server, attempt } = call;
    const attributes = {
      ...operation(call, true),
      ...upstream(pool.config(server), connection?.info.protocolVersion),
      'mcp_poolkit.server': server,
      'mcp_poolkit.attempt': attempt,
      ...(connection !== undefined && { 'mcp_poolkit.connection.id': connection.id }),
      ...(connection?.pid !== undefined && { 'process.pid': connection.pid }),
    };
    const kind = this.#api.SpanKind.CLIENT;
    spans.attempt = this.#tracer.startSpan(spanName(call), { kind, attributes }, spans.context);
    const own = spans.attempt.spanContext();
    // Without an SDK there is no span, and what the caller said passes on.
    if (this.#api.isSpanContextValid(own)) call.meta = { ...call.meta, ...traceContextOf(own) };
  }

  #end(span: Span, ended: Pick<TracedCall, 'outcome' | 'error'>): void {
    const attributes = failure(ended);
    span.setAttributes(attributes);
    if (attributes['error.type'] !== undefined) {
      const { error } = ended;
      const { ERROR } = this.#api.SpanStatusCode;
      const message = error === undefined ? undefined : ownText(messageOf(error), MAX_SPAN_TEXT_CHARS);
      span.setStatus(message === undefined ? { code: ERROR } : { code: ERROR, message });
    }
    span.end();
  }

  /** What the message says goes before what its HTTP request says, which is linked then. */
  #parentOf(request: TracedRequest): { readonly parent: Context; readonly link: SpanContext | undefined } {
    const { trace, context } = this.#api;
    const said = this.#remote(request.traceparent, request.tracestate);
    const http = this.#remote(request.httpTraceparent, request.httpTracestate);
    const remote = said ?? http;
    const active = context.active();
    const parent = remote === undefined ? active : trace.setSpanContext(active, remote);
    return { parent, link: said === undefined ? undefined : http };
  }

  #remote(traceparent: string | undefined, tracestate: string | undefined): SpanContext | undefined {
    return parseTraceContext(traceparent, tracestate, this.#api.createTraceState);
  }
}
