import { SpanKind, SpanStatusCode } from '@opentelemetry/api';
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { OptionError } from '../../src/core/errors.js';
import { Gateway } from '../../src/gateway/Gateway.js';
import { Instrument, OpenTelemetry, type OpenTelemetryOptions } from '../../src/observe/index.js';
import { parseTraceContext } from '../../src/observe/otel/traceContext.js';
import type { McpPool } from '../../src/pool/McpPool.js';
import { closeAfter } from '../support/closeAfter.js';
import { RawClient } from '../support/httpClient.js';
import { MEMORY, memoryPool, outcome } from '../support/memoryPool.js';

const TRACE_ID = '0af7651916cd43dd8448eb211c80319c';
const SPAN_ID = 'b7ad6b7169203331';
const TRACEPARENT = `00-${TRACE_ID}-${SPAN_ID}-01`;

let spans: InMemorySpanExporter;
let metrics: InMemoryMetricExporter;
let reader: PeriodicExportingMetricReader;
let tracerProvider: BasicTracerProvider;
let meterProvider: MeterProvider;
let telling: OpenTelemetry | undefined;

beforeEach(() => {
  spans = new InMemorySpanExporter();
  tracerProvider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] });
  metrics = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
  reader = new PeriodicExportingMetricReader({ exporter: metrics, exportIntervalMillis: 3_600_000 });
  meterProvider = new MeterProvider({ readers: [reader] });
});

afterEach(async () => {
  telling?.close();
  await tracerProvider.shutdown();
  await meterProvider.shutdown();
});

async function tell(pool: McpPool, options: Partial<OpenTelemetryOptions> = {}): Promise<void> {
  telling = await OpenTelemetry.start({ pool, tracerProvider, meterProvider, ...options });
}

const finished = (): readonly ReadableSpan[] => spans.getFinishedSpans();
const named = (name: string): ReadableSpan => finished().find((span) => span.name === name) as ReadableSpan;
const parentOf = (span: ReadableSpan): string | undefined => span.parentSpanContext?.spanId;

test('a client’s request, the call, its wait and its attempt are one trace, which goes on upstream', async () => {
  const { pool, connector } = memoryPool();
  pool.addServer(MEMORY);
  await tell(pool);
  const gateway = closeAfter(new Gateway({ pool, port: 0 }));
  const { url } = await gateway.listen();
  const client = new RawClient(`${url}/servers/s/mcp`);
  await client.initialize();
  spans.reset();
  const params = { name: 'add', _meta: { traceparent: TRACEPARENT, tracestate: 'vendor=1' } };
  const http = `00-${'1'.repeat(32)}-${'2'.repeat(16)}-01`;
  await client.send({ jsonrpc: '2.0', id: 1, method: 'tools/call', params }, { traceparent: http });
  expect(finished().map(({ name }) => name)).toEqual(['queue s', 'tools/call add', 'call s', 'tools/call add']);
  const [queue, attempt, call, request] = finished() as [ReadableSpan, ReadableSpan, ReadableSpan, ReadableSpan];
  expect(finished().map((span) => span.spanContext().traceId)).toEqual(new Array(4).fill(TRACE_ID));
  expect(parentOf(request)).toBe(SPAN_ID);
  expect(request.links.map((link) => link.context.spanId)).toEqual(['2'.repeat(16)]);
  expect(parentOf(call)).toBe(request.spanContext().spanId);
  expect(parentOf(queue)).toBe(call.spanContext().spanId);
  expect(parentOf(attempt)).toBe(call.spanContext().spanId);
  expect([request.kind, call.kind, queue.kind, attempt.kind]).toEqual([
    SpanKind.SERVER,
    SpanKind.INTERNAL,
    SpanKind.INTERNAL,
    SpanKind.CLIENT,
  ]);
  const common = {
    'mcp.method.name': 'tools/call',
    'gen_ai.operation.name': 'execute_tool',
    'gen_ai.tool.name': 'add',
  };
  expect(request.attributes).toMatchObject({
    ...common,
    'mcp.protocol.version': '2025-11-25',
    'network.transport': 'tcp',
    'network.protocol.name': 'http',
  });
  expect(attempt.attributes).toMatchObject({ ...common, 'network.transport': 'pipe', 'mcp_poolkit.attempt': 1 });
  // What the server got names the attempt as its parent, and keeps the vendor's state.
  const sent = connector.last.seen.at(-1)?.params?.['_meta'];
  expect(sent).toEqual({
    traceparent: `00-${TRACE_ID}-${attempt.spanContext().spanId}-01`,
    tracestate: 'vendor=1',
  });
});

test('without a word in the message the parent is that of the HTTP request', async () => {
  const { pool } = memoryPool();
  pool.addServer(MEMORY);
  await tell(pool);
  const gateway = closeAfter(new Gateway({ pool, port: 0 }));
  const client = new RawClient(`${(await gateway.listen()).url}/servers/s/mcp`);
  await client.initialize();
  spans.reset();
  await client.send(
    { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'add' } },
    { traceparent: TRACEPARENT },
  );
  const request = finished().at(-1) as ReadableSpan;
  expect([parentOf(request), request.links]).toEqual([SPAN_ID, []]);
});

test('a failed attempt and the one after it are spans of their own; failures are named as the conventions have them', async () => {
  const { pool, connector, call } = memoryPool({ backoff: { initialMs: 1, jitterRatio: 0 }, stableAfterMs: 0 });
  pool.addServer(MEMORY);
  await tell(pool);
  let dead = false;
  connector.onMessage = ({ id, params }, connection) => {
    if (params?.['name'] === 'refuse') connection.say({ id, error: { code: -32602, message: 'no such tool' } });
    else if (params?.['name'] === 'broken') connection.answer(id as number, { isError: true });
    else if (dead) connection.answer(id as number, {});
    else connection.die('it crashed');
    dead = true;
  };
  await call('add', { idempotent: true });
  const attempts = finished().filter(({ kind }) => kind === SpanKind.CLIENT);
  expect(attempts.map(({ attributes }) => attributes['mcp_poolkit.attempt'])).toEqual([1, 2]);
  expect(attempts.map(({ attributes }) => attributes['error.type'])).toEqual(['ERR_OUTCOME_UNKNOWN', undefined]);
  expect(attempts.map(({ status }) => status.code)).toEqual([SpanStatusCode.ERROR, SpanStatusCode.UNSET]);
  expect(named('call s').status.code).toBe(SpanStatusCode.UNSET);
  expect(named('call s').attributes['mcp_poolkit.attempts']).toBe(2);
  spans.reset();
  await outcome(call('refuse'));
  expect(named('tools/call refuse').attributes).toMatchObject({
    'error.type': '-32602',
    'rpc.response.status_code': '-32602',
  });
  expect(named('tools/call refuse').status).toEqual({
    code: SpanStatusCode.ERROR,
    message: expect.stringContaining('no such tool'),
  });
  spans.reset();
  await call('broken');
  expect(named('tools/call broken').attributes['error.type']).toBe('tool_error');
});

test('of texts that a client or a server chose, a span has the beginning', async () => {
  const { pool, connector } = memoryPool();
  pool.addServer(MEMORY);
  await tell(pool);
  connector.onMessage = ({ id }, connection) => connection.say({ id, error: { code: -32601, message: long } });
  const long = 'x'.repeat(100_000);
  await outcome(pool.request('s', long, {}));
  const ended = finished().filter(({ name }) => !name.startsWith('queue'));
  expect(ended).toHaveLength(2);
  for (const { attributes, status } of ended) {
    if (attributes['mcp.method.name'] !== undefined) expect(attributes['mcp.method.name']).toHaveLength(1_024);
    expect(status.message).toHaveLength(1_024);
  }
});

test('metrics have the names, units and bounds of the conventions; those of an instrument come along', async () => {
  const { pool, clock, connector, call } = memoryPool();
  pool.addServer(MEMORY);
  using instrument = new Instrument({ pool });
  await tell(pool, { instrument, maxTools: 1 });
  connector.onMessage = ({ id }, connection) => void clock.advance(300).then(() => connection.answer(id as number, {}));
  await call('add');
  await call('another');
  await pool.stopServer('s');
  await reader.forceFlush();
  const told = new Map(
    metrics
      .getMetrics()
      .flatMap(({ scopeMetrics }) =>
        scopeMetrics.flatMap(({ metrics: all }) => all.map((each) => [each.descriptor.name, each] as const)),
      ),
  );
  const client = told.get('mcp.client.operation.duration');
  expect(client?.descriptor.unit).toBe('s');
  const points = client?.dataPoints.map(({ attributes, value }) => ({
    tool: attributes['gen_ai.tool.name'],
    method: attributes['mcp.method.name'],
    ...(value as { count: number; sum: number; buckets: { boundaries: number[] } }),
  }));
  expect(points?.map(({ tool, method, count, sum }) => [tool, method, count, sum])).toEqual([
    ['add', 'tools/call', 1, 0.3],
    ['other', 'tools/call', 1, 0.3],
  ]);
  expect(points?.[0]?.buckets.boundaries).toEqual([0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300]);
  expect(told.has('mcp.client.session.duration')).toBe(true);
  const calls = told.get('mcp_poolkit.calls')?.dataPoints.map(({ attributes, value }) => [attributes['tool'], value]);
  expect(calls).toEqual([
    ['add', 1],
    ['another', 1],
  ]);
});

test('a principal is in a span only on request', async () => {
  const { pool } = memoryPool();
  pool.addServer(MEMORY);
  const call = (): Promise<unknown> =>
    pool.request('s', 'tools/call', { name: 'add' }, { caller: { principal: 'hash-of-alice', key: 'k' } });
  await tell(pool);
  await call();
  expect(JSON.stringify(finished().map(({ attributes }) => attributes))).not.toContain('alice');
  telling?.close();
  spans.reset();
  await tell(pool, { principals: true });
  await call();
  expect(named('call s').attributes['mcp_poolkit.principal']).toBe('hash-of-alice');
});

test('closed, it makes no more spans; options are checked', async () => {
  const { pool, call } = memoryPool();
  pool.addServer(MEMORY);
  await tell(pool);
  await call('add');
  telling?.close();
  telling?.close();
  spans.reset();
  await call('add');
  expect(finished()).toEqual([]);
  await expect(OpenTelemetry.start({ pool, tracer: 1 } as never)).rejects.toBeInstanceOf(OptionError);
  await expect(OpenTelemetry.start({ pool, maxTools: -1 })).rejects.toThrow(/maxTools/);
  await expect(OpenTelemetry.start({} as never)).rejects.toThrow(/pool/);
});

test('a traceparent is read by its grammar alone', () => {
  const state = (): never => undefined as never;
  const parse = (text: string | undefined) => parseTraceContext(text, undefined, state);
  expect(parse(TRACEPARENT)).toEqual({ traceId: TRACE_ID, spanId: SPAN_ID, traceFlags: 1, isRemote: true });
  expect(parse(`01-${TRACE_ID}-${SPAN_ID}-01-what-is-to-come`)).toMatchObject({ traceId: TRACE_ID });
  for (const bad of [
    undefined,
    '',
    'x',
    `00-${TRACE_ID}-${SPAN_ID}-01-more`,
    `ff-${TRACE_ID}-${SPAN_ID}-01`,
    `00-${'0'.repeat(32)}-${SPAN_ID}-01`,
    `00-${TRACE_ID}-${'0'.repeat(16)}-01`,
    TRACEPARENT.toUpperCase(),
    `${TRACEPARENT}\n`,
  ]) {
    expect(parse(bad), String(bad)).toBeUndefined();
  }
});

test('a server that answers with ever new codes makes few series of them', async () => {
  const { pool, connector, call } = memoryPool();
  pool.addServer(MEMORY);
  await tell(pool);
  let code = 0;
  connector.onMessage = ({ id }, connection) => connection.say({ id, error: { code: ++code, message: 'no' } });
  for (let i = 0; i < 100; i++) await outcome(call('add'));
  connector.onMessage = ({ id }, connection) => connection.say({ id, error: { code: -32602, message: 'no' } });
  await outcome(call('add'));
  await reader.forceFlush();
  const all = metrics.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics.flatMap((each) => each.metrics));
  const points = all.find(({ descriptor }) => descriptor.name === 'mcp.client.operation.duration')?.dataPoints ?? [];
  const codes = points.map(({ attributes }) => attributes['error.type']);
  expect(codes.length).toBeLessThan(40);
  expect(codes).toContain('other');
  expect(codes).toContain('-32602');
});
