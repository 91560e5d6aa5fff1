import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import { connect, createServer as createSecond } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { expect, test, vi } from 'vitest';
import { OptionError } from '../../../src/core/errors.js';
import { silentLogger } from '../../../src/core/logger.js';
import { Gateway } from '../../../src/gateway/Gateway.js';
import { StdioPool } from '../../../src/pool/StdioPool.js';
import { closeAfter } from '../../support/closeAfter.js';
import { collectGarbage } from '../../support/collectGarbage.js';
import { countTurns } from '../../support/countTurns.js';
import { everything } from '../../support/everything.js';
import { FakePool } from '../../support/FakePool.js';
import { exchange, RawClient } from '../../support/httpClient.js';
import { fixture } from '../../support/servers.js';
import { RawSocket } from '../../support/tcp.js';

// Processes start here, and the machine may be busy.
vi.setConfig({ testTimeout: 60_000 });
const PATIENT = { timeout: 30_000 };

const HEADERS = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
const rpc = (method: string, params: object = {}, id = 1): string =>
  JSON.stringify({ jsonrpc: '2.0', id, method, params });

const initialize = rpc('initialize', {
  protocolVersion: '2025-11-25',
  capabilities: {},
  clientInfo: { name: 'test', version: '1' },
});

test('a body that a framework has read is taken from it: text and bytes as they came, an object written anew', async () => {
  const pool = closeAfter(new StdioPool({ ledger: false }));
  await pool.startServer({
    name: 'v',
    transport: 'stdio',
    command: process.execPath,
    args: [fixture('verbatim-server.mjs')],
  });
  const gateway = closeAfter(new Gateway({ pool, maxBodyBytes: 10_000 }));
  interface Host {
    body?: unknown;
    rawBody?: unknown;
  }
  const parsers: Record<string, (bytes: Buffer) => Pick<Host, 'body' | 'rawBody'>> = {
    text: (bytes) => ({ body: bytes.toString() }),
    bytes: (bytes) => ({ body: bytes }),
    raw: (bytes) => ({ body: JSON.parse(bytes.toString()), rawBody: bytes }),
    parsed: (bytes) => ({ body: JSON.parse(bytes.toString()) }),
    lost: () => ({}),
    number: () => ({ body: 1 }),
  };
  const server = createServer(async (request: IncomingMessage & Host, response) => {
    const [, parser = '', rest = ''] = /^\/(\w+)(\/.*)$/.exec(request.url ?? '') ?? [];
    request.url = rest;
    const parse = parsers[parser];
    // A parser that was not concerned leaves an empty object beside a body that is still to be read.
    if (parse === undefined) request.body = {};
    else Object.assign(request, parse(await buffer(request)));
    gateway.handler(request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closeAfter({ close: async () => void (await once(server.close(), 'close')) });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  const asked =
    '{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"echo","arguments":{"n":12345678901234567890}}}';
  const answer = async (how: string): Promise<string> => {
    const client = new RawClient(`${url}/${how}/servers/v/mcp`);
    await client.initialize();
    const { sessionId } = client;
    const response = await fetch(client.url, {
      method: 'POST',
      headers: { ...HEADERS, 'mcp-session-id': sessionId, connection: 'close' },
      body: asked,
    });
    return response.text();
  };
  for (const how of ['none', 'text', 'bytes', 'raw'])
    expect([how, await answer(how)]).toEqual([how, expect.stringContaining('12345678901234567890')]);
  // What the parser in front made of it, which is what any other handler would see.
  expect(await answer('parsed')).toContain('12345678901234567000');

  const lost = await new RawClient(`${url}/lost/mcp`).send({ jsonrpc: '2.0', id: 1, method: 'ping' });
  expect([lost.status, lost.messages[0]?.error?.message]).toEqual([500, expect.stringContaining('req.body')]);
  expect((await new RawClient(`${url}/number/mcp`).send({ jsonrpc: '2.0', id: 1, method: 'ping' })).status).toBe(400);
  const large = await new RawClient(`${url}/parsed/mcp`).send({ jsonrpc: '2.0', id: 1, method: 'x'.repeat(10_000) });
  expect(large.status).toBe(413);
});

test('what cannot be had of a body that was read in front is told at once; HTTP/2 is refused by name', async () => {
  const gateway = closeAfter(new Gateway({ pool: new FakePool({}) }));
  let body: unknown;
  const host = (request: IncomingMessage & { body?: unknown }, response: ServerResponse): void => {
    request.resume().on('end', () => {
      request.body = body;
      gateway.handler(request, response);
    });
  };
  const server = createServer(host).listen(0, '127.0.0.1');
  await once(server, 'listening');
  closeAfter({ close: async () => void (await once(server.close(), 'close')) });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`;
  body = {};
  const empty = await exchange(url, { headers: { ...HEADERS, 'content-length': '0' } });
  expect(empty.status).toBe(400);
  body = JSON.parse(`{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`);
  const deep = await exchange(url, { headers: HEADERS, body: '{}' });
  expect([deep.status, deep.messages[0]?.error?.message]).toEqual([400, 'the body is nested too deep']);

  const read = new Request('http://localhost/mcp', { method: 'POST', headers: HEADERS, body: initialize });
  await read.text();
  const lost = await gateway.fetch(read);
  expect([lost.status, await lost.text()]).toEqual([500, expect.stringContaining('the body was read before')]);

  const next = createSecond(gateway.handler as never).listen(0, '127.0.0.1');
  await once(next, 'listening');
  const client = connect(`http://127.0.0.1:${(next.address() as AddressInfo).port}`);
  const stream = client.request({ ':method': 'POST', ':path': '/mcp', host: 'localhost', ...HEADERS }).end(initialize);
  const [head] = await once(stream, 'response');
  expect(head).toMatchObject({ ':status': 505 });
  expect((await buffer(stream)).toString()).toContain('HTTP/2 is not served here');
  client.close();
  next.close();
  await once(next, 'close');
});

test('a request that its host has paused, or destroyed, is answered', async () => {
  const failures: unknown[] = [];
  const onUnhandled = (error: unknown): void => void failures.push(error);
  process.on('unhandledRejection', onUnhandled);
  const gateway = closeAfter(new Gateway({ pool: new FakePool({ one: {} }) }));
  const server = createServer(async (request: IncomingMessage & { body?: unknown }, response) => {
    if (request.url === '/paused/mcp') {
      request.pause();
      await new Promise((resolve) => setImmediate(resolve));
    } else {
      for await (const chunk of request) {
        request.body = JSON.parse(String(chunk));
        break;
      }
    }
    gateway.handler(request, response);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  closeAfter({ close: async () => void (await once(server.close(), 'close')) });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  for (const path of ['paused', 'destroyed']) {
    const reply = await exchange(`${url}/${path}/mcp`, { headers: HEADERS, body: initialize });
    expect([path, reply.status, reply.messages[0]?.result !== undefined]).toEqual([path, 200, true]);
  }
  process.off('unhandledRejection', onUnhandled);
  expect(failures).toEqual([]);
});

test('fetch streams both ways, and an abort or a reader that cancels ends the call', async () => {
  const pool = closeAfter(new StdioPool({ ledger: false }));
  await pool.startServer(everything());
  const gateway = closeAfter(new Gateway({ pool, allowedHosts: ['proxy.example'] }));
  const url = 'http://proxy.example/some/where/servers/everything/mcp';
  const pieces = (text: string): ReadableStream<Uint8Array> =>
    new ReadableStream({
      start: (controller) => {
        for (let at = 0; at < text.length; at += 50) controller.enqueue(Buffer.from(text.slice(at, at + 50)));
        controller.close();
      },
    });
  const post = (body: string, more: Record<string, string> = {}, signal?: AbortSignal): Promise<Response> => {
    const headers = { ...HEADERS, ...more };
    const init = { method: 'POST', headers, body: pieces(body), duplex: 'half', ...(signal && { signal }) };
    return gateway.fetch(new Request(url, init as RequestInit), { address: '192.0.2.1' });
  };
  const opened = await post(initialize);
  expect(opened.status).toBe(200);
  const session = { 'mcp-session-id': String(opened.headers.get('mcp-session-id')) };
  expect(await opened.json()).toMatchObject({ result: { serverInfo: { name: expect.any(String) } } });

  const large = 'x'.repeat(300_000);
  const echoed = await post(rpc('tools/call', { name: 'echo', arguments: { message: large } }), session);
  expect(await echoed.text()).toContain(large);
  await vi.waitFor(() => expect(gateway.stats.heldBytes).toBe(0), PATIENT);

  const long = (id: number, signal?: AbortSignal): Promise<Response> =>
    post(
      rpc(
        'tools/call',
        {
          name: 'trigger-long-running-operation',
          arguments: { duration: 30, steps: 600 },
          _meta: { progressToken: id },
        },
        id,
      ),
      session,
      signal,
    );
  // Legacy: a client that leaves has not cancelled. It says so, and the stream ends without an answer.
  const streaming = await long(2);
  const reader = streaming.body?.getReader();
  let heard = '';
  while (!heard.includes('notifications/progress')) heard += Buffer.from((await reader?.read())?.value ?? []);
  expect(pool.stats('everything').inFlight).toBe(1);
  const cancel = '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":2}}';
  expect((await post(cancel, session)).status).toBe(202);
  await vi.waitFor(() => expect(pool.stats('everything').inFlight).toBe(0), PATIENT);
  await reader?.cancel();

  // Modern: closing the stream is the cancellation.
  const modern = {
    'mcp-protocol-version': '2026-07-28',
    'mcp-method': 'tools/call',
    'mcp-name': 'trigger-long-running-operation',
  };
  const meta = {
    progressToken: 3,
    'io.modelcontextprotocol/protocolVersion': '2026-07-28',
    'io.modelcontextprotocol/clientCapabilities': {},
  };
  const params = { name: 'trigger-long-running-operation', arguments: { duration: 30, steps: 600 }, _meta: meta };
  for (const leave of ['abort', 'cancel'] as const) {
    const control = new AbortController();
    const answer = await post(rpc('tools/call', params, 3), modern, control.signal);
    expect(answer.headers.get('content-type')).toBe('text/event-stream');
    expect(pool.stats('everything').inFlight).toBe(1);
    if (leave === 'abort') {
      const rest = answer.text();
      // A request that no one holds any more must not take its abort along.
      collectGarbage();
      control.abort('no longer wanted');
      // What came of it must not pass for the whole. Hosts know the code as that of a client which has left.
      await expect(rest).rejects.toMatchObject({ code: 'ERR_STREAM_PREMATURE_CLOSE', cause: 'no longer wanted' });
    } else await answer.body?.cancel();
    await vi.waitFor(() => expect(pool.stats('everything').inFlight).toBe(0), PATIENT);
  }

  // The stream of a session ends with it, and the Host is looked at here, too.
  const own = await gateway.fetch(new Request(url, { headers: { ...HEADERS, ...session } }));
  expect(own.headers.get('content-type')).toBe('text/event-stream');
  const ended = own.text();
  const gone = await gateway.fetch(new Request(url, { method: 'DELETE', headers: session }));
  expect([gone.status, await ended]).toEqual([200, '']);
  expect((await gateway.fetch(new Request('http://evil.example/mcp', { method: 'POST' }))).status).toBe(403);
  // As a request target with a host: what the URL and what the header names must both be allowed.
  const named = async (at: string, host: string): Promise<number> =>
    (await gateway.fetch(new Request(`http://${at}/mcp`, { method: 'POST', headers: { host } }))).status;
  expect(await named('evil.example', 'proxy.example')).toBe(403);
  expect(await named('proxy.example', 'evil.example')).toBe(403);
  expect(await named('proxy.example:80', 'PROXY.example:80')).toBe(415);
  expect(await named('localhost:3399', 'proxy.example')).toBe(415);
  const already = AbortSignal.abort();
  expect((await gateway.fetch(new Request(url, { signal: already }))).status).toBe(499);
  await vi.waitFor(() => expect(gateway.stats.inFlight).toBe(0), PATIENT);
});

test('close waits no longer than its grace for bodies that do not come, by handler and by fetch', async () => {
  const gateway = new Gateway({ pool: closeAfter(new StdioPool({ ledger: false })) });
  const server = createServer(gateway.handler);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  const socket = new RawSocket(port);
  const head = Object.entries({ host: '127.0.0.1', ...HEADERS, 'content-length': '100' });
  socket.send(`POST /mcp HTTP/1.1\r\n${head.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n{`);
  const never = new ReadableStream({ pull: () => new Promise<void>(() => undefined) });
  const asked = { method: 'POST', headers: HEADERS, duplex: 'half', body: never };
  const fetched = gateway.fetch(new Request('http://127.0.0.1/mcp', asked as RequestInit));
  await vi.waitFor(() => expect(gateway.stats.inFlight).toBe(2));
  // A body has 30 s of its own.
  await gateway.close({ graceMs: 50 });
  expect((await fetched).status).toBe(503);
  await expect.poll(() => socket.text).toMatch(/^HTTP\/1\.1 503 /);
  await socket.close();
  await once(server.close(), 'close');
});

test('close waits no longer than its grace for clients that do not read their streams, by handler and by fetch', async () => {
  const pool = new FakePool({
    one: { capabilities: { tools: { listChanged: true }, resources: { subscribe: true } } },
  });
  const gateway = new Gateway({ pool });
  const server = createServer(gateway.handler);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  const method = 'subscriptions/listen';
  const notifications = { resourceSubscriptions: ['a:1'] };
  const meta = { 'io.modelcontextprotocol/protocolVersion': '2026-07-28' };
  const modern = { ...HEADERS, 'mcp-protocol-version': '2026-07-28', 'mcp-method': method };
  const body = rpc(method, { notifications, _meta: { ...meta, 'io.modelcontextprotocol/clientCapabilities': {} } });
  const url = `http://127.0.0.1:${port}/servers/one/mcp`;
  const legacy = new RawClient(url);
  await legacy.initialize();
  const asked = [
    request(url, { method: 'POST', headers: modern, agent: false }),
    request(url, { method: 'GET', headers: legacy.headers, agent: false }),
  ];
  for (const each of asked) each.on('response', (response) => response.pause()).on('error', () => undefined);
  asked[0]?.end(body);
  asked[1]?.end();
  const fetched = await gateway.fetch(new Request(url, { method: 'POST', headers: modern, body }));
  await vi.waitFor(() => expect(gateway.stats.streams).toBe(3));
  const pad = 'x'.repeat(200_000);
  for (let notice = 0; notice < 60; notice++) {
    for (const each of pool.subscriptions)
      each.notify({ method: 'notifications/resources/updated', params: { uri: 'a:1', pad } });
    const changed = { method: 'notifications/tools/list_changed', params: { pad } };
    pool.emit('notification', { server: 'one', notice: changed });
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(gateway.stats.heldBytes).toBeGreaterThan(2 * pad.length);
  await gateway.close({ graceMs: 50 });
  expect([gateway.stats.heldBytes, gateway.stats.inFlight]).toEqual([0, 0]);
  await expect(fetched.body?.cancel()).rejects.toThrow('the answer broke off');
  for (const each of asked) each.destroy();
  await once(server.close(), 'close');
});

test('an answer by fetch whose body nothing reads is cut after `stallTimeoutMs`, told and counted', async () => {
  const big = { content: [{ type: 'text', text: 'x'.repeat(200_000) }] };
  const lists = { tools: [{ name: 'big', inputSchema: { type: 'object' } }] };
  const pool = new FakePool({ one: { lists, methods: { 'tools/call': () => big } } });
  const told: string[] = [];
  const logger = { ...silentLogger, warn: (...said: unknown[]) => void told.push(String(said[1])) };
  const gateway = closeAfter(new Gateway({ pool, stallTimeoutMs: 20, logger }));
  const url = 'http://127.0.0.1/servers/one/mcp';
  const post = (body: string, headers = {}) =>
    gateway.fetch(new Request(url, { method: 'POST', headers: { ...HEADERS, ...headers }, body }));
  const session = { 'mcp-session-id': String((await post(initialize)).headers.get('mcp-session-id')) };
  const unread = await post(rpc('tools/call', { name: 'big' }), session);
  await vi.waitFor(() => expect(gateway.stats.heldBytes).toBe(0), PATIENT);
  expect(gateway.stats.cutResponses).toEqual({ failed: 0, stalled: 1, no_room: 0 });
  expect(told).toContain('a response was cut before its end');
  await expect(unread.text()).rejects.toThrow('the answer broke off');
});

test('a body whose stream is always ready is read in turns of the event loop', async () => {
  const gateway = closeAfter(new Gateway({ pool: new FakePool({}) }));
  let left = 6_400;
  const body = new ReadableStream({
    pull: (controller) => {
      if (left-- > 0) controller.enqueue(new Uint8Array(left % 2));
      else controller.close();
    },
  });
  const init = { method: 'POST', headers: HEADERS, body, duplex: 'half' };
  using turns = countTurns();
  expect((await gateway.fetch(new Request('http://127.0.0.1/mcp', init as RequestInit))).status).toBe(400);
  expect(turns.count).toBeGreaterThan(90);
});

test('a body that breaks off, was read already, or whose memory is another’s by now settles its request and leaves nothing in flight', async () => {
  const gateway = new Gateway({ pool: closeAfter(new StdioPool({ ledger: false })) });
  const url = 'http://127.0.0.1/mcp';
  const broken = new Request(url, {
    method: 'POST',
    headers: HEADERS,
    duplex: 'half',
    body: new ReadableStream({
      start: (controller) => {
        controller.enqueue(new TextEncoder().encode('{"jsonrpc"'));
        setTimeout(() => controller.error(new Error('gone')), 10);
      },
    }),
  } as RequestInit);
  const used = new Request(url, { method: 'POST', headers: HEADERS, body: initialize });
  await used.text();
  const bytes = new TextEncoder().encode('{"jsonrpc"');
  const handedOn = new Request(url, {
    method: 'POST',
    headers: HEADERS,
    duplex: 'half',
    body: new ReadableStream({
      start: (controller) => {
        controller.enqueue(bytes);
        structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
      },
    }),
  } as RequestInit);
  const all = [broken, used, handedOn];
  const ends = await Promise.all(all.map((each) => gateway.fetch(each).then(({ status }) => status)));
  expect(ends).toEqual([499, 500, 499]);
  expect(gateway.stats.inFlight).toBe(0);
  await gateway.close();
});

test('what a host made of a request, or an answer it began, has the handler throw nothing and settle', async () => {
  const gateway = closeAfter(new Gateway({ pool: closeAfter(new StdioPool({ ledger: false })) }));
  const changes: Readonly<Record<string, (request: IncomingMessage, response: ServerResponse) => void>> = {
    null: (request) => Reflect.set(request, 'url', null),
    object: (request) => Reflect.set(request, 'url', {}),
    begun: (_, response) => void response.writeHead(200),
    ended: (_, response) => void response.end('x'),
  };
  const server = createServer((request, response) => {
    const [, how = '', passed] = (request.url ?? '').split('/');
    request.url = '/mcp';
    changes[how]?.(request, response);
    gateway.handler(request, response, passed === 'next' ? () => void response.writeHead(418).end() : undefined);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closeAfter({ close: async () => void (await once(server.close(), 'close')) });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const ask = (path: string): Promise<number> =>
    fetch(`${url}/${path}`, { method: 'POST', headers: { ...HEADERS, connection: 'close' }, body: initialize })
      .then(async (answer) => answer.text().then(() => answer.status))
      .catch(() => 0);
  const paths = ['null/mcp', 'null/next/mcp', 'object/mcp', 'object/next/mcp', 'begun/mcp', 'ended/mcp'];
  expect(await Promise.all(paths.map(ask))).toEqual([404, 418, 404, 418, 0, 200]);
  const nothing = { url: undefined } as unknown as Request;
  await expect(gateway.fetch(nothing)).rejects.toBeInstanceOf(OptionError);
  const given = new Request('http://127.0.0.1/mcp', { method: 'POST', headers: HEADERS, body: initialize });
  expect((await gateway.fetch(given, null as never)).status).toBe(200);
});
