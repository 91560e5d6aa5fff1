import { once } from 'node:events';
import { createServer, request } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { afterEach, expect, test, vi } from 'vitest';
import { silentLogger } from '../../src/core/logger.js';
import { Gateway } from '../../src/gateway/Gateway.js';
import { HeldBytes } from '../../src/gateway/http/HeldBytes.js';
import { holdAnswer } from '../../src/gateway/http/holdAnswer.js';
import { idKey } from '../../src/gateway/rpc/envelope.js';
import { collectGarbage } from '../support/collectGarbage.js';
import { FakePool, type FakeServer } from '../support/FakePool.js';
import { exchange, RawClient } from '../support/httpClient.js';

/** What a client sends is held until it is answered: it counts, over all sessions, for as long. */

const KIB = 1_024;
let gateway: Gateway;
let waiting: (() => void)[];

afterEach(() => gateway.close());

async function start(maxBufferedBytes = 480 * KIB): Promise<string> {
  waiting = [];
  const pool = new FakePool({
    one: { methods: { 'tools/call': () => new Promise((done) => waiting.push(() => done({ content: [] }))) } },
  });
  gateway = new Gateway({ pool, port: 0, maxBufferedBytes });
  return `${(await gateway.listen()).url}/servers/one/mcp`;
}

const call = (id: string) => ({
  jsonrpc: '2.0',
  id,
  method: 'tools/call',
  params: { name: 'x', arguments: { pad: 'x'.repeat(40 * KIB) } },
});

test('calls in flight hold what they were sent with: beyond the bound a client is told to try again', async () => {
  const client = new RawClient(await start(640 * KIB));
  await client.initialize();
  const calls = ['a', 'b', 'c'].map((id) => client.send(call(id)));
  await expect.poll(() => waiting.length).toBe(3);
  expect(gateway.stats.heldBytes).toBeGreaterThan(3 * 3 * 40 * KIB);
  const { status, headers, messages } = await client.send(call('d'));
  expect({ status, after: headers['retry-after'], id: messages[0]?.id }).toEqual({ status: 429, after: '10', id: 'd' });
  // A small one has room.
  expect(await client.call('ping')).toMatchObject({ result: {} });
  waiting.shift()?.();
  await calls[0];
  const again = client.send(call('e'));
  await expect.poll(() => waiting.length).toBe(3);
  for (const done of waiting.splice(0)) done();
  expect((await Promise.all([...calls, again])).map(({ status }) => status)).toEqual([200, 200, 200, 200]);
  await expect.poll(() => gateway.stats.heldBytes).toBe(0);
});

test('a request is known by a short key however long its id is, and cancelled by it', async () => {
  const client = new RawClient(await start());
  await client.initialize();
  const id = (last: string): string => `${'x'.repeat(20 * KIB)}${last}`;
  const calls = ['a', 'b'].map((each) => ({
    jsonrpc: '2.0',
    id: id(each),
    method: 'tools/call',
    params: { name: 'x' },
  }));
  const sent = calls.map((each) => client.send(each));
  await expect.poll(() => waiting.length).toBe(2);
  const writing = vi.spyOn(JSON, 'stringify');
  expect(idKey({ id: id('a') }).length).toBeLessThan(100);
  expect(writing).not.toHaveBeenCalled();
  writing.mockRestore();
  await client.send({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: id('b') } });
  for (const done of waiting.splice(0)) done();
  const [a, b] = await Promise.all(sent);
  expect([a?.messages[0]?.id, b?.messages]).toEqual([id('a'), []]);
});

test('a call whose client has gone is held for as long as it runs', async () => {
  const client = new RawClient(await start());
  await client.initialize();
  const outgoing = request(client.url, { method: 'POST', agent: false, headers: client.headers });
  outgoing.on('error', () => undefined).end(JSON.stringify(call('a')));
  await expect.poll(() => waiting.length).toBe(1);
  outgoing.destroy();
  expect(await client.call('ping')).toMatchObject({ result: {} });
  expect(gateway.stats.heldBytes).toBeGreaterThan(3 * 40 * KIB);
  waiting.shift()?.();
  await expect.poll(() => gateway.stats.heldBytes).toBe(0);
});

test('the answers of an array count while one is missing, small ones too; of a client that has gone nothing is kept', async () => {
  const slow: (() => void)[] = [];
  let calls = 0;
  const pool = new FakePool({
    one: {
      methods: {
        'tools/call': async (params) => {
          calls++;
          const { name, size } = params as { readonly name: string; readonly size: number };
          if (name === 'slow') await new Promise<void>((done) => slow.push(done));
          return { content: [], pad: 'x'.repeat(size) };
        },
      },
    },
  });
  gateway = new Gateway({ pool, port: 0, maxBufferedBytes: 2_600 * KIB });
  const client = new RawClient(`${(await gateway.listen()).url}/servers/one/mcp`);
  await client.initialize('2025-03-26');
  const sized = (id: number, size: number, name = 'fast'): object => ({
    jsonrpc: '2.0',
    id,
    method: 'tools/call',
    params: { name, size },
  });
  const small = client.send([...Array.from({ length: 30 }, (_, id) => sized(id, 60 * KIB)), sized(30, 2, 'slow')]);
  await expect.poll(() => calls).toBe(31);
  expect(gateway.stats.heldBytes).toBeGreaterThan(30 * 60 * KIB);
  // What has no more room beside them is told as lost.
  const large = client.send([sized(1, 500 * KIB), sized(2, 2, 'slow')]);
  await expect.poll(() => calls).toBe(33);
  for (const done of slow.splice(0)) done();
  expect((await small).messages.map(({ id, error }) => [id, error])).toEqual(
    Array.from({ length: 31 }, (_, id) => [id, undefined]),
  );
  const lost = { id: 1, error: { data: { code: 'ERR_OUTCOME_UNKNOWN', retryable: false } } };
  expect((await large).messages).toMatchObject([lost, { id: 2, result: {} }]);
  await expect.poll(() => gateway.stats.heldBytes).toBe(0);

  calls = 0;
  pool.calls.length = 0;
  let before = collectGarbage();
  // What has just ended goes with the next but one.
  for (let each = 0; each < 3; each++) {
    await client.call('ping');
    before = Math.min(before, collectGarbage());
  }
  for (let at = 1; at <= 5; at++) {
    const body = JSON.stringify([
      sized(3 * at, 1_600 * KIB),
      sized(3 * at + 1, 1_600 * KIB, 'slow'),
      sized(3 * at + 2, 2, 'slow'),
    ]);
    const outgoing = request(client.url, { method: 'POST', agent: false, headers: client.headers });
    outgoing.on('error', () => undefined).end(body);
    await expect.poll(() => calls).toBe(3 * at);
    // One answer has come before it leaves, one comes behind that.
    outgoing.destroy();
    await expect.poll(() => gateway.stats.heldBytes).toBeLessThan(at * 50 * KIB);
    slow[2 * at - 2]?.();
  }
  await client.call('ping');
  pool.calls.length = 0;
  await expect.poll(() => collectGarbage() - before).toBeLessThan(4_000 * KIB);
  for (const done of slow) done();
  await expect.poll(() => gateway.stats.heldBytes).toBe(0);
});

test('a subscription keeps no URI of more than 8,192 characters', async () => {
  const client = new RawClient(await start());
  await client.initialize();
  const subscribe = (length: number) => client.call('resources/subscribe', { uri: 'a:'.padEnd(length, 'x') });
  expect(await subscribe(8_192)).toMatchObject({ result: {} });
  expect(await subscribe(8_193)).toMatchObject({ error: { code: -32602 } });
});

test('an answer that is taken up again on another stream counts as held, and a reader that takes nothing is cut', async () => {
  let answer = (): void => undefined;
  const pool = new FakePool({
    one: {
      methods: {
        'tools/call': (_params, { onNotification }) => {
          onNotification?.({ method: 'notifications/custom' });
          return new Promise((done) => {
            answer = () => done({ content: [], pad: 'x'.repeat(20_000 * KIB) });
          });
        },
      },
    },
  });
  gateway = new Gateway({ pool, port: 0, stallTimeoutMs: 200 });
  const client = new RawClient(`${(await gateway.listen()).url}/servers/one/mcp`);
  await client.initialize();
  const first = request(client.url, { method: 'POST', agent: false, headers: client.headers });
  first.on('error', () => undefined).end(JSON.stringify(call('a')));
  const eventId = await new Promise<string>((resolve) => {
    first.on('response', (response) =>
      response.on('data', (chunk) => resolve(/^id: (.*)$/m.exec(String(chunk))?.[1] ?? '')),
    );
  });
  first.destroy();
  const again = request(client.url, {
    method: 'GET',
    agent: false,
    headers: { ...client.headers, 'last-event-id': eventId },
  });
  again.on('error', () => undefined).end();
  await new Promise<void>((resolve) => again.on('response', (response) => resolve(void response.pause())));
  answer();
  await expect.poll(() => gateway.stats.heldBytes).toBeGreaterThan(20_000 * KIB);
  // Its reader is cut, with all that it did not take.
  await expect.poll(() => gateway.stats.heldBytes, { timeout: 10_000 }).toBe(0);
  again.destroy();
});

test('small answers that a client does not read count as held, beyond the bound it is cut, and within it once it stalls', async () => {
  let answer = (): void => undefined;
  const methods = {
    'tools/call': (params: unknown) =>
      (params as { name: string }).name === 'slow'
        ? new Promise((done) => {
            answer = () => done({ content: [] });
          })
        : { content: [{ type: 'text', text: 'x'.repeat(60 * KIB) }] },
  };
  const MAX = 6 * KIB * KIB;
  const pool = new FakePool({ one: { methods } });
  gateway = new Gateway({ pool, port: 0, maxBufferedBytes: MAX, stallTimeoutMs: 300 });
  const url = new URL(`${(await gateway.listen()).url}/servers/one/mcp`);
  const client = new RawClient(url.href);
  await client.initialize();
  const session = client.headers['mcp-session-id'];
  /** Calls one behind the other on one socket, which none waits for. */
  const open = (prefix: string, names: readonly string[]): Socket => {
    const requests = names.map((name, i) => {
      const body = JSON.stringify({ jsonrpc: '2.0', id: `${prefix}${i}`, method: 'tools/call', params: { name } });
      const head = `POST ${url.pathname} HTTP/1.1\r\nhost: ${url.host}\r\ncontent-type: application/json`;
      return `${head}\r\nmcp-session-id: ${session}\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
    });
    const socket = connect(Number(url.port), url.hostname).pause();
    socket.on('error', () => undefined).write(requests.join(''));
    return socket;
  };
  const many = (count: number): string[] => Array.from({ length: count }, () => 'fast');
  const reader = open('r', [...many(30), 'slow']);
  let read = '';
  reader.on('data', (chunk) => {
    read = (read + chunk.toString('latin1')).slice(-200);
  });
  reader.resume();
  await expect.poll(() => pool.calls.length).toBe(31);
  const sockets = [open('a', many(130))];
  await expect.poll(() => gateway.stats.heldBytes).toBeGreaterThan(KIB * KIB);
  sockets.push(open('b', many(200)));
  let most = 0;
  const settled = (): number => {
    most = Math.max(most, gateway.stats.heldBytes);
    return gateway.stats.heldBytes;
  };
  // The slow call alone is held then.
  await expect.poll(settled, { timeout: 10_000, interval: 5 }).toBeLessThan(64 * KIB);
  expect(most).toBeLessThanOrEqual(MAX);
  await Promise.all(sockets.map((socket) => once(socket.resume(), 'close')));
  // Who reads is not cut, however long another call takes on the same socket.
  answer();
  await expect.poll(() => read).toMatch(/"id":"r30","result":{"content":\[\]}}$/);
  reader.destroy();
});

test('what a call says after its session has ended is not kept', async () => {
  const pool = new FakePool({
    one: {
      methods: {
        'tools/call': (_params, { onNotification }) => {
          onNotification?.({ method: 'notifications/custom' });
          return new Promise(() => undefined);
        },
      },
    },
  });
  gateway = new Gateway({ pool, port: 0 });
  const client = new RawClient(`${(await gateway.listen()).url}/servers/one/mcp`);
  await client.initialize();
  // Its failure repeats the id.
  const answered = client.send({ ...call('a'), id: 'i'.repeat(100 * KIB) });
  await expect.poll(() => pool.calls.length).toBe(1);
  await exchange(client.url, { method: 'DELETE', headers: client.headers });
  await answered;
  await expect.poll(() => gateway.stats.heldBytes).toBe(0);
});

/** A gateway whose calls say something first, and answer with `bytes` when they are told to. */
function speaking(bytes: number): { readonly pool: FakePool; readonly answers: (() => void)[] } {
  const answers: (() => void)[] = [];
  const methods: FakeServer['methods'] = {
    'tools/call': (_params, { onNotification }) => {
      onNotification?.({ method: 'notifications/custom' });
      return new Promise((done) => answers.push(() => done({ content: [], pad: 'x'.repeat(bytes) })));
    },
  };
  return { pool: new FakePool({ one: { methods } }), answers };
}

test('of the streams of a session that end together the newest are kept alone', async () => {
  const { pool, answers } = speaking(60 * KIB);
  gateway = new Gateway({ pool, port: 0 });
  const client = new RawClient(`${(await gateway.listen()).url}/servers/one/mcp`);
  await client.initialize();
  const calls = Array.from({ length: 20 }, (_, i) => client.send({ ...call('a'), id: `a${i}` }));
  await expect.poll(() => answers.length).toBe(20);
  for (const answer of answers) answer();
  await Promise.all(calls);
  await expect.poll(() => gateway.stats.heldBytes).toBeLessThan(9 * 61 * KIB);
});

test('a large answer that comes by fetch as events is read whole', async () => {
  const { pool, answers } = speaking(200 * KIB);
  gateway = new Gateway({ pool, port: 0 });
  const url = 'http://localhost/servers/one/mcp';
  const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
  const send = (message: object, more = {}): Promise<Response> =>
    gateway.fetch(
      new Request(url, { method: 'POST', headers: { ...headers, ...more }, body: JSON.stringify(message) }),
    );
  const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'x', version: '1' } };
  const opened = await send({ jsonrpc: '2.0', id: 0, method: 'initialize', params });
  const answer = send(call('a'), { 'mcp-session-id': opened.headers.get('mcp-session-id') ?? '' });
  await expect.poll(() => answers.length).toBe(1);
  answers[0]?.();
  expect((await (await answer).text()).length).toBeGreaterThan(200 * KIB);
  await expect.poll(() => gateway.stats.heldBytes).toBeLessThan(202 * KIB);
});

test('small refusals that wait on a socket which is not read are held, and beyond the bound it is cut', async () => {
  const client = new RawClient(await start());
  await client.initialize();
  const { hostname, port, pathname } = new URL(client.url);
  const socket = connect(Number(port), hostname);
  const ask = (path: string, body: string): string =>
    `POST ${path} HTTP/1.1\r\nhost: ${hostname}\r\ncontent-type: application/json\r\naccept: application/json, text/event-stream\r\n` +
    `mcp-session-id: ${client.sessionId}\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
  // The answers to all that follows wait behind that of a call which is not answered.
  socket.write(
    ask(pathname, JSON.stringify({ jsonrpc: '2.0', id: 'slow', method: 'tools/call', params: { name: 'x' } })),
  );
  await expect.poll(() => waiting.length).toBe(1);
  const before = gateway.stats.heldBytes;
  const notice = '{"jsonrpc":"2.0","method":"notifications/x"}';
  socket.write(ask(pathname, notice).repeat(5) + ask('/nothing', '').repeat(5) + ask(pathname, '{').repeat(5));
  await expect.poll(() => gateway.stats.heldBytes - before).toBeGreaterThan(15 * 8 * KIB);
  const closed = once(socket, 'close');
  socket.resume().write(ask('/nothing', '').repeat(60));
  await closed;
  expect(await client.call('ping')).toMatchObject({ result: {} });
  waiting.shift()?.();
  await expect.poll(() => gateway.stats.heldBytes).toBe(0);
});

test('an answer that its client does not read is cut when the grace of a close is over, which is no failure and told', async () => {
  const warned: unknown[] = [];
  const result = Buffer.from(JSON.stringify({ content: [{ type: 'text', text: 'x'.repeat(16e6) }] }));
  const pool = new FakePool({ one: { methods: { 'tools/call': async () => result } } });
  const logger = { ...silentLogger, warn: (...line: unknown[]) => void warned.push(line) };
  gateway = new Gateway({ pool, port: 0, logger });
  const { url, port } = await gateway.listen();
  const _meta = {
    'io.modelcontextprotocol/protocolVersion': '2026-07-28',
    'io.modelcontextprotocol/clientInfo': { name: 't', version: '1' },
    'io.modelcontextprotocol/clientCapabilities': {},
  };
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'x', _meta } });
  const head = `POST /servers/one/mcp HTTP/1.1\r\nhost: ${new URL(url).host}\r\ncontent-type: application/json`;
  const modern = 'mcp-protocol-version: 2026-07-28\r\nmcp-method: tools/call\r\nmcp-name: x';
  const socket = connect(port, '127.0.0.1').pause();
  socket
    .on('error', () => undefined)
    .write(`${head}\r\n${modern}\r\naccept: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
  await expect.poll(() => gateway.stats.heldBytes).toBeGreaterThan(16e6);
  await gateway.close({ graceMs: 10 });
  expect(warned).toEqual([
    [{ requests: ['POST /servers/one/mcp'], count: 1 }, expect.stringContaining('cut at the stop')],
  ]);
  socket.destroy();
});

test('the large answers of one response are held by one listener, until it closes', async () => {
  const held = new HeldBytes(10_000 * KIB);
  let listeners = 0;
  const server = createServer((_, response) => {
    const before = response.listenerCount('close');
    for (let at = 0; at < 14; at++) holdAnswer(response, 100 * KIB, { held, stallTimeoutMs: 1_000 });
    listeners = response.listenerCount('close') - before;
    expect(held.held).toBe(1_400 * KIB);
    response.end();
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  await exchange(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`, { method: 'GET' });
  expect(listeners).toBe(1);
  await expect.poll(() => held.held).toBe(0);
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  gateway = new Gateway({ pool: new FakePool({}), port: 0 });
});
