import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { silentLogger } from '../../src/core/logger.js';
import { ClientNotices } from '../../src/gateway/bridge/ClientNotices.js';
import { Gateway } from '../../src/gateway/Gateway.js';
import { HeldBytes } from '../../src/gateway/http/HeldBytes.js';
import { UnifiedPool } from '../../src/pool/UnifiedPool.js';
import { closeAfter } from '../support/closeAfter.js';
import { exchange, RawClient } from '../support/httpClient.js';
import { headersOf, META_OF_ANYONE } from '../support/modernRequests.js';
import { RawServer } from '../support/rawServer.js';

const changed = (text: string): object => ({
  jsonrpc: '2.0',
  method: 'notifications/roots/list_changed',
  params: { text },
});

test('what a client tells a bound server that takes it slowly counts as held, and is bounded', async () => {
  const held: (() => void)[] = [];
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    const { id, method } = JSON.parse(body || '{}') as { id?: number; method?: string };
    const result = { protocolVersion: '2025-11-25', capabilities: {}, serverInfo: { name: 'x', version: '1' } };
    response.setHeader('content-type', 'application/json');
    if (method === 'notifications/roots/list_changed') held.push(() => void response.writeHead(202).end());
    else if (id === undefined) response.writeHead(202).end();
    else response.end(JSON.stringify({ jsonrpc: '2.0', id, result }));
  }).listen(0, '127.0.0.1');
  closeAfter({ close: async () => void server.close().closeAllConnections() });
  await expect.poll(() => server.listening).toBe(true);
  const pool = closeAfter(new UnifiedPool({ ledger: false }));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`;
  pool.addServer({ name: 'b', transport: 'http', url, era: 'legacy', sharing: 'bound' });
  const gateway = closeAfter(new Gateway({ pool, port: 0 }));
  const client = new RawClient(`${(await gateway.listen()).url}/servers/b/mcp`);
  await client.initialize();
  for (let i = 0; i < 12; i++) expect((await client.send(changed('x'.repeat(1_000_000)))).status).toBe(202);
  await expect.poll(() => held.length).toBe(4);
  expect(gateway.stats.heldBytes).toBeGreaterThan(8_000_000);
  for (const each of held.splice(0)) each();
  await expect.poll(() => gateway.stats.heldBytes).toBe(0);
  // It goes on with those that follow.
  await client.send(changed('after'));
  await expect.poll(() => held.length).toBe(1);
  held[0]?.();
});

test.each(['/servers/b/mcp', '/mcp'])(
  'a request without an id reaches no server as a notification: %s',
  async (path) => {
    const upstream = await RawServer.listen();
    const pool = closeAfter(new UnifiedPool({ ledger: false }));
    pool.addServer({ name: 'b', transport: 'http', url: upstream.url, sharing: 'bound' });
    const gateway = closeAfter(new Gateway({ pool, port: 0 }));
    const client = new RawClient((await gateway.listen()).url + path);
    await client.initialize();
    await client.call('tools/list');
    for (const method of ['tools/call', 'resources/subscribe', 'x/y']) {
      const params = { name: 'write', uri: 'x:1', arguments: {} };
      expect((await client.send({ jsonrpc: '2.0', method, params })).status).toBe(202);
    }
    await client.send(changed('after'));
    await expect.poll(() => upstream.of('notifications/roots/list_changed')).toHaveLength(1);
    const others = upstream.seen
      .map(({ message }) => message?.method)
      .filter((method) => /call|subscribe|x.y/.test(method));
    expect(others).toEqual([]);
  },
);

test.each(['/servers/s/mcp', '/mcp'])('a notification with an id reaches no server as a request: %s', async (path) => {
  const upstream = await RawServer.listen();
  const pool = closeAfter(new UnifiedPool({ ledger: false }));
  pool.addServer({ name: 's', transport: 'http', url: upstream.url });
  const gateway = closeAfter(new Gateway({ pool, port: 0 }));
  const url = (await gateway.listen()).url + path;
  const client = new RawClient(url);
  await client.initialize();
  await client.call('tools/list');
  const method = 'notifications/cancelled';
  const refused = { error: { code: -32_601, message: expect.stringContaining('has no id') } };
  expect(await client.call(method, { requestId: 1 })).toMatchObject(refused);
  const modern = { jsonrpc: '2.0', id: 1, method, params: { requestId: 1, _meta: META_OF_ANYONE } };
  const { messages } = await exchange(url, { headers: headersOf(method), body: JSON.stringify(modern) });
  expect(messages).toMatchObject([{ error: { code: -32_601 } }]);
  expect(upstream.of(method)).toEqual([]);
});

test('one large notification is always taken while the gateway has room; a session’s small ones are bounded by number', async () => {
  const held = new HeldBytes(64 * 2 ** 20);
  const notices = new ClientNotices(held, silentLogger);
  const ends: (() => void)[] = [];
  const [session, other] = [{}, {}];
  const send = (from: object, chars: number): void =>
    notices.send(
      from,
      'a',
      'notifications/x',
      { text: 'x'.repeat(chars) },
      's',
      () => new Promise((end) => ends.push(end)),
    );
  send(session, 10_000_000);
  send(session, 1);
  expect(ends).toHaveLength(1);
  for (let i = 0; i < 100; i++) send(other, 1);
  expect(ends).toHaveLength(65);
  for (const end of ends) end();
  await expect.poll(() => held.held).toBe(0);
});
