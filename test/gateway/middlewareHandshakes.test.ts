import { expect, test } from 'vitest';
import type { Middleware, MiddlewareCall } from '../../src/connection/calls/Middleware.js';
import { Gateway } from '../../src/gateway/Gateway.js';
import { redact } from '../../src/middleware/ready/redact.js';
import { UnifiedPool } from '../../src/pool/UnifiedPool.js';
import { closeAfter } from '../support/closeAfter.js';
import { FakePool } from '../support/FakePool.js';
import { RawClient } from '../support/httpClient.js';
import { RawServer } from '../support/rawServer.js';
import { SseStream } from '../support/sseStream.js';

/** What a client says of itself passes the middleware of a gateway, and so does what it is told of its servers. */

async function served() {
  const pool = new FakePool({ a: { capabilities: { tools: {} }, instructions: 'the key is secret-1' } });
  const gateway = closeAfter(new Gateway({ pool, port: 0, sse: true }));
  return { gateway, url: (await gateway.listen()).url };
}

test.each([
  ['/servers/a/mcp', 'a'],
  ['/mcp', undefined],
])('the handshake of a legacy client passes as a request, with what answers it: %s', async (path, server) => {
  const { gateway, url } = await served();
  const seen: unknown[] = [];
  gateway.use((call, next) => {
    const { kind, from, method, caller, params } = call;
    seen.push([kind, from, method, call.server, call.path, caller?.origin, params?.['protocolVersion']]);
    return next();
  });
  // Versions are dates, which go on as they are.
  gateway.use(redact({ patterns: ['secret-\\d+', '\\d{4}-\\d{2}-\\d{2}', 'raw'], replacement: 'X' }));
  const client = new RawClient(url + path);
  const { result } = await client.initialize('2025-06-18');
  expect(result).toMatchObject({ protocolVersion: '2025-06-18', capabilities: { tools: {} } });
  expect(result?.['instructions']).toContain('the key is X');
  expect(seen).toEqual([['request', 'client', 'initialize', server, path, '127.0.0.1', '2025-06-18']]);
  expect((await client.call('ping')).result).toEqual({});
  expect(gateway.stats.sessions).toBe(1);
});

test('over HTTP+SSE the handshake passes as well', async () => {
  const { gateway, url } = await served();
  gateway.use(redact({ patterns: ['secret-\\d+'], replacement: 'X' }));
  const stream = await SseStream.open(`${url}/servers/a/sse`);
  const params = { protocolVersion: '2024-11-05', capabilities: {}, clientInfo: { name: 'raw', version: '1' } };
  expect(await stream.ask(1, { method: 'initialize', params })).toMatchObject({
    result: { protocolVersion: '2024-11-05', instructions: 'the key is X' },
  });
});

test('a handshake that middleware refuses, answers itself or makes again leaves no session but that of its answer', async () => {
  const { gateway, url } = await served();
  const opened = async (middleware: Middleware): Promise<unknown> => {
    const used = gateway.use(middleware);
    const client = new RawClient(`${url}/servers/a/mcp`);
    const { error } = await client.initialize();
    used[Symbol.dispose]();
    return [error?.code, client.sessionId !== '', gateway.stats.sessions];
  };
  const failing = async (_: MiddlewareCall, next: () => Promise<object>): Promise<object> => {
    await next();
    throw new Error('not this one');
  };
  expect(await opened(() => Promise.reject(new Error('not this one')))).toEqual([-32_603, false, 0]);
  expect(await opened(failing)).toEqual([-32_603, false, 0]);
  expect(await opened(async () => ({ protocolVersion: '2025-11-25' }))).toEqual([-32_603, false, 0]);
  expect(await opened(async (_, next) => [await next(), await next()][1] as object)).toEqual([undefined, true, 1]);
});

test.each(['/servers/b/mcp', '/mcp'])(
  'what a client tells a bound server passes, in its order, and may be changed or held back: %s',
  async (path) => {
    const upstream = await RawServer.listen();
    const pool = closeAfter(new UnifiedPool({ ledger: false }));
    pool.addServer({ name: 'b', transport: 'http', url: upstream.url, sharing: 'bound' });
    const gateway = closeAfter(new Gateway({ pool, port: 0 }));
    const client = new RawClient((await gateway.listen()).url + path);
    await client.initialize();
    await client.call('tools/list');
    const seen: unknown[] = [];
    let letGo = (): void => undefined;
    const held = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    gateway.use(async (call, next) => {
      const { kind, from, method, server, caller } = call;
      seen.push([kind, from, method, server, call.path, caller?.origin]);
      if (method === 'notifications/first') await held;
      if (method === 'notifications/dropped') throw new Error('not this one');
      return next({ params: { ...call.params, text: 'changed' } });
    });
    const tell = (method: string): Promise<unknown> =>
      client.send({ jsonrpc: '2.0', method, params: { text: 'secret', n: 1 } });
    await tell('notifications/first');
    await expect.poll(() => seen).toHaveLength(1);
    await tell('notifications/dropped');
    await tell('notifications/second');
    letGo();
    await expect.poll(() => upstream.of('notifications/second')).toHaveLength(1);
    const told = upstream.seen
      .map(({ message }) => message)
      .filter((each) => /first|dropped|second/.test(each?.method));
    expect(told.map(({ method, params }) => [method, params])).toEqual(
      ['notifications/first', 'notifications/second'].map((method) => [method, { text: 'changed', n: 1 }]),
    );
    expect(seen).toEqual(
      ['first', 'dropped', 'second'].map((name) => {
        return ['notification', 'client', `notifications/${name}`, 'b', path, '127.0.0.1'];
      }),
    );
  },
);
