import { Client as ModernClient, SSEClientTransport as ModernSse } from '@modelcontextprotocol/client';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import {
  CreateMessageRequestSchema,
  LoggingMessageNotificationSchema,
  ResourceUpdatedNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js';
import express from 'express';
import { afterEach, expect, test, vi } from 'vitest';
import { OptionError } from '../../src/core/errors.js';
import { Gateway } from '../../src/gateway/Gateway.js';
import type { GatewayOptions } from '../../src/gateway/GatewayOptions.js';
import { bearerTokens } from '../../src/gateway/users/bearerTokens.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { closeAfter } from '../support/closeAfter.js';
import { countTurns } from '../support/countTurns.js';
import { dualEraConfig, dualEraGateway } from '../support/dualEra.js';
import { FakePool } from '../support/FakePool.js';
import { exchange, type Message } from '../support/httpClient.js';
import { SseStream } from '../support/sseStream.js';

// Programs start here, and the machine may be busy.
vi.setConfig({ testTimeout: 60_000 });

let ends: (() => unknown)[] = [];

afterEach(async () => {
  await Promise.all(ends.map((end) => end()));
  ends = [];
});

const INIT = {
  method: 'initialize',
  params: { protocolVersion: '2024-11-05', capabilities: {}, clientInfo: { name: 'old', version: '1' } },
};

/** A server whose `hold` is answered when the test says so. */
function held() {
  let release: () => void = () => undefined;
  const gate = new Promise<void>((resolve) => {
    release = resolve;
  });
  const pool = new FakePool({
    a: {
      methods: {
        'tools/list': () => ({ tools: [] }),
        'tools/call': async (params, { caller, onRequest, signal = new AbortController().signal }) => {
          await gate;
          if (params?.['name'] === 'ask') {
            return onRequest?.({ id: 1, method: 'sampling/createMessage', params: {} }, { signal });
          }
          return { content: [], principal: caller?.principal };
        },
      },
    },
  });
  return { pool, release };
}

async function gateway(pool: FakePool, options: Partial<GatewayOptions> = {}) {
  const own = closeAfter(new Gateway({ pool, port: 0, sse: true, ...options }));
  const { url } = await own.listen();
  return { gateway: own, url, path: `${url}/servers/a/sse` };
}

const HOLD = { method: 'tools/call', params: { name: 'hold', arguments: {} } };

test('the official client of that transport is served in full, before one server and before all', async () => {
  const { url } = await dualEraGateway(await dualEraConfig('stdio', { sharing: 'bound', era: 'legacy' }), {
    sse: true,
  });
  const client = new Client({ name: 'old', version: '1' }, { capabilities: { sampling: {} } });
  ends.push(() => client.close());
  client.setRequestHandler(CreateMessageRequestSchema, async () => ({
    role: 'assistant',
    model: 'm',
    content: { type: 'text', text: 'sampled' },
  }));
  const lines: unknown[] = [];
  client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) => void lines.push(params.data));
  const updated: string[] = [];
  client.setNotificationHandler(ResourceUpdatedNotificationSchema, ({ params }) => void updated.push(params.uri));
  await client.connect(new SSEClientTransport(new URL(`${url}/servers/dual/sse`)));
  expect(client.getServerCapabilities()).toMatchObject({ tools: {}, logging: {} });
  expect((await client.listTools()).tools.length).toBeGreaterThan(10);
  const progress: number[] = [];
  await client.callTool({ name: 'test_tool_with_progress', arguments: {} }, undefined, {
    onprogress: (each) => void progress.push(each.progress),
  });
  // The client drops what comes in one piece with the answer.
  expect([0, 50, 100].slice(0, progress.length)).toEqual(progress);
  expect(progress).not.toEqual([]);
  await client.setLoggingLevel('info');
  await client.callTool({ name: 'test_tool_with_logging', arguments: {} });
  await vi.waitFor(() => expect(lines).toHaveLength(3));
  const sampled = await client.callTool({ name: 'test_sampling', arguments: { prompt: 'hi' } });
  expect(JSON.stringify(sampled)).toContain('sampled');
  await client.subscribeResource({ uri: 'test://watched-resource' });
  await client.callTool({ name: 'test_touch_resource', arguments: {} });
  await vi.waitFor(() => expect(updated).toEqual(['test://watched-resource']));
  const control = new AbortController();
  const slow = client.callTool({ name: 'test_slow', arguments: { ms: 60_000 } }, undefined, { signal: control.signal });
  control.abort(new Error('enough'));
  await expect(slow).rejects.toThrow('enough');
  await client.ping();

  for (const versionNegotiation of [undefined, { mode: 'auto' } as const]) {
    const newer = new ModernClient({ name: 'newer', version: '1' }, versionNegotiation && { versionNegotiation });
    ends.push(() => newer.close());
    await newer.connect(new ModernSse(new URL(`${url}/sse`)));
    const { tools } = await newer.listTools();
    expect(tools.map(({ name }) => name)).toContain('dual__test_simple_text');
    const result = await newer.callTool({ name: 'dual__test_simple_text', arguments: {} });
    expect(JSON.stringify(result)).toContain('simple text response');
  }
});

test('an answer waits for a client whose connection broke off, and so does a question', async () => {
  const { pool, release } = held();
  const { path } = await gateway(pool);
  const first = await SseStream.open(path);
  await first.ask(1, { ...INIT, params: { ...INIT.params, capabilities: { sampling: {} } } });
  expect(await first.post({ id: 2, ...HOLD })).toBe(202);
  expect(await first.post({ id: 3, method: 'tools/call', params: { name: 'ask' } })).toBe(202);
  first.cut();
  release();
  const second = await SseStream.open(path, { 'last-event-id': first.lastId });
  expect(second.address).toBe(first.address);
  expect(await second.answer(2)).toMatchObject({ result: { content: [] } });
  const asked = (): Message[] => second.messages.filter(({ method }) => method === 'sampling/createMessage');
  await second.until(() => asked().length > 0);
  expect(await second.post({ id: asked()[0]?.id, result: { model: 'm' } })).toBe(202);
  expect(await second.answer(3)).toMatchObject({ result: { model: 'm' } });
  // Each once, and what it had already not again.
  expect(second.messages).toHaveLength(3);
});

test('a stream is its principal’s alone', async () => {
  const { pool, release } = held();
  release();
  const { url, path } = await gateway(pool, {
    authenticate: bearerTokens({ 'token-of-anna-0001': 'anna', 'token-of-bert-0001': 'bert' }),
  });
  expect((await exchange(path, { method: 'GET', headers: { accept: 'text/event-stream' } })).status).toBe(401);
  const anna = await SseStream.open(path, { authorization: 'Bearer token-of-anna-0001' });
  await anna.ask(1, INIT);
  expect(await anna.ask(2, HOLD)).toMatchObject({ result: { principal: 'anna' } });
  expect(await anna.post(HOLD, { authorization: 'Bearer token-of-bert-0001' })).toBe(404);
  expect(await anna.post(HOLD, {})).toBe(401);
  const bert = await SseStream.open(path, { authorization: 'Bearer token-of-bert-0001', 'last-event-id': anna.lastId });
  expect(bert.address).not.toBe(anna.address);
  expect(bert.messages).toEqual([]);
  // Nor is it that of another path.
  const elsewhere = anna.address.replace('/servers/a/sse', '/sse');
  expect(elsewhere).toContain(`${url}/sse?`);
  const { status } = await exchange(elsewhere, {
    headers: { authorization: 'Bearer token-of-anna-0001', 'content-type': 'application/json' },
    body: '{}',
  });
  expect(status).toBe(404);
});

test('what is no request of that transport is refused by its status', async () => {
  const { pool } = held();
  const { url, path } = await gateway(pool, { allowedOrigins: ['page.example'] });
  const get = (at: string, headers: Record<string, string>) => exchange(at, { method: 'GET', headers });
  expect((await get(path, { accept: 'application/json' })).status).toBe(406);
  expect((await get(`${url}/servers/none/sse`, { accept: 'text/event-stream' })).status).toBe(404);
  // A client that tries the newer transport first is told to go on to this one.
  const json = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
  const newer = await exchange(path, { headers: json, body: JSON.stringify({ jsonrpc: '2.0', id: 1, ...INIT }) });
  expect(newer).toMatchObject({ status: 405, headers: { allow: 'GET' } });
  expect((await exchange(`${path}?sessionId=none`, { headers: json, body: '{}' })).status).toBe(404);
  const stream = await SseStream.open(path, { origin: 'https://page.example' });
  const send = (body: string, headers: Record<string, string> = json) => exchange(stream.address, { headers, body });
  expect((await send('{')).status).toBe(400);
  expect((await send('{"jsonrpc":"1.0"}')).status).toBe(400);
  expect((await send('[]')).status).toBe(400);
  expect((await send('{}', { 'content-type': 'text/plain' })).status).toBe(415);
  expect((await exchange(stream.address, { method: 'DELETE' })).status).toBe(405);
  const asking = { origin: 'https://page.example', 'access-control-request-method': 'POST' };
  const preflight = await exchange(stream.address, { method: 'OPTIONS', headers: asking });
  expect(preflight.headers['access-control-allow-origin']).toBe('https://page.example');
  expect(preflight.headers['access-control-allow-headers']).toContain('content-type');
  expect((await get(path, { accept: 'text/event-stream', origin: 'https://other.example' })).status).toBe(403);
  // Nothing of it is there where it was not asked for.
  const without = await gateway(pool, { sse: false });
  expect((await get(without.path, { accept: 'text/event-stream' })).status).toBe(404);
  expect(() => new Gateway({ pool, sse: 'yes' as never })).toThrow(OptionError);
});

test('close() answers what is in flight, on the stream, and then ends it', async () => {
  const { pool, release } = held();
  const { gateway: own, path } = await gateway(pool);
  const stream = await SseStream.open(path);
  const idle = await SseStream.open(path);
  await stream.ask(1, INIT);
  expect(await stream.post({ id: 2, ...HOLD })).toBe(202);
  const closing = own.close({ graceMs: 10_000 });
  await idle.end();
  release();
  expect(await stream.answer(2)).toMatchObject({ result: { content: [] } });
  await stream.end();
  await closing;
});

test('clients that do not initialise, or do not come back, are forgotten', async () => {
  const { pool } = held();
  const clock = new FakeClock();
  const { gateway: own, path } = await gateway(pool, { clock });
  const silent = await SseStream.open(path);
  const gone = await SseStream.open(path);
  await gone.ask(1, INIT);
  expect(own.stats.sessions).toBe(1);
  gone.cut();
  await vi.waitFor(() => expect(own.stats.streams).toBe(0));
  await clock.advance(29_000);
  expect(own.stats.sessions).toBe(1);
  await clock.advance(5_000);
  expect(own.stats.sessions).toBe(0);
  await silent.end();
  // Of many that open a stream at once those beyond the bound are refused, and none that is there loses its place.
  const first = await SseStream.open(path);
  for (let i = 0; i < 99; i++) await SseStream.open(path);
  const refused = await fetch(path, { headers: { accept: 'text/event-stream' } });
  expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '1']);
  expect(await first.post({ method: 'notifications/x' })).toBe(202);
  // Of those that say nothing, the oldest of the address that has most makes room.
  await clock.advance(2_000);
  await SseStream.open(path);
  await first.end();
});

test('a client whose stream was opened anew by its library goes on without a word, also on another proxy', async () => {
  const { pool, release } = held();
  release();
  const { path } = await gateway(pool);
  const stream = await SseStream.open(path, { 'last-event-id': 'abc_7' });
  expect(await stream.ask(1, { method: 'ping' })).toMatchObject({ result: {} });
  expect(await stream.ask(2, { method: 'server/discover' })).toMatchObject({ error: { code: -32_601 } });
  expect(await stream.ask(3, HOLD)).toMatchObject({ result: { content: [] } });
  expect(await stream.ask(4, INIT)).toMatchObject({ error: { code: -32_600 } });
});

test('requests that come while the session is being opened wait for it, and it is opened once', async () => {
  const { pool, release } = held();
  release();
  let started: () => void = () => undefined;
  const up = new Promise<void>((resolve) => {
    started = resolve;
  });
  const { gateway: own, path } = await gateway(pool);
  const info = vi.spyOn(pool, 'info').mockReturnValue(undefined as never);
  const request = vi.spyOn(pool, 'request').mockImplementationOnce(async () => {
    await up;
    info.mockRestore();
    return {};
  });
  const stream = await SseStream.open(path);
  expect(await stream.post({ id: 1, ...INIT })).toBe(202);
  await vi.waitFor(() => expect(request).toHaveBeenCalled());
  expect(await stream.post({ id: 2, ...HOLD })).toBe(202);
  expect(await stream.ask(3, INIT)).toMatchObject({ error: { code: -32_600 } });
  expect(own.stats.sessions).toBe(1);
  started();
  expect(await stream.answer(1)).toMatchObject({ result: { protocolVersion: '2024-11-05' } });
  expect(await stream.answer(2)).toMatchObject({ result: { content: [] } });
  expect(own.stats.sessions).toBe(1);
});

test('below a path of a host’s own, the client is told that path', async () => {
  const { pool } = held();
  const own = closeAfter(new Gateway({ pool, sse: true }));
  const app = express();
  app.use('/tools', own.handler);
  const server = app.listen(0, '127.0.0.1');
  ends.push(() => new Promise<void>((resolve) => void server.close(() => resolve())));
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as { port: number };
  const stream = await SseStream.open(`http://127.0.0.1:${port}/tools/servers/a/sse/?key=v`);
  expect(stream.address).toContain(`:${port}/tools/servers/a/sse?key=v&sessionId=`);
  await stream.ask(1, INIT);
  expect(await stream.ask(2, { method: 'tools/list' })).toMatchObject({ result: { tools: [] } });
  stream.cut();
  await stream.end();
});

test('a large body is read in turns of the event loop, and what comes behind it waits for it', async () => {
  const { gateway: own, path } = await gateway(new FakePool({ a: {} }));
  const accept = { accept: 'text/event-stream', host: '127.0.0.1' };
  const opened = await own.fetch(new Request(path, { headers: accept }));
  const reader = opened.body?.getReader();
  const told = new TextDecoder().decode((await reader?.read())?.value);
  const url = new URL(/^data: (.*)$/m.exec(told)?.[1] ?? '', path);
  const order: string[] = [];
  using turns = countTurns();
  const post = async (name: string, pad: string): Promise<number> => {
    const body = JSON.stringify({ jsonrpc: '2.0', method: 'notifications/x', params: { pad } });
    const before = turns.count;
    const { status } = await own.fetch(
      new Request(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body }),
    );
    expect(status).toBe(202);
    order.push(name);
    return turns.count - before;
  };
  const alone = await post('small', 'x');
  const [large] = await Promise.all([post('large', 'x'.repeat(1_000_000)), post('behind', 'x')]);
  expect(order).toEqual(['small', 'large', 'behind']);
  expect(large).toBeGreaterThanOrEqual(alone + 3);
  await reader?.cancel();
});
