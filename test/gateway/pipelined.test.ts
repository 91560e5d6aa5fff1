import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { expect, onTestFinished, test, vi } from 'vitest';
import { silentLogger } from '../../src/core/logger.js';
import { Gateway } from '../../src/gateway/Gateway.js';
import { answerRequest } from '../../src/gateway/http/answerRequest.js';
import { EventStream } from '../../src/gateway/http/stream/EventStream.js';
import type { Reply } from '../../src/gateway/session/Reply.js';
import type { Session } from '../../src/gateway/session/Session.js';
import { CancelledByClient, SessionCall } from '../../src/gateway/session/SessionCall.js';
import type { RequestOptions } from '../../src/pool/McpPool.js';
import { InFlight } from '../../src/shutdown/InFlight.js';
import { closeAfter } from '../support/closeAfter.js';
import { countTurns } from '../support/countTurns.js';
import { FakePool } from '../support/FakePool.js';
import { RawClient } from '../support/httpClient.js';
import { RawSocket } from '../support/tcp.js';

/** Requests that a client sends one behind the other on one connection, without waiting for answers. */

const VERSION = '2026-07-28';
const META = 'io.modelcontextprotocol';
const _meta = { [`${META}/protocolVersion`]: VERSION, [`${META}/clientCapabilities`]: {} };

function post(path: string, message: object, headers: readonly string[] = []): string {
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, ...message });
  const types = ['content-type: application/json', 'accept: application/json, text/event-stream'];
  const head = [`POST ${path} HTTP/1.1`, 'host: localhost', ...types, ...headers, `content-length: ${body.length}`];
  return `${head.join('\r\n')}\r\n\r\n${body}`;
}

const CHUNKED = post('/servers/one/mcp', {}, ['transfer-encoding: chunked']).replace(/content-length.*$/s, '\r\n');

/** A call by a modern client, which ends with its connection. */
const callOf = (path: string, name: string): string =>
  post(path, { method: 'tools/call', params: { name, arguments: {}, _meta } }, [
    `mcp-protocol-version: ${VERSION}`,
    'mcp-method: tools/call',
    `mcp-name: ${name}`,
  ]);

const hanging = (): FakePool =>
  new FakePool({ one: { methods: { 'tools/call': () => new Promise(() => undefined) } } });

const callsOf = ({ calls }: FakePool) => calls.filter(({ method }) => method === 'tools/call');

test('requests of a pipeline end with its connection, wherever they stand in it', async () => {
  const pool = hanging();
  const gateway = closeAfter(new Gateway({ pool, port: 0 }));
  const { url, port } = await gateway.listen();
  const path = '/servers/one/mcp';
  const client = new RawClient(url + path);
  await client.initialize();
  const socket = new RawSocket(port);
  const stream = `GET ${path} HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\nmcp-session-id: ${client.sessionId}\r\n\r\n`;
  // The last does not come whole.
  socket.send(callOf(path, 'x').repeat(3) + stream + callOf(path, 'y').slice(0, -5));
  // The stream is not opened before its turn.
  await expect.poll(() => [callsOf(pool).length, gateway.stats.inFlight, gateway.stats.streams]).toEqual([3, 4, 0]);
  await socket.close();
  await expect.poll(() => gateway.stats).toMatchObject({ inFlight: 0, streams: 0, heldBytes: 0 });
  expect(callsOf(pool).map(({ options }) => options.signal?.aborted)).toEqual([true, true, true]);
});

test('the same behind a host’s own server, whose counted listener ends too', async () => {
  const pool = hanging();
  const gateway = closeAfter(new Gateway({ pool }));
  const inFlight = new InFlight();
  const server: Server = createServer(inFlight.listener((request, response) => gateway.handler(request, response)));
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const socket = new RawSocket((server.address() as AddressInfo).port);
  socket.send(callOf('/servers/one/mcp', 'x').repeat(3));
  await expect.poll(() => callsOf(pool).length).toBe(3);
  await socket.close();
  await inFlight.idle();
  await expect.poll(() => gateway.stats).toMatchObject({ inFlight: 0, heldBytes: 0 });
  expect(callsOf(pool).map(({ options }) => options.signal?.aborted)).toEqual([true, true, true]);
  await once(server.close(), 'close');
});

test('a call whose client leaves while its large body is read goes to no server', async () => {
  const pool = hanging();
  const gateway = closeAfter(new Gateway({ pool, port: 0 }));
  const { port } = await gateway.listen();
  const path = '/servers/one/mcp';
  const large = (id: number): string =>
    post(path, { id, method: 'tools/call', params: { name: 'x', arguments: { pad: 'x'.repeat(1_000_000) }, _meta } }, [
      `mcp-protocol-version: ${VERSION}`,
      'mcp-method: tools/call',
      'mcp-name: x',
    ]);
  for (let id = 0; id < 5; id++) {
    const socket = connect(port, '127.0.0.1');
    // The end comes right behind the last byte.
    socket.end(large(id));
    await once(socket.resume(), 'close');
  }
  await expect.poll(() => gateway.stats).toMatchObject({ inFlight: 0, connections: 0, heldBytes: 0 });
  for (const { options } of callsOf(pool)) expect(options.signal?.aborted).toBe(true);
});

test('what comes behind a large call is taken behind it, though that is read in turns: its cancellation finds it', async () => {
  const pool = hanging();
  const gateway = closeAfter(new Gateway({ pool, port: 0 }));
  const { url, port } = await gateway.listen();
  const path = '/servers/one/mcp';
  const client = new RawClient(url + path);
  await client.initialize();
  const own = [`mcp-session-id: ${client.sessionId}`];
  const call = (id: string, pad: number): string =>
    post(path, { id, method: 'tools/call', params: { name: id, arguments: { pad: 'x'.repeat(pad) } } }, own);
  const cancel = JSON.stringify({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 'large' } });
  const socket = new RawSocket(port);
  socket.send(
    call('large', 2 ** 20) +
      `POST ${path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\naccept: application/json, text/event-stream\r\n${own[0]}\r\ncontent-length: ${cancel.length}\r\n\r\n${cancel}` +
      call('small', 1),
  );
  await expect.poll(() => callsOf(pool).length).toBe(2);
  expect(callsOf(pool).map(({ params }) => (params as { name: string }).name)).toEqual(['large', 'small']);
  expect(callsOf(pool)[0]?.options.signal?.aborted).toBe(true);
  expect(callsOf(pool)[1]?.options.signal?.aborted).toBe(false);
  await socket.close();
});

test('GETs that resume a stream replay nothing before their turn', async () => {
  const told = (_: unknown, { onNotification }: RequestOptions): unknown => {
    for (let i = 0; i < 200; i++)
      onNotification?.({ method: 'notifications/message', params: { level: 'info', data: 'x'.repeat(1_000) } });
    return { content: [] };
  };
  const hang = (): unknown => new Promise(() => undefined);
  const call = (params: { readonly name?: string } | undefined, options: RequestOptions): unknown =>
    params?.name === 'told' ? told(params, options) : hang();
  const gateway = closeAfter(
    new Gateway({ pool: new FakePool({ one: { methods: { 'tools/call': call } } }), port: 0 }),
  );
  const { url, port } = await gateway.listen();
  const path = '/servers/one/mcp';
  const client = new RawClient(url + path);
  await client.initialize();
  const { text } = await client.send({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'told' } });
  const [first = ''] = /^id: \S+/m.exec(text) ?? [];
  const get = `GET ${path} HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\nmcp-session-id: ${client.sessionId}\r\nlast-event-id: ${first.slice(4).replace(/_.*/, '_0')}\r\n\r\n`;
  await expect.poll(() => gateway.stats.inFlight).toBe(0);
  const replayed = vi.spyOn(EventStream.prototype, 'offer');
  const socket = new RawSocket(port);
  socket.send(callOf(path, 'x') + get.repeat(20));
  await expect.poll(() => gateway.stats.requests).toBe(24);
  // What comes last was looked at: the others were before.
  const last = new RawClient(url + path);
  await last.initialize();
  expect(replayed).not.toHaveBeenCalled();
  await socket.close();
  const one = new RawSocket(port);
  one.send(get.repeat(2));
  await one.until((all) => all.split('\r\n0\r\n\r\n').length === 3);
  expect(one.text.split('"id":1,')).toHaveLength(3);
  expect(replayed).toHaveBeenCalledTimes(402);
  replayed.mockRestore();
  await one.close();
});

test('probes and pages that are asked for one behind the other let the event loop go round between them', async () => {
  const gateway = closeAfter(new Gateway({ pool: hanging(), port: 0 }));
  const { port } = await gateway.listen();
  const socket = new RawSocket(port);
  using turns = countTurns();
  const before = turns.count;
  socket.send('GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n'.repeat(200));
  await socket.until((text) => text.match(/HTTP\/1\.1 200/g)?.length === 200);
  expect(turns.count - before).toBeGreaterThan(150);
});

const pingsOf = (path: string, session: string | undefined, count: number): string =>
  post(path, { method: 'ping' }, [`mcp-session-id: ${session}`]).repeat(count);

const answersIn = (text: string): number => text.split('HTTP/1.1 200').length - 1;

test('hundreds of small requests sent one behind the other begin in turns: others are answered between them', async () => {
  const gateway = closeAfter(new Gateway({ pool: hanging(), port: 0 }));
  const { url, port } = await gateway.listen();
  const path = '/servers/one/mcp';
  const client = new RawClient(url + path);
  await client.initialize();
  const [many, other] = [new RawSocket(port), new RawSocket(port)];
  const probe = 'GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n';
  other.send(probe);
  await other.until((text) => answersIn(text) === 1);
  many.send(pingsOf(path, client.sessionId, 300));
  await many.until((text) => answersIn(text) > 0);
  other.send(probe);
  await other.until((text) => answersIn(text) === 2);
  expect(answersIn(many.text)).toBeLessThan(150);
  await many.until((text) => answersIn(text) === 300);
});

test('while many requests of a connection wait, nothing more is read from it', async () => {
  const gateway = closeAfter(new Gateway({ pool: hanging(), port: 0 }));
  const { url, port } = await gateway.listen();
  const path = '/servers/one/mcp';
  const client = new RawClient(url + path);
  await client.initialize();
  const read = (): number => gateway.stats.requests;
  const pad = `pad: ${'x'.repeat(1_000)}\r\n`;
  const ping = post(path, { method: 'ping' }, [`mcp-session-id: ${client.sessionId}`, pad.trim()]);
  for (const request of [ping, `GET /livez HTTP/1.1\r\nhost: localhost\r\n${pad}\r\n`]) {
    const socket = new RawSocket(port);
    const before = read();
    socket.send(request.repeat(250));
    await socket.until((text) => answersIn(text) > 0);
    // Those of one piece, of 64 KiB.
    expect(read() - before).toBeLessThan(130);
    await socket.until((text) => answersIn(text) === 250);
    await socket.close();
  }
});

test('so do the requests of arrays, on however many connections; one that is cancelled before its turn is asked of no one', async () => {
  using turns = countTurns();
  const begun = new Map<number, number>();
  const begins = (): object => {
    begun.set(turns.count, (begun.get(turns.count) ?? 0) + 1);
    return { content: [] };
  };
  const gateway = closeAfter(
    new Gateway({ pool: new FakePool({ one: { methods: { 'tools/call': begins } } }), port: 0 }),
  );
  const { url } = await gateway.listen();
  const array = Array.from({ length: 100 }, (_, id) => ({
    jsonrpc: '2.0',
    id,
    method: 'tools/call',
    params: { name: 'x' },
  }));
  const clients = await Promise.all(
    Array.from({ length: 3 }, async () => {
      const client = new RawClient(`${url}/servers/one/mcp`);
      await client.initialize('2025-03-26', {});
      return client;
    }),
  );
  for (const { messages } of await Promise.all(clients.map((client) => client.send(array))))
    expect(messages).toHaveLength(100);
  expect([...begun.values()].reduce((all, each) => all + each)).toBe(300);
  expect(Math.max(...begun.values())).toBeLessThanOrEqual(16);

  const told: string[] = [];
  const call = new SessionCall('1', {} as Reply);
  const endpoint = { request: async () => told.push('asked') };
  const session = { begin: () => call, finish: () => told.push('over'), endpoint } as unknown as Session;
  const message = { kind: 'request', id: 1, method: 'x', params: undefined } as const;
  const asking = { pool: hanging(), logger: silentLogger, session, message, headers: {}, arrayOf: 'a' };
  const answered = answerRequest(asking, { giveUp: () => told.push('given up') } as unknown as Reply);
  call.abort(new CancelledByClient());
  await answered;
  expect(told).toEqual(['given up', 'over']);
});

/** Requests as Node hands them out, until the end of the test. */
function onRequests(listener: (request: IncomingMessage) => void): void {
  const told = (message: unknown): void => listener((message as { request: IncomingMessage }).request);
  subscribe('http.server.request.start', told);
  onTestFinished(() => void unsubscribe('http.server.request.start', told));
}

test('a body in chunks of one byte is read in turns, some hundred in each, and whatever comes behind it too', async () => {
  const gateway = closeAfter(new Gateway({ pool: new FakePool({ one: {} }), port: 0 }));
  using turns = countTurns();
  const read = new Map<number, number>();
  const begun: (() => void)[] = [];
  onRequests((request) => {
    request.on('data', () => {
      for (const endMs = performance.now() + 0.01; performance.now() < endMs; );
      read.set(turns.count, (read.get(turns.count) ?? 0) + 1);
    });
    begun.shift()?.();
  });
  const socket = new RawSocket((await gateway.listen()).port);
  for (let answers = 1; answers <= 2; answers++) {
    const begins = new Promise<void>((resolve) => begun.push(resolve));
    socket.send(CHUNKED);
    await begins;
    await new Promise(setImmediate);
    socket.send('1\r\n \r\n'.repeat(12_000));
    socket.send('0\r\n\r\n');
    await socket.until((text) => text.split('the body is not JSON').length > answers);
  }
  expect([...read.values()].reduce((all, each) => all + each)).toBe(24_000);
  expect(Math.max(...read.values())).toBeLessThan(4_000);
  await socket.close();
});

test('a body in small chunks that is not read yet stays with its client, and is read whole then', async () => {
  let admit = (): void => undefined;
  const admitted = new Promise<void>((resolve) => (admit = resolve));
  const authenticate = async () => {
    await admitted;
    return { principal: 'anna' };
  };
  const gateway = closeAfter(new Gateway({ pool: new FakePool({ one: {} }), port: 0, authenticate }));
  let request: IncomingMessage | undefined;
  onRequests((asked) => {
    request = asked;
  });
  const socket = connect((await gateway.listen()).port, '127.0.0.1');
  const told = once(socket, 'data');
  socket.write(CHUNKED + '1\r\n \r\n'.repeat(1_000_000));
  await expect.poll(() => request?.readableLength ?? 0).toBeGreaterThan(10_000);
  for (let turn = 0; turn < 500; turn++) await new Promise(setImmediate);
  expect(request?.readableLength).toBeLessThan(100_000);
  admit();
  socket.write('0\r\n\r\n');
  expect(String(await told)).toContain('the body is not JSON');
  socket.destroy();
});

test('once what several connections send at one instant has taken long, all are read in turns, also new ones from their beginning', async () => {
  const gateway = closeAfter(new Gateway({ pool: new FakePool({ one: {} }), port: 0 }));
  using turns = countTurns();
  const read = new Map<number, number>();
  const begun = new Map<number, number>();
  const note = (all: Map<number, number>): void => void all.set(turns.count, (all.get(turns.count) ?? 0) + 1);
  onRequests((request) => {
    note(begun);
    request.on('data', () => note(read));
    // As long as its chunks may take.
    if (request.method === 'POST') for (const endMs = performance.now() + 10; performance.now() < endMs; );
  });
  const { port } = await gateway.listen();
  const probe = 'GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n';
  const kept = Array.from({ length: 8 }, () => new RawSocket(port));
  for (const each of kept) {
    each.send(probe);
    await each.until((text) => answersIn(text) === 1);
  }
  for (const each of kept) each.send(`${CHUNKED}${'1\r\n \r\n'.repeat(10_000)}0\r\n\r\n`);
  for (const each of kept) await each.until((text) => text.includes('the body is not JSON'));
  // The first, and the one behind it that shows how long it took.
  expect(Math.max(...read.values())).toBeLessThan(4 * 10_000);
  begun.clear();
  const late = new RawSocket(port);
  late.send(probe.repeat(600));
  await late.until((text) => answersIn(text) === 600);
  expect(Math.max(...begun.values())).toBeLessThan(400);
});

test('heads of many names that come at one instant are read in turns', async () => {
  const gateway = closeAfter(new Gateway({ pool: new FakePool({ one: {} }), port: 0 }));
  using turns = countTurns();
  const begun = new Map<number, number>();
  onRequests((request) => {
    begun.set(turns.count, (begun.get(turns.count) ?? 0) + 1);
    if (request.rawHeaders.length > 200) for (const endMs = performance.now() + 5; performance.now() < endMs; );
  });
  const { port } = await gateway.listen();
  const probe = 'GET /livez HTTP/1.1\r\nhost: localhost\r\n';
  const kept = Array.from({ length: 20 }, () => new RawSocket(port));
  for (const each of kept) {
    each.send(`${probe}\r\n`);
    await each.until((text) => answersIn(text) === 1);
  }
  begun.clear();
  const names = Array.from({ length: 120 }, (_, i) => `${i.toString(36)}:\r\n`).join('');
  for (const each of kept) each.send(`${probe}${names}\r\n`);
  for (const each of kept) await each.until((text) => answersIn(text) === 2);
  expect(Math.max(...begun.values())).toBeLessThan(10);
});
