import type { SpanContext, TraceState } from '@opentelemetry/api';

const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
const MAX_TRACESTATE_CHARS = 512;

/** The remote span that a `traceparent` names (W3C Trace Context, 3.2); undefined when it is not of the grammar. */
export function parseTraceContext(
  traceparent: string | undefined,
  tracestate: string | undefined,
  createTraceState: (text: string) => TraceState,
): SpanContext | undefined {
  const hit = traceparent === undefined ? null : TRACEPARENT.exec(traceparent);
  if (hit === null) return undefined;
  const [, version, traceId = '', spanId = '', flags = '', more] = hit;
  if (version === 'ff' || (version === '00' && more !== undefined)) return undefined;
  if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return undefined;
  const state = tracestate !== undefined && tracestate.length <= MAX_TRACESTATE_CHARS ? tracestate : undefined;
  return {
    traceId,
    spanId,
    traceFlags: Number.parseInt(flags, 16),
    isRemote: true,
    ...(state !== undefined && { traceState: createTraceState(state) }),
  };
}

/** What goes into the `_meta` of a message, so that its receiver's spans are children of this one. */
export function traceContextOf({
  traceId,
  spanId,
  traceFlags,
  traceState,
}: SpanContext): Readonly<Record<string, string>> {
  const traceparent = `00-${traceId}-${spanId}-${(traceFlags & 0xff).toString(16).padStart(2, '0')}`;
  const tracestate = traceState?.serialize() ?? '';
  return tracestate === '' ? { traceparent } : { traceparent, tracestate };
}
