import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { OutcomeUnknownError } from '../../src/core/errors.js';
import { Gateway } from '../../src/gateway/Gateway.js';
import { Instrument, type RequestTrace } from '../../src/observe/index.js';
import type { CallTrace } from '../../src/pool/index.js';
import { UnifiedPool } from '../../src/pool/UnifiedPool.js';
import { History, record } from '../../src/testing/index.js';
import { closeAfter } from '../support/closeAfter.js';
import { RawClient } from '../support/httpClient.js';

let pool: UnifiedPool;
let gateway: Gateway;
let url: string;
const seen: RequestTrace[] = [];
const note = (message: unknown): void => void seen.push(message as RequestTrace);
const TRACE = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';

beforeEach(async () => {
  pool = closeAfter(new UnifiedPool({ ledger: false }));
  pool.addServer({ name: 'echo', transport: 'stdio', command: process.execPath, args: ['bench/servers/echo.mjs'] });
  gateway = closeAfter(new Gateway({ pool, port: 0 }));
  ({ url } = await gateway.listen());
});
afterEach(() => {
  unsubscribe('mcp-poolkit:request', note);
  seen.length = 0;
});

async function client(path = '/mcp'): Promise<RawClient> {
  const opened = new RawClient(url + path);
  await opened.initialize();
  return opened;
}

test('each request of a client is followed from its arrival to its answer, and its calls name it as their parent', async () => {
  const one = await client();
  subscribe('mcp-poolkit:request', note);
  using instrument = new Instrument({ pool, gateway });
  const parents: unknown[] = [];
  const onCall = (message: unknown): void => {
    const { phase, call } = message as CallTrace;
    if (phase === 'send' && call.method === 'tools/call') parents.push(call.parent);
  };
  subscribe('mcp-poolkit:call', onCall);
  const params = { name: 'echo__echo', arguments: { text: 'hi' }, _meta: { traceparent: TRACE } };
  const sent = await one.send({ jsonrpc: '2.0', id: 1, method: 'tools/call', params }, { traceparent: 'of-http' });
  expect(sent.messages[0]).toMatchObject({ result: { content: [{ text: 'hi' }] } });
  await one.send({ jsonrpc: '2.0', id: 2, method: 'tools/call', params: { name: 'nothing__here' } });
  await one.call('ping');
  unsubscribe('mcp-poolkit:call', onCall);
  const ends = seen.filter(({ phase }) => phase === 'end').map(({ request }) => request);
  expect(seen.map(({ phase }) => phase)).toEqual(['begin', 'end', 'begin', 'end', 'begin', 'end']);
  expect(ends[0]).toMatchObject({
    method: 'tools/call',
    target: 'echo__echo',
    era: 'legacy',
    protocolVersion: '2025-11-25',
    transport: 'http',
    traceparent: TRACE,
    httpTraceparent: 'of-http',
    outcome: 'ok',
  });
  expect(ends[0]?.durationMs).toBeGreaterThan(0);
  expect(ends[1]?.outcome).not.toBe('ok');
  expect(ends[2]).toMatchObject({ method: 'ping', outcome: 'ok' });
  expect(parents[0]).toBe(ends[0]);
  expect(new Set(ends.map(({ id }) => id)).size).toBe(3);
  const total = instrument.collect().find(({ spec }) => spec.name === 'mcp_poolkit_gateway_requests_total');
  expect(total?.samples).toContainEqual({ labels: { method: 'tools/call', era: 'legacy', outcome: 'ok' }, value: 1 });
  expect(total?.samples).toContainEqual({ labels: { method: 'ping', era: 'legacy', outcome: 'ok' }, value: 1 });
});

test('a request of the modern era is followed the same way', async () => {
  subscribe('mcp-poolkit:request', note);
  const _meta = {
    'io.modelcontextprotocol/protocolVersion': '2026-07-28',
    'io.modelcontextprotocol/clientInfo': { name: 'c', version: '1' },
    'io.modelcontextprotocol/clientCapabilities': {},
  };
  const params = { name: 'echo', arguments: { text: 'hi' }, _meta };
  const headers = { 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'tools/call', 'mcp-name': 'echo' };
  const one = new RawClient(`${url}/servers/echo/mcp`);
  const { messages } = await one.send({ jsonrpc: '2.0', id: 1, method: 'tools/call', params }, headers);
  expect(messages[0]).toMatchObject({ result: { content: [{ text: 'hi' }] } });
  expect(seen.at(-1)?.request).toMatchObject({
    era: 'modern',
    protocolVersion: '2026-07-28',
    target: 'echo',
    outcome: 'ok',
  });
});

test('a pool that is recorded is seen through: the gateway over it, and the instrument on either, count its calls', async () => {
  const recorded = record(pool, new History());
  const over = closeAfter(new Gateway({ pool: recorded, port: 0 }));
  const one = new RawClient(`${(await over.listen()).url}/servers/echo/mcp`);
  await one.initialize();
  using inner = new Instrument({ pool });
  using outer = new Instrument({ pool: recorded, gateway: over });
  await one.call('tools/call', { name: 'echo', arguments: { text: 'hi' } });
  for (const instrument of [inner, outer]) {
    const told = new Map(
      instrument.collect().map(({ spec, samples }) => [spec.name, samples.map(({ value }) => value)]),
    );
    expect([told.get('mcp_poolkit_calls_total'), told.get('mcp_poolkit_gateway_requests_total')]).toEqual([[1], [1]]);
  }
});

test('a request that is cancelled from outside ends upstream, and its client is told why', async () => {
  const one = await client('/servers/echo/mcp');
  using instrument = new Instrument({ pool, gateway });
  const params = { name: 'sleep', arguments: { ms: 60_000 } };
  const answer = one.send({ jsonrpc: '2.0', id: 7, method: 'tools/call', params });
  await expect.poll(() => instrument.openCalls.map(({ attempt }) => attempt)).toEqual([1]);
  const [open] = instrument.openRequests;
  expect(instrument.openCalls.filter(({ parent }) => parent === open)).toMatchObject([
    { server: 'echo', target: 'sleep', attempt: 1 },
  ]);
  open?.cancel(new OutcomeUnknownError('echo', 'tools/call', 'an operator cancelled it'));
  expect((await answer).messages[0]?.error?.message).toMatch(/an operator cancelled it/);
  expect(instrument.openRequests).toEqual([]);
  expect(instrument.openCalls).toEqual([]);
});

test('a request that its client cancels ends as one that was given up, not as an error', async () => {
  const one = await client('/servers/echo/mcp');
  subscribe('mcp-poolkit:request', note);
  const answer = one.send({
    jsonrpc: '2.0',
    id: 7,
    method: 'tools/call',
    params: { name: 'sleep', arguments: { ms: 60_000 } },
  });
  await expect.poll(() => seen.map(({ phase }) => phase)).toEqual(['begin']);
  await one.send({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 7, reason: 'enough' } });
  await answer;
  expect(seen.at(-1)).toMatchObject({
    phase: 'end',
    request: { outcome: 'ABORTED', error: expect.objectContaining({ message: 'enough' }) },
  });
});
