import { channel } from 'node:diagnostics_channel';
import { afterEach, expect, test } from 'vitest';
import { isToolError } from '../../../src/connection/calls/toolError.js';
import type { CallTrace } from '../../../src/pool/index.js';
import type { PoolEvents } from '../../../src/pool/McpPool.js';
import { UnifiedPool } from '../../../src/pool/UnifiedPool.js';
import { closeAfter } from '../../support/closeAfter.js';
import { MEMORY, memoryPool, outcome } from '../../support/memoryPool.js';

const seen: CallTrace[] = [];
let listening: ((message: unknown) => void) | undefined;

/** Follows calls until the end of the test; `onTrace` is told of each as it comes. */
function follow(onTrace: (trace: CallTrace) => void = () => undefined): readonly CallTrace[] {
  listening = (message) => {
    seen.push(message as CallTrace);
    onTrace(message as CallTrace);
  };
  channel('mcp-poolkit:call').subscribe(listening);
  return seen;
}

afterEach(() => {
  if (listening !== undefined) channel('mcp-poolkit:call').unsubscribe(listening);
  seen.length = 0;
});

const phases = (): string[] => seen.map(({ phase }) => phase);

test('a trace tells tool, principal, parent, attempt, connection, queue and call times, bytes and outcome', async () => {
  const { pool, connector, clock } = memoryPool();
  pool.addServer(MEMORY);
  connector.onStart = () => clock.advance(70);
  connector.onMessage = ({ id, params }, connection) => {
    const result = { isError: params?.['name'] === 'broken' };
    void clock.advance(30).then(() => connection.answer(id as number, result));
  };
  follow();
  const parent = {};
  const caller = { principal: 'alice' };
  await pool.request('s', 'tools/call', { name: 'add' }, { caller, parent });
  const call = seen.at(-1)?.call;
  expect(phases()).toEqual(['queue', 'send', 'answer']);
  expect(new Set(seen.map((trace) => trace.call)).size).toBe(1);
  expect(call).toMatchObject({
    server: 's',
    method: 'tools/call',
    target: 'add',
    principal: 'alice',
    attempt: 1,
    queuedMs: 70,
    callMs: 30,
    outcome: 'ok',
    error: undefined,
  });
  expect(call?.pool).toBe(pool);
  expect(call?.parent).toBe(parent);
  expect(call?.connection?.info.protocolVersion).toBe('2025-11-25');
  await pool.request('s', 'tools/call', { name: 'broken' }, { caller });
  expect(seen.at(-1)?.call).toMatchObject({ outcome: 'tool_error', queuedMs: 0, attempt: 1 });
  expect(seen.at(-1)?.call.connection?.id).toBe(call?.connection?.id);
  expect(seen.at(-1)?.call.id).toBe((call?.id ?? 0) + 1);
});

test('a second attempt tells of the first that failed, and names another connection', async () => {
  const { pool, connector, call } = memoryPool({ backoff: { initialMs: 1, jitterRatio: 0 } });
  pool.addServer(MEMORY);
  let dead = false;
  connector.onMessage = ({ id }, connection) => {
    if (!dead) connection.die('it crashed');
    else connection.answer(id as number, {});
    dead = true;
  };
  const connections: unknown[] = [];
  follow(({ phase, call: traced }) => phase === 'send' && connections.push(traced.connection?.id));
  await outcome(call('a', { idempotent: true }));
  expect(phases()).toEqual(['queue', 'send', 'retry', 'send', 'answer']);
  expect(seen[2]).toMatchObject({ error: { code: 'ERR_OUTCOME_UNKNOWN' } });
  expect(seen.at(-1)?.call).toMatchObject({ attempt: 2, outcome: 'ok' });
  expect(new Set(connections).size).toBe(2);
});

test('the calls of a lease, and those that reach no server, are traced too', async () => {
  const { pool } = memoryPool();
  pool.addServer(MEMORY);
  follow();
  await using lease = await pool.lease('s', { caller: { principal: 'bob' } });
  await lease.request('tools/call', { name: 'a' });
  expect(phases()).toEqual(['queue', 'send', 'answer']);
  expect(seen.at(-1)?.call).toMatchObject({ target: 'a', principal: 'bob', attempt: 1, outcome: 'ok' });
  seen.length = 0;
  await outcome(lease.request('tools/call', { name: 'refuse' }));
  expect(seen.at(-1)?.call.outcome).toBe('ERR_RPC');
  seen.length = 0;
  await outcome(pool.request('nowhere', 'tools/call', { name: 'a' }));
  expect(phases()).toEqual(['queue', 'answer']);
  expect(seen.at(-1)?.call).toMatchObject({ server: 'nowhere', outcome: 'ERR_SERVER_NOT_FOUND', attempt: 0 });
});

test('a call that a successor takes over is one call with one end', async () => {
  const { pool, connector, clock, call } = memoryPool({ maxConnections: 1, maxConcurrent: 1 });
  pool.addServer(MEMORY);
  await call('echo');
  follow();
  const running = outcome(call('hang'));
  const waiting = call('b');
  // It waits for a slot of what is replaced, is refused there, and is answered by what takes its place.
  const applied = pool.apply([{ ...MEMORY, args: ['--other'] }]);
  await clock.advance(6_000);
  await Promise.all([applied, running, waiting]);
  expect(connector.last.calls).toEqual(['b']);
  const of = seen.filter((trace) => trace.call.target === 'b');
  expect(of.map(({ phase }) => phase)).toEqual(['queue', 'send', 'answer']);
  expect(new Set(of.map((trace) => trace.call)).size).toBe(1);
});

test('what a subscriber puts into `meta` goes upstream, over the call’s own, in parsed and in written params', async () => {
  const { pool, connector } = memoryPool();
  pool.addServer(MEMORY);
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
  follow((trace) => {
    if (trace.phase === 'send') trace.call.meta = { traceparent };
  });
  const given = { name: 'a', _meta: { traceparent: '00-old-old-01', own: 1 } };
  await pool.request('s', 'tools/call', given);
  await pool.request('s', 'tools/call', given, {
    paramsText: '{"name":"a","n":1.0,"_meta":{"own":1,"traceparent":"00-old-old-01"}}',
  });
  const sent = connector.last.seen.map(({ params }) => params?.['_meta']);
  expect(sent).toEqual([
    { traceparent, own: 1 },
    { traceparent, own: 1 },
  ]);
  expect(seen[0]).toMatchObject({ traceparent: '00-old-old-01' });
});

test('sizes are those of the messages, parsed or raw, over a real child process', async () => {
  const pool = closeAfter(new UnifiedPool());
  pool.addServer({ name: 'echo', transport: 'stdio', command: process.execPath, args: ['bench/servers/echo.mjs'] });
  follow();
  const params = { name: 'echo', arguments: { text: 'é'.repeat(100) } };
  await pool.request('echo', 'tools/call', params);
  await pool.request('echo', 'tools/call', params, { raw: true });
  const [parsed, raw] = seen.filter(({ phase }) => phase === 'answer').map((trace) => trace.call);
  // 200 bytes of text, and the envelope around it.
  for (const { sentBytes, receivedBytes } of [parsed, raw].map((call) => call as NonNullable<typeof call>)) {
    expect(sentBytes).toBeGreaterThan(260);
    expect(sentBytes).toBeLessThan(400);
    expect(receivedBytes).toBeGreaterThan(240);
    expect(receivedBytes).toBeLessThan(400);
  }
  // Ids of one digit: the same size either way.
  expect([raw?.sentBytes, raw?.receivedBytes]).toEqual([parsed?.sentBytes, parsed?.receivedBytes]);
  expect(raw?.connection?.pid).toBe(pool.stats('echo').pids[0]);
});

test('a result is a tool error by its own member alone', () => {
  const bytes = (text: string): Uint8Array => Buffer.from(text);
  expect(isToolError({ isError: true })).toBe(true);
  expect(isToolError({ isError: 'true' })).toBe(false);
  expect(isToolError(null)).toBe(false);
  expect(isToolError(bytes('{"content":[],"isError":true}'))).toBe(true);
  expect(isToolError(bytes('{"isError" : true ,"content":[]}'))).toBe(true);
  expect(isToolError(bytes('{"isError":false}'))).toBe(false);
  expect(isToolError(bytes('{"content":[{"type":"text","text":"\\"isError\\":true"}]}'))).toBe(false);
  expect(isToolError(bytes('{"structuredContent":{"isError":true}}'))).toBe(false);
  expect(isToolError(bytes('[1,2]'))).toBe(false);
});

test('events say why a server restarted, what its breaker does, and what a new config changed', async () => {
  const { pool, connector, clock, call } = memoryPool({ breakerThreshold: 2, breakerResetMs: 1_000, stableAfterMs: 0 });
  pool.addServer(MEMORY);
  const told: object[] = [];
  for (const event of ['restarted', 'breaker', 'applied', 'exited'] satisfies (keyof PoolEvents)[]) {
    pool.on(event, (payload) => void told.push({ event, ...payload }));
  }
  await call('echo');
  await outcome(call('crash'));
  await call('echo');
  expect(told).toMatchObject([
    { event: 'exited', expected: false, reason: 'it crashed' },
    { event: 'restarted', reason: 'disconnected' },
  ]);
  told.length = 0;
  await outcome(call('crash'));
  await call('echo').catch(() => undefined);
  await outcome(call('crash'));
  await outcome(call('crash'));
  expect(told.filter(({ event }: { event?: string }) => event === 'breaker').slice(0, 1)).toEqual([
    { event: 'breaker', server: 's', state: 'open', scope: 'server' },
  ]);
  clock.advance(1_000);
  told.length = 0;
  await pool.restartServer('s');
  expect(told).toContainEqual({ event: 'restarted', server: 's', attempt: 0, reason: 'requested' });
  expect(told).toContainEqual({ event: 'breaker', server: 's', state: 'closed', scope: 'server' });
  await pool.apply([{ ...MEMORY, name: 't' }]);
  expect(told.at(-1)).toEqual({
    event: 'exited',
    server: 's',
    pid: undefined,
    exitCode: null,
    signal: null,
    expected: true,
    reason: expect.any(String),
    livedMs: expect.any(Number),
  });
  expect(told).toContainEqual({ event: 'applied', added: ['t'], removed: ['s'], restarted: [], unchanged: [] });
  expect(connector.made.length).toBeGreaterThan(2);
});
