import { connect, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Gateway } from '../../src/gateway/Gateway.js';
import { FakePool } from '../support/FakePool.js';
import { exchange, RawClient } from '../support/httpClient.js';

let pool: FakePool;
let gateway: Gateway;
let url: string;
let client: RawClient;

beforeEach(async () => {
  pool = new FakePool({ one: { methods: { 'tools/call': (params) => ({ params }) } } });
  gateway = new Gateway({
    pool,
    port: 0,
    maxBodyBytes: 1_000,
    allowedHosts: ['proxy.test'],
    allowedOrigins: ['app.test'],
  });
  url = (await gateway.listen()).url;
  client = new RawClient(`${url}/servers/one/mcp`);
  await client.initialize();
});

afterEach(() => gateway.close());

const ping = { jsonrpc: '2.0', id: 1, method: 'ping' };

test('a foreign Host or Origin is refused before anything is read', async () => {
  for (const host of [
    'evil.test',
    'evil.test:80',
    '127.0.0.1.evil.test',
    '127.1',
    '0x7f.1',
    '2130706433',
    'evil.test.',
    'localhost@evil.test',
  ]) {
    expect((await client.send(ping, { host })).status, host).toBe(403);
  }
  for (const host of [
    'evil.test@localhost',
    'user:pw@127.0.0.1',
    'localhost/evil',
    'localhost#x',
    'localhost\\@evil',
    'localhost?x',
    'localhost:99999',
    'localhost..',
    ' ',
  ]) {
    expect((await client.send(ping, { host })).status, host).toBe(400);
  }
  for (const origin of ['http://evil.test', 'null', 'http://localhost.evil.test', 'file://', 'localhost']) {
    expect((await client.send(ping, { origin })).status, origin).toBe(403);
  }
  for (const origin of ['http://evil.test@localhost', 'http://localhost/x']) {
    expect((await client.send(ping, { origin })).status, origin).toBe(400);
  }
  expect(gateway.stats.refused).toBe(24);
  for (const host of [
    'localhost',
    'localhost.',
    'proxy.test.:8',
    'LOCALHOST:99',
    '[::1]:3399',
    'proxy.test',
    'proxy.test:8',
  ]) {
    expect((await client.send(ping, { host })).status, host).toBe(200);
  }
  for (const origin of ['http://localhost:6274', 'https://app.test']) {
    expect((await client.send(ping, { origin })).status, origin).toBe(200);
  }
});

test('what is not the protocol gets the status and the code for it', async () => {
  const post = (body: string | Buffer, headers: Record<string, string> = {}) =>
    exchange(client.url, { headers: { ...client.headers, ...headers }, body });
  const table: [Awaited<ReturnType<typeof post>>, number, number | undefined][] = [
    [await post('{'), 400, -32_700],
    [await post(''), 400, -32_700],
    [await post('"x"'), 400, -32_600],
    [await post('[]'), 400, -32_600],
    [await post(JSON.stringify([ping])), 400, -32_600],
    [await post('{"jsonrpc":"2.0","id":null,"method":"ping"}'), 400, -32_600],
    [await post('{"jsonrpc":"2.0","id":{},"method":"ping"}'), 400, -32_600],
    [await post('{"jsonrpc":"2.0","id":1,"method":7}'), 400, -32_600],
    [await post('{"jsonrpc":"2.0","id":1,"method":"x","params":[1]}'), 400, -32_600],
    [await post('{"id":1,"method":"ping"}'), 400, -32_600],
    [await post(JSON.stringify(ping), { 'content-type': 'text/plain' }), 415, -32_600],
    [await post(JSON.stringify(ping), { 'content-encoding': 'gzip' }), 415, -32_600],
    [await post(JSON.stringify(ping), { 'content-type': 'application/json; charset=utf-16' }), 415, -32_600],
    [await post(JSON.stringify(ping), { 'content-type': 'application/json;x=y; charset="ISO-8859-1"' }), 415, -32_600],
    [await post(JSON.stringify(ping), { 'content-type': 'application/json; charset="UTF-8"' }), 200, undefined],
    [await post(JSON.stringify(ping), { 'transfer-encoding': 'gzip, chunked' }), 501, -32_600],
    [await post(JSON.stringify(ping), { 'transfer-encoding': 'Chunked' }), 200, undefined],
    [await post(JSON.stringify(ping), { accept: 'text/html' }), 406, -32_600],
    [await post(JSON.stringify(ping), { 'mcp-protocol-version': '1999-01-01' }), 400, -32_600],
    [await post(JSON.stringify(ping), { 'mcp-session-id': 'unknown' }), 404, -32_600],
    [
      await exchange(client.url, { headers: { 'content-type': 'application/json' }, body: JSON.stringify(ping) }),
      400,
      -32_600,
    ],
    [await exchange(client.url, { method: 'GET', headers: { accept: 'application/json' } }), 406, -32_600],
    [await exchange(client.url, { method: 'PUT' }), 405, undefined],
    [await exchange(`${url}/`, { method: 'GET' }), 404, -32_600],
    [await exchange(`${url}/servers/none/mcp`, { body: '{}' }), 404, -32_600],
    [await exchange(`${url}/servers/%zz/mcp`, { body: '{}' }), 404, -32_600],
  ];
  for (const [index, [reply, status, code]] of table.entries()) {
    expect([index, reply.status, reply.messages[0]?.error?.code]).toEqual([index, status, code]);
  }
  expect((await post(JSON.stringify(ping), { 'content-type': 'application/json; charset=utf-8' })).status).toBe(200);
  expect((await post('{"jsonrpc":"2.0","id":1,"result":{}}')).status).toBe(202);
  expect(pool.calls).toEqual([]);
});

test('a session belongs to the endpoint that it was opened on', async () => {
  const other = new RawClient(`${url}/mcp`);
  other.sessionId = client.sessionId;
  expect((await other.send(ping)).status).toBe(404);
  // An id that is stale, or of elsewhere, opens a new session.
  const again = await other.send({ jsonrpc: '2.0', id: 1, method: 'initialize', params: {} });
  expect(again.status).toBe(200);
});

test('a body over the bound is refused, whether its length was told or not, and the refusal arrives', async () => {
  for (const size of [1_000, 8_000_000]) {
    const body = JSON.stringify({ ...ping, params: { pad: 'x'.repeat(size) } });
    expect((await exchange(client.url, { headers: client.headers, body })).status).toBe(413);
    const untold = { ...client.headers, 'transfer-encoding': 'chunked' };
    expect((await exchange(client.url, { headers: untold, body })).status).toBe(413);
  }
  const fits = JSON.stringify({ ...ping, params: { pad: 'x'.repeat(900) } });
  expect((await exchange(client.url, { headers: client.headers, body: fits })).status).toBe(200);
});

test('nothing of the headers of a client reaches a server', async () => {
  const secrets = { authorization: 'Bearer s3cret', cookie: 'id=s3cret', 'mcp-param-x': 's3cret' };
  await client.send({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'x' } }, secrets);
  expect(pool.calls).toHaveLength(1);
  // The trace that the call is part of is the gateway's own.
  const told = JSON.stringify(pool.calls, (key, value: unknown) => (key === 'parent' ? undefined : value));
  expect(told).not.toContain('s3cret');
});

test('a client that goes away while it sends is forgotten, and the gateway goes on', async () => {
  const socket: Socket = connect(Number(new URL(url).port), '127.0.0.1');
  const head = [
    'POST /mcp HTTP/1.1',
    'host: localhost',
    'content-type: application/json',
    'content-length: 100',
    '',
    '{',
  ];
  await new Promise<void>((resolve) => socket.write(head.join('\r\n'), () => resolve()));
  await expect.poll(() => gateway.stats.inFlight).toBe(1);
  socket.destroy();
  await expect.poll(() => gateway.stats.inFlight).toBe(0);
  expect((await client.send(ping)).status).toBe(200);
});
