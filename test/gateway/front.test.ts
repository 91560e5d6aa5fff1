import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { StartError } from '../../src/core/errors.js';
import { Gateway } from '../../src/gateway/Gateway.js';
import type { ServerConfig } from '../../src/registry/config/ServerConfig.js';
import { closeAfter } from '../support/closeAfter.js';
import { collectGarbage } from '../support/collectGarbage.js';
import { FakePool } from '../support/FakePool.js';
import { RawClient } from '../support/httpClient.js';

/** What a hostile or an odd client sends to the front, over real sockets. */

let pool: FakePool;
let gateway: Gateway;
let url: string;
let port: number;
const sockets: Socket[] = [];

beforeEach(async () => {
  pool = new FakePool({
    one: {
      methods: {
        'tools/call': (params, { onProgress }) => {
          if (params?.['name'] === 'large')
            return { content: [{ type: 'text', text: 'y'.repeat(Number(params['bytes'])) }] };
          if (params?.['name'] === 'fail')
            throw new StartError('one', 'exited', { stderr: ['postgres://u:s3cret@db \u001b[31m'] });
          onProgress?.({ progress: 1 } as never);
          return new Promise((resolve) => setTimeout(() => resolve({ content: [] }), 150));
        },
      },
    },
  });
  gateway = new Gateway({
    pool,
    port: 0,
    heartbeatMs: 20,
    bodyTimeoutMs: 300,
    maxBufferedBytes: 256 * 1_024,
    allowedOrigins: ['app.test'],
  });
  const address = await gateway.listen();
  url = address.url;
  port = address.port;
});

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await gateway.close();
});

function raw(head: string, body = ''): { socket: Socket; response: Promise<string> } {
  const socket = connect(port, '127.0.0.1');
  sockets.push(socket);
  const response = new Promise<string>((resolve) => {
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk;
      if (/\r\n\r\n/.test(text)) resolve(text);
    });
    socket.on('close', () => resolve(text));
    socket.on('error', () => resolve(text));
  });
  socket.write(head.replaceAll('\n', '\r\n') + body);
  return { socket, response };
}

test('a connection beyond `maxSockets` takes the place of the oldest without a request; while there is none, it is not accepted', async () => {
  const small = new Gateway({ pool, port: 0, maxSockets: 2 });
  const { port: at } = await small.listen();
  const dial = async (): Promise<Socket> => {
    const socket = connect(at, '127.0.0.1').on('error', () => undefined);
    sockets.push(socket);
    await once(socket, 'connect');
    return socket;
  };
  const asks = async (socket: Socket): Promise<string> => {
    socket.write(`GET /livez HTTP/1.1\r\nHost: 127.0.0.1:${at}\r\n\r\n`);
    return Promise.race([once(socket, 'data').then(([text]) => String(text)), once(socket, 'close').then(() => 'cut')]);
  };
  const [first, second] = [await dial(), await dial()];
  for (const socket of [first, second]) expect(await asks(socket)).toMatch(/^HTTP\/1.1 200 /);
  const gone = once(first, 'close');
  const third = await dial();
  expect(await asks(third)).toMatch(/^HTTP\/1.1 200 /);
  await gone;
  // Bodies that have not come are requests under way.
  for (const socket of [second, third])
    socket.write(
      `POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:${at}\r\nContent-Type: application/json\r\nAccept: application/json\r\nContent-Length: 9\r\n\r\n`,
    );
  await expect.poll(() => small.stats.inFlight).toBe(2);
  expect(await asks(await dial())).toBe('cut');
  second.destroy();
  await expect.poll(async () => asks(await dial())).toMatch(/^HTTP\/1.1 200 /);
  await small.close({ graceMs: 0 });
});

test('one address does not take all connections: another finds a place, and the oldest half a request makes room', async () => {
  const small = new Gateway({ pool, port: 0, maxSockets: 8 });
  const { port: at } = await small.listen();
  const closed: number[] = [];
  const dial = async (localAddress: string, i: number): Promise<Socket> => {
    const socket = connect({ port: at, host: '127.0.0.1', localAddress }).on('error', () => undefined);
    sockets.push(socket.on('close', () => void closed.push(i)));
    await once(socket, 'connect');
    socket.write('GET /livez HTTP/1.1\r\nx: ');
    return socket;
  };
  for (let i = 0; i < 20; i++) {
    await dial('127.0.0.9', i);
    await expect.poll(() => small.stats.connections).toBe(Math.min(i + 1, 6));
  }
  await expect.poll(() => closed).toEqual(Array.from({ length: 14 }, (_, i) => i));
  const other: Socket[] = [];
  for (let i = 20; i < 24; i++) other.push(await dial('127.0.0.1', i));
  await expect.poll(() => closed.length).toBeGreaterThan(14);
  expect(closed.slice(14).every((i) => i < 20)).toBe(true);
  for (const socket of other) {
    socket.write(`\r\nHost: 127.0.0.1:${at}\r\n\r\n`);
    expect(String((await once(socket, 'data'))[0])).toMatch(/^HTTP\/1.1 200 /);
  }
  await small.close({ graceMs: 0 });
});

const INIT = JSON.stringify({
  jsonrpc: '2.0',
  id: 1,
  method: 'initialize',
  params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 't', version: '1' } },
});
const post = (path: string, length: number, more = '') =>
  `POST ${path} HTTP/1.1\nHost: 127.0.0.1:${port}\nContent-Type: application/json\nAccept: application/json, text/event-stream\nContent-Length: ${length}\n${more}\n`;

test.each(['/mcp/', '//mcp', '/mcp?x=1', '/mcp/?x=1', '/servers/one/mcp/', 'http://127.0.0.1/mcp'])(
  'POST %s is the same place',
  async (path) => {
    expect(await raw(post(path, INIT.length), INIT).response).toMatch(/^HTTP\/1\.1 200 /);
  },
);

test('two Host headers are refused', async () => {
  const two = post('/mcp', INIT.length, 'Host: localhost\n');
  expect(await raw(two, INIT).response).toMatch(/^HTTP\/1\.1 400 /);
});

test('a request target with a host is held to the rules of Host, too', async () => {
  const statusOf = async (target: string): Promise<string | undefined> =>
    /(?<=^HTTP\/1\.1 )\d+/.exec(await raw(post(target, INIT.length), INIT).response)?.[0];
  const targets = ['http://evil.test/mcp', 'ftp://evil.test/livez', 'http://localhost@evil.test/mcp', 'http:///mcp'];
  expect(await Promise.all(targets.map(statusOf))).toEqual(['403', '403', '403', '400']);
  expect(await statusOf('http://localhost:1/mcp')).toBe('200');
});

test('a preflight of an allowed page is answered, of another refused', async () => {
  const ask = (origin: string) =>
    raw(
      `OPTIONS /mcp HTTP/1.1\nHost: localhost\nOrigin: ${origin}\nAccess-Control-Request-Method: POST\nAccess-Control-Request-Headers: mcp-session-id, mcp-param-x\n\n`,
    ).response;
  const good = await ask('https://app.test');
  expect(good).toMatch(/^HTTP\/1\.1 204 /);
  expect(good).toMatch(/access-control-allow-origin: https:\/\/app\.test/i);
  expect(good).toMatch(/access-control-allow-headers: .*mcp-session-id.*mcp-param-x/i);
  expect(await ask('https://evil.test')).toMatch(/^HTTP\/1\.1 403 /);
  const answer = await raw(post('/mcp', INIT.length, 'Origin: https://app.test\n'), INIT).response;
  expect(answer).toMatch(/access-control-expose-headers: .*mcp-session-id/i);
});

test('capabilities beyond their bound are refused: values, depth, bytes', async () => {
  const deep = (levels: number): unknown => (levels === 0 ? {} : { a: deep(levels - 1) });
  for (const capabilities of [
    { sampling: { list: new Array(2_000).fill([]) } },
    { sampling: deep(40) },
    { experimental: { text: 'x'.repeat(70_000) } },
  ]) {
    const client = new RawClient(`${url}/mcp`);
    const params = { protocolVersion: '2025-11-25', capabilities, clientInfo: { name: 't', version: '1' } };
    const { status, text } = await client.send({ jsonrpc: '2.0', id: 7, method: 'initialize', params });
    expect(status).toBe(400);
    expect(JSON.parse(text)).toMatchObject({
      id: 7,
      error: { code: -32_602, message: expect.stringMatching(/^capabilities may/) },
    });
  }
  expect(gateway.stats.sessions).toBe(0);
});

test('a client’s answer with an object as id is 400, and initialize in an array is refused in words', async () => {
  const client = new RawClient(`${url}/servers/one/mcp`);
  await client.initialize('2025-03-26');
  expect((await client.send({ jsonrpc: '2.0', id: {}, result: {} } as never)).status).toBe(400);
  const { text } = await client.send([
    { jsonrpc: '2.0', id: 1, method: 'initialize', params: {} },
    { jsonrpc: '2.0', id: 2, method: 'ping' },
  ] as never);
  expect(text).toMatch(/initialize comes alone/);
  expect(text).not.toMatch(/internal error/);
});

test('a slow body ends with 408, and too many of one address at once with 429', async () => {
  const client = new RawClient(`${url}/servers/one/mcp`);
  await client.initialize();
  const session = `Mcp-Session-Id: ${client.sessionId}\n`;
  const slow = raw(post('/servers/one/mcp', 1_000, session), '{"jsonrpc"');
  expect(await slow.response).toMatch(/^HTTP\/1\.1 408 /);
  // 40 bodies of 16 KiB each held: more than the 256 KiB of all.
  const many = Array.from({ length: 40 }, () => raw(post('/servers/one/mcp', 100_000, session), 'x'.repeat(9_000)));
  const statuses = await Promise.all(many.map(async ({ response }) => (await response).slice(9, 12)));
  expect(statuses.filter((status) => status === '429').length).toBeGreaterThan(10);
  expect(statuses.filter((status) => status === '408').length).toBeGreaterThan(5);
  expect((await client.call('ping')).result).toEqual({});
});

test('what a refused client still sends is read and forgotten: that it leaves is seen, and no close waits for it', async () => {
  const open = closeAfter(new Gateway({ pool: new FakePool({ one: {} }), port: 0, maxBufferedBytes: 64 * 1_024 }));
  const { port } = await open.listen();
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => undefined);
  const body = 'x'.repeat(4_000_000);
  const head = `host: localhost\r\ncontent-type: application/json\r\naccept: application/json\r\ncontent-length: ${body.length}`;
  socket.write(`POST /mcp HTTP/1.1\r\n${head}\r\n\r\n${body}`);
  const [answer] = (await once(socket, 'data')) as [Buffer];
  expect(String(answer)).toMatch(/^HTTP\/1\.1 503 /);
  await expect.poll(() => socket.writableLength).toBe(0);
  // In the order of a client that leaves: its end comes behind all that it sent.
  socket.end();
  await expect.poll(() => open.stats.connections).toBe(0);
});

test('a session that is not there is told before a large body is read', async () => {
  const head = post('/servers/one/mcp', 3_000_000, 'Mcp-Session-Id: gone\n');
  expect(await raw(head, 'x'.repeat(200_000)).response).toMatch(/^HTTP\/1\.1 404 /);
});

test('the stream of a long call is kept alive, and asks proxies not to hold it back', async () => {
  const client = new RawClient(`${url}/servers/one/mcp`);
  await client.initialize();
  const body = JSON.stringify({
    jsonrpc: '2.0',
    id: 2,
    method: 'tools/call',
    params: { name: 'x', _meta: { progressToken: 1 } },
  });
  const { socket } = raw(post('/servers/one/mcp', body.length, `Mcp-Session-Id: ${client.sessionId}\n`), body);
  let text = '';
  await new Promise<void>((resolve) =>
    socket.on('data', (chunk) => {
      text += chunk;
      if (text.includes('"result"')) resolve();
    }),
  );
  expect(text).toMatch(/x-accel-buffering: no/i);
  expect(text).toMatch(/\n:\n/);
});

test('why a server did not start is its operator’s to know: clients get its name and the code', async () => {
  const client = new RawClient(`${url}/servers/one/mcp`);
  await client.initialize();
  const { error } = await client.call('tools/call', { name: 'fail' });
  expect(error).toMatchObject({
    code: -32_603,
    message: 'server "one" did not start',
    data: { code: 'ERR_START_FAILED' },
  });
});

test('a session whose bound connection was lost is told by 404', async () => {
  const bound = new FakePool({ one: {} });
  const config: ServerConfig = { name: 'one', transport: 'stdio', command: 'x', sharing: 'bound' };
  Object.assign(bound, { config: () => config });
  await using other = new Gateway({ pool: bound, port: 0 });
  const client = new RawClient(`${(await other.listen()).url}/servers/one/mcp`);
  let key: string | undefined;
  const request = bound.request.bind(bound);
  bound.request = async (server, method, params, options) => {
    key = options?.caller?.key;
    return request(server, method, params, options);
  };
  await client.initialize();
  await client.call('tools/call', { name: 'x' });
  expect(key).toBeDefined();
  bound.emit('sessionLost', { server: 'one', key: key as string } as never);
  expect((await client.send({ jsonrpc: '2.0', id: 3, method: 'ping' })).status).toBe(404);
});

test('an answer for which there is no room is told as lost; a client that does not read one is cut', async () => {
  await using other = new Gateway({ pool, port: 0, maxBufferedBytes: 16 * 2 ** 20, stallTimeoutMs: 300 });
  const address = await other.listen();
  const client = new RawClient(`${address.url}/servers/one/mcp`);
  await client.initialize();
  const tooLarge = await client.call('tools/call', { name: 'large', bytes: 17 * 2 ** 20 });
  expect(tooLarge.error).toMatchObject({ code: -32_603, data: { code: 'ERR_OUTCOME_UNKNOWN' } });
  // Larger than what the system takes for a socket that is not read.
  const body = JSON.stringify({
    jsonrpc: '2.0',
    id: 9,
    method: 'tools/call',
    params: { name: 'large', bytes: 11 * 2 ** 20 },
  });
  const socket = connect(address.port, '127.0.0.1');
  sockets.push(socket);
  socket.pause();
  const head = `POST /servers/one/mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\nMcp-Session-Id: ${client.sessionId}\r\nContent-Length: ${body.length}\r\n\r\n`;
  socket.write(head + body);
  // While it is held, a second of its size has no room; once its client is cut, it has.
  const again = () => client.call('tools/call', { name: 'large', bytes: 11 * 2 ** 20 });
  await expect.poll(async () => (await again()).error?.code, { timeout: 5_000 }).toBe(-32_603);
  await expect.poll(async () => (await again()).error, { timeout: 10_000 }).toBeUndefined();
});

test('a body in pieces of one byte costs what it is long, not a buffer for each piece', async () => {
  await using other = new Gateway({ pool, port: 0 });
  const address = await other.listen();
  const client = new RawClient(`${address.url}/servers/one/mcp`);
  await client.initialize();
  const pieces = 200_000;
  const before = collectGarbage();
  const socket = connect(address.port, '127.0.0.1');
  sockets.push(socket);
  const head = `POST /servers/one/mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\nMcp-Session-Id: ${client.sessionId}\r\nTransfer-Encoding: chunked\r\n\r\n`;
  // Each chunk of the encoding is a piece of its own, however many come in one packet.
  await new Promise<void>((done) => socket.write(head + '1\r\n \r\n'.repeat(pieces), () => done()));
  await client.call('ping');
  // All of it was read when the end of the body is answered; the collection comes while the body is held.
  await new Promise((done) => setTimeout(done, 300));
  expect(collectGarbage() - before).toBeLessThan(pieces * 40);
  const answer = new Promise<string>((done) => socket.once('data', (chunk) => done(String(chunk))));
  const ping = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'ping' });
  socket.write(`${ping.length.toString(16)}\r\n${ping}\r\n0\r\n\r\n`);
  expect(await answer).toMatch(/^HTTP\/1\.1 200 /);
});

test('a fault of ours after the body was read is answered with a status, not with a reset', async () => {
  const bound = new FakePool({ one: {} });
  const config: ServerConfig = { name: 'one', transport: 'stdio', command: 'x', sharing: 'bound' };
  Object.assign(bound, { config: () => config });
  await using other = new Gateway({ pool: bound, port: 0 });
  const client = new RawClient(`${(await other.listen()).url}/servers/one/mcp`);
  await client.initialize();
  await client.call('tools/call', { name: 'x' });
  bound.info = () => {
    throw new Error('a fault');
  };
  const { status, text } = await client.send({ jsonrpc: '2.0', method: 'notifications/roots/list_changed' });
  expect(status).toBe(500);
  expect(text).not.toContain('a fault');
});

test('more than 128 headers are refused: what stands behind those that it keeps Node leaves out', async () => {
  const names = 'a:\n'.repeat(2_000);
  for (const path of ['/mcp', '/livez']) {
    const hidden = `GET ${path} HTTP/1.1\nHost: localhost\n${names}Origin: https://evil.test\n\n`;
    expect(await raw(hidden).response).toMatch(/^HTTP\/1\.1 431 /);
  }
  const many = `GET /livez HTTP/1.1\nHost: localhost\n${'a:\n'.repeat(120)}\n`;
  expect(await raw(many).response).toMatch(/^HTTP\/1\.1 200 /);
});

test('a probe of HTTP/1.0 needs no Host, which no page leaves out; what is no probe does', async () => {
  for (const [path, status] of [
    ['/livez', 200],
    ['/readyz', 200],
    ['/mcp', 400],
  ] as const)
    expect(await raw(`GET ${path} HTTP/1.0\n\n`).response).toContain(` ${status} `);
  expect(await raw('GET /livez HTTP/1.0\nOrigin: https://evil.test\n\n').response).toContain(' 403 ');
});
