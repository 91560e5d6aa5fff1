import parse from 'parse-prometheus-text-format';
import { Registry } from 'prom-client';
import { afterEach, expect, test } from 'vitest';
import { OptionError } from '../../src/core/errors.js';
import { Instrument, METRICS, prometheusRegistry, registerMetrics } from '../../src/observe/index.js';
import { Scrapes } from '../../src/observe/metrics/Scrapes.js';
import type { McpPool } from '../../src/pool/McpPool.js';
import { MEMORY, memoryPool, outcome } from '../support/memoryPool.js';

/** One family. The parser forgets the labels of histograms: their samples are read as untyped ones. */
interface Parsed {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  readonly metrics: readonly { readonly labels?: Readonly<Record<string, string>>; readonly value?: string }[];
}

let instruments: Instrument[] = [];
afterEach(() => {
  for (const each of instruments) each.close();
  instruments = [];
});

function watch(pool: McpPool, options: object = {}): Instrument {
  const instrument = new Instrument({ pool, ...options });
  instruments.push(instrument);
  return instrument;
}

/** But for what starts anew with each look. */
const linesOf = (text: string): string[] =>
  text.split('\n').filter((line) => line !== '' && !line.startsWith('mcp_poolkit_event_loop_delay_seconds'));

/** As the gateway writes them. */
async function ownLines(instrument: Instrument): Promise<string[]> {
  using scrapes = new Scrapes(() => instrument.collect());
  return linesOf(Buffer.concat(await scrapes.text()).toString());
}

/** What a Prometheus would have read, by name. */
async function scrape(instrument: Instrument): Promise<ReadonlyMap<string, Parsed>> {
  const registry = await prometheusRegistry(instrument);
  expect(registry.contentType).toBe('text/plain; version=0.0.4; charset=utf-8');
  const text = await registry.metrics();
  expect(await ownLines(instrument)).toEqual(linesOf(text));
  const families = parse(text) as Parsed[];
  const untyped = parse(text.replace(/^# TYPE .* histogram$/gm, '')) as Parsed[];
  const found = new Map<string, Parsed>();
  for (const family of untyped) {
    found.set(family.name, { ...family, metrics: [...(found.get(family.name)?.metrics ?? []), ...family.metrics] });
  }
  for (const family of families)
    if (found.get(family.name)?.metrics.length === 0 || family.type !== 'UNTYPED') found.set(family.name, family);
  return found;
}

test('a scrape tells calls by outcome, durations apart from waits, retries, bytes and what is open', async () => {
  const { pool, connector, clock, call } = memoryPool();
  pool.addServer(MEMORY);
  const instrument = watch(pool);
  connector.onStart = () => clock.advance(2_000);
  await call('echo');
  connector.onMessage = ({ id, params }, connection) => {
    if (params?.['name'] === 'slow') void clock.advance(40).then(() => connection.answer(id as number, {}));
    else if (params?.['name'] === 'broken') connection.answer(id as number, { isError: true });
    else if (params?.['name'] === 'refuse') connection.say({ id, error: { code: -1, message: 'no' } });
  };
  await call('slow');
  await call('broken');
  await outcome(call('refuse'));
  const control = new AbortController();
  const hanging = outcome(call('hang', { signal: control.signal }));
  await new Promise((resolve) => setImmediate(resolve));
  const found = await scrape(instrument);
  const calls = found.get('mcp_poolkit_calls_total');
  expect(calls?.type).toBe('COUNTER');
  const counted = calls?.metrics.map(({ labels, value }) => `${labels?.['tool']} ${labels?.['outcome']} ${value}`);
  expect(counted?.sort()).toEqual(['broken tool_error 1', 'echo ok 1', 'refuse ERR_RPC 1', 'slow ok 1']);
  expect(found.get('mcp_poolkit_call_duration_seconds')?.type).toBe('HISTOGRAM');
  const slow = (part: string, le?: string): string | undefined => {
    const all = found.get(`mcp_poolkit_call_duration_seconds_${part}`)?.metrics ?? [];
    return all.find(({ labels }) => labels?.['tool'] === 'slow' && labels['le'] === le)?.value;
  };
  expect([slow('bucket', '0.025'), slow('bucket', '0.05'), slow('bucket', '+Inf')]).toEqual(['0', '1', '1']);
  expect([slow('count'), slow('sum')]).toEqual(['1', '0.04']);
  // The start was waited for before the send: it is no time of the call.
  expect(found.get('mcp_poolkit_queue_duration_seconds_count')?.metrics).toEqual([
    { labels: { server: 's' }, value: '4' },
  ]);
  expect(found.get('mcp_poolkit_queue_duration_seconds_sum')?.metrics).toEqual([
    { labels: { server: 's' }, value: '2' },
  ]);
  expect(found.get('mcp_poolkit_calls_in_flight')?.metrics[0]?.value).toBe('1');
  expect(found.get('mcp_poolkit_calls_waiting')?.metrics[0]?.value).toBe('0');
  expect(instrument.openCalls).toMatchObject([{ target: 'hang', attempt: 1 }]);
  const states = found.get('mcp_poolkit_server_state')?.metrics.filter(({ value }) => value === '1');
  expect(states).toMatchObject([{ labels: { server: 's', state: 'ready' } }]);
  control.abort(new Error('enough'));
  await hanging;
  expect(instrument.openCalls).toEqual([]);
  expect(instrument.series('s')).toMatchObject({ inFlight: 0, waiting: 0 });
});

test('every metric of the list is in a scrape, with its help, its type and no label that it does not name', async () => {
  const { pool, call } = memoryPool({ backoff: { initialMs: 1 }, stableAfterMs: 0 });
  pool.addServer(MEMORY);
  const stats = {
    sessions: 1,
    streams: 2,
    inFlight: 3,
    refused: 4,
    droppedNotices: 5,
    heldBytes: 6,
    cutResponses: { stalled: 7 },
  };
  const limiter = { stats: () => ({ blockedCount: 7, pausedForMs: 1_500 }) };
  const instrument = watch(pool, { gateway: { stats }, limiter });
  await call('echo');
  await outcome(call('crash'));
  await call('echo');
  const found = await scrape(instrument);
  for (const { name, help, type, labels } of METRICS) {
    const family = found.get(name);
    expect(family, name).toBeDefined();
    expect([family?.help, family?.type], name).toEqual([help, type.toUpperCase()]);
    for (const sample of family?.metrics ?? []) {
      const known: readonly string[] = labels;
      expect(Object.keys(sample.labels ?? {}).filter((label) => !known.includes(label))).toEqual([]);
    }
    // By the naming conventions: base units, counters end in _total, nothing else does.
    expect(name).toMatch(type === 'counter' ? /_total$/ : /^(?!.*_total$)/);
    expect(name).not.toMatch(/_(ms|millis|kb|mb|percent)\b/);
    // Prometheus has these two for its own use.
    expect(labels).not.toContain('quantile');
    expect(labels).not.toContain('le');
  }
  expect(found.get('mcp_poolkit_gateway_sessions')?.metrics).toEqual([{ value: '1' }]);
  expect(found.get('mcp_poolkit_limiter_waiting')?.metrics[0]?.value).toBe('7');
  expect(found.get('mcp_poolkit_limiter_paused_seconds')?.metrics[0]?.value).toBe('1.5');
  expect(found.get('mcp_poolkit_restarts_total')?.metrics).toMatchObject([
    { labels: { server: 's', reason: 'disconnected' }, value: '1' },
  ]);
});

test('labels are bounded: tools beyond the list or the number, made-up methods, foreign servers; principals only on request', async () => {
  const { pool } = memoryPool();
  pool.addServer(MEMORY);
  const first = watch(pool, { maxTools: 2 });
  const listed = watch(pool, { tools: ['t7'], principals: ['alice'] });
  for (let i = 0; i < 10; i++) {
    const caller = { principal: i % 2 === 0 ? 'alice' : `p${i}` };
    await pool.request('s', 'tools/call', { name: `t${i}` }, { caller });
    await pool.request('s', `made/up${i}`, {}, { caller });
    await outcome(pool.request(`nowhere${i}`, 'tools/list'));
  }
  const of = async (instrument: Instrument): Promise<Record<string, string>> => {
    const calls = (await scrape(instrument)).get('mcp_poolkit_calls_total')?.metrics ?? [];
    return Object.fromEntries(
      calls.map(({ labels, value }) => {
        const { server, method, tool, principal, outcome: end } = labels ?? {};
        return [[server, method, tool, principal, end].filter(Boolean).join(' '), value ?? ''];
      }),
    );
  };
  expect(await of(first)).toEqual({
    's tools/call t0 ok': '1',
    's tools/call t1 ok': '1',
    's tools/call other ok': '8',
    's other ok': '10',
    'other tools/list ERR_SERVER_NOT_FOUND': '10',
  });
  expect(await of(listed)).toEqual({
    's tools/call other alice ok': '5',
    's tools/call other other ok': '4',
    's tools/call t7 other ok': '1',
    's other alice ok': '5',
    's other other ok': '5',
    'other tools/list other ERR_SERVER_NOT_FOUND': '10',
  });
});

test('names that clients make up take half of the places of tools, and none that are longer than a tool’s may be', async () => {
  const { pool, connector } = memoryPool();
  pool.addServer(MEMORY);
  const instrument = watch(pool);
  const call = (name: string): Promise<unknown> => outcome(pool.request('s', 'tools/call', { name }));
  connector.onMessage = ({ id, params }, connection) => {
    const name = String(params?.['name']);
    if (!name.startsWith('made up')) connection.answer(id as number, {});
    else if (name.endsWith('!')) connection.answer(id as number, { isError: true });
    else connection.say({ id, error: { code: -32602, message: 'unknown tool' } });
  };
  await call('x'.repeat(129));
  for (let i = 0; i < 200; i++) await call(`made up ${i}${i % 2 === 0 ? '!' : ''}`);
  for (let i = 0; i < 60; i++) await call(`real ${i}`);
  const calls = (await scrape(instrument)).get('mcp_poolkit_calls_total')?.metrics ?? [];
  const tools = [...new Set(calls.map(({ labels }) => labels?.['tool'] ?? ''))];
  const of = (start: string): number => tools.filter((tool) => tool.startsWith(start)).length;
  expect([of('made up'), of('real'), of('other'), of('x')]).toEqual([50, 50, 1, 0]);
});

test('a tool whose calls failed has a label of its own once one goes well', async () => {
  const { pool, connector } = memoryPool();
  pool.addServer(MEMORY);
  const instrument = watch(pool, { maxTools: 1 });
  connector.onMessage = ({ id }, connection) => connection.answer(id as number, { isError: true });
  const call = (): Promise<unknown> => pool.request('s', 'tools/call', { name: 'late' });
  await call();
  connector.onMessage = ({ id }, connection) => connection.answer(id as number, {});
  await call();
  await call();
  const calls = (await scrape(instrument)).get('mcp_poolkit_calls_total')?.metrics ?? [];
  expect(calls.map(({ labels, value }) => `${labels?.['tool']} ${labels?.['outcome']} ${value}`).sort()).toEqual([
    'late ok 2',
    'other tool_error 1',
  ]);
});

test('names of servers and tools that are no plain words stay inside their quotes', async () => {
  const { pool } = memoryPool();
  const evil = 'a"} 1\nmcp_poolkit_calls_total{server="forged"} 99\n# HELP x\\';
  // A server's name has no control characters, to begin with.
  const server = evil.replaceAll('\n', ' ');
  pool.addServer({ ...MEMORY, name: server });
  const instrument = watch(pool);
  await pool.request(server, 'tools/call', { name: evil });
  const registry = await prometheusRegistry(instrument);
  const text = await registry.metrics();
  expect(await ownLines(instrument)).toEqual(linesOf(text));
  expect(text).not.toMatch(/^mcp_poolkit_calls_total\{server="forged"/m);
  const lines = text.split('\n').filter((line) => line.startsWith('mcp_poolkit_calls_total'));
  expect(lines).toHaveLength(1);
  expect(lines[0]).toMatch(/ 1$/);
});

test('a registry of one’s own has its metrics beside; another pool’s calls are not counted', async () => {
  const one = memoryPool();
  const two = memoryPool();
  one.pool.addServer(MEMORY);
  two.pool.addServer(MEMORY);
  const instrument = watch(one.pool);
  const registry = new Registry();
  registerMetrics(registry, instrument);
  await one.call('echo');
  await two.call('echo');
  await two.call('echo');
  expect(await registry.getSingleMetricAsString('mcp_poolkit_calls_total')).toMatch(/outcome="ok"\} 1$/m);
  const json = await registry.getMetricsAsJSON();
  expect(json.map(({ name }) => name)).toEqual(METRICS.map(({ name }) => name));
});

test('closed, it listens no more; bad options are told', async () => {
  const { pool, call } = memoryPool();
  pool.addServer(MEMORY);
  const instrument = watch(pool);
  await call('echo');
  instrument.close();
  instrument.close();
  await call('echo');
  const total = instrument.collect().find(({ spec }) => spec.name === 'mcp_poolkit_calls_total');
  expect(total?.samples.map(({ value }) => value)).toEqual([1]);
  expect(() => new Instrument({ pool, maxTool: 1 } as never)).toThrow(OptionError);
  expect(() => new Instrument({ pool, maxServers: 0 })).toThrow(/maxServers/);
  expect(() => new Instrument({} as never)).toThrow(/pool/);
  expect(() => new Instrument({ pool, tools: [''] })).toThrow(/tools/);
});
