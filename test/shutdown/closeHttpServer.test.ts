import { lookup } from 'node:dns/promises';
import { Agent, createServer, get, type RequestListener, type Server } from 'node:http';
import { createServer as createHttp2Server, createSecureServer } from 'node:http2';
import { createServer as createHttpsServer, request as httpsRequest } from 'node:https';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { expect, test } from 'vitest';
import { addHttpServer, closeHttpServer, ShutdownPlan, trackHttpServer } from '../../src/shutdown/index.js';
import { closeAfter } from '../support/closeAfter.js';

interface Listening {
  readonly server: Server;
  readonly port: number;
  /** The server's own ends. */
  readonly sockets: readonly Socket[];
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function listening(handle: RequestListener, tracked = true): Promise<Listening> {
  // Nothing may end because Node grows tired of it.
  const server = createServer({ keepAliveTimeout: 0 }, handle);
  const sockets: Socket[] = [];
  server.on('connection', (socket) => sockets.push(socket));
  if (tracked) trackHttpServer(server);
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  closeAfter({ close: () => closeHttpServer(server, { graceMs: 0 }).catch(() => undefined) });
  return { server, sockets, port: (server.address() as AddressInfo).port };
}

/** A bare connection: what came, and when the server ended it. */
class Client {
  readonly socket: Socket;
  readonly opened: Promise<void>;
  readonly ended: Promise<void>;
  text = '';
  #wake: () => void = () => undefined;

  constructor(port: number) {
    this.socket = connect(port, '127.0.0.1');
    this.opened = new Promise((resolve) => void this.socket.once('connect', resolve));
    this.ended = new Promise((resolve) => void this.socket.once('close', resolve));
    this.socket.on('error', () => undefined);
    this.socket.setEncoding('latin1').on('data', (chunk: string) => {
      this.text += chunk;
      this.#wake();
    });
    closeAfter({
      close: async () => {
        this.socket.destroy();
        await this.ended;
      },
    });
  }

  async until(pattern: RegExp): Promise<void> {
    while (!pattern.test(this.text)) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  send(path: string, more = '', method = 'GET'): void {
    this.socket.write(`${method} ${path} HTTP/1.1\r\nHost: x\r\n${more}\r\n`);
  }
}

/** Resolves once the server has as many connections. */
async function connected(server: Server, count: number): Promise<void> {
  while (trackHttpServer(server).connections < count) await turn();
}

test('what is in flight is answered with Connection: close, idle connections end at once, new ones are refused', async () => {
  let answer: () => void = () => undefined;
  let ask: () => void = () => undefined;
  const asked = new Promise<void>((resolve) => {
    ask = resolve;
  });
  const { server, port } = await listening((request, response) => {
    if (request.url === '/slow') {
      answer = () => response.end('slow answer');
      ask();
    } else response.end('quick answer');
  });
  const idle = new Client(port);
  idle.send('/quick');
  await idle.until(/quick answer/);
  expect(idle.text).toMatch(/connection: keep-alive/i);
  const fresh = new Client(port);
  await fresh.opened;
  const busy = new Client(port);
  busy.send('/slow');
  await connected(server, 3);
  await asked;
  const closed = closeHttpServer(server, { graceMs: 60_000 });
  expect(closeHttpServer(server)).toBe(closed);
  await Promise.all([idle.ended, fresh.ended]);
  const late = new Client(port);
  await late.ended;
  expect(late.text).toBe('');
  answer();
  await busy.ended;
  expect(busy.text).toMatch(/^HTTP\/1.1 200.*connection: close.*slow answer/is);
  await closed;
  expect([server.listenerCount('request'), server.listenerCount('close')]).toEqual([1, 0]);
});

test('a request that is half arrived is still read and answered', async () => {
  const { server, port, sockets } = await listening((_request, response) => void response.end('answer'));
  const client = new Client(port);
  client.socket.write('GET /half HTTP/1.1\r\nHo');
  await connected(server, 1);
  while (sockets[0]?.bytesRead === 0) await turn();
  const closed = closeHttpServer(server, { graceMs: 60_000 });
  await turn();
  client.socket.write('st: x\r\n\r\n');
  await client.ended;
  expect(client.text).toMatch(/200 OK.*connection: close.*answer/is);
  await closed;
});

test('an answer that a slow client is still reading is not cut off', async () => {
  const size = 8_000_000;
  const { server, port, sockets } = await listening((_request, response) => {
    response.end('x'.repeat(size));
  });
  const client = new Client(port);
  client.socket.pause();
  client.send('/big');
  await connected(server, 1);
  while (sockets[0]?.writableLength === 0) await turn();
  const closed = closeHttpServer(server, { graceMs: 60_000 });
  await turn();
  client.socket.resume();
  await client.ended;
  expect(client.text.length).toBeGreaterThan(size);
  await closed;
});

test('an event stream that a GET opened is ended; one that answers a POST is drained', async () => {
  let answer: () => void = () => undefined;
  const { server, port } = await listening((request, response) => {
    response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    response.write('data: first\n\n');
    if (request.method === 'POST') answer = () => response.end('data: answer\n\n');
  });
  const subscription = new Client(port);
  subscription.send('/events');
  const call = new Client(port);
  call.send('/call', 'Content-Length: 0\r\n', 'POST');
  await Promise.all([subscription.until(/first/), call.until(/first/)]);
  const closed = closeHttpServer(server, { graceMs: 60_000 });
  await subscription.ended;
  expect(subscription.text).toMatch(/\r\n0\r\n\r\n$/);
  answer();
  await call.ended;
  expect(call.text).toMatch(/data: answer/);
  await closed;
});

test('an event stream that a GET in flight opens only after the others were ended is ended too', async () => {
  let open: () => void = () => undefined;
  let ask: () => void = () => undefined;
  const asked = new Promise<void>((resolve) => {
    ask = resolve;
  });
  const { server, port } = await listening((_request, response) => {
    open = () => response.writeHead(200, { 'Content-Type': 'text/event-stream' }).write('data: first\n\n');
    ask();
  });
  const client = new Client(port);
  client.send('/events');
  await asked;
  const closed = closeHttpServer(server, { graceMs: 60_000 });
  await turn();
  open();
  await client.ended;
  expect(client.text).toMatch(/first/);
  await closed;
});

test('upgraded connections are ended', async () => {
  const { server, port } = await listening(() => undefined);
  server.on('upgrade', (_request, socket: Socket) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: chat\r\nConnection: Upgrade\r\n\r\nhello');
    socket.on('data', (data) => socket.write(data));
  });
  const client = new Client(port);
  client.send('/chat', 'Upgrade: chat\r\nConnection: Upgrade\r\n');
  await client.until(/hello/);
  client.socket.write('more bytes than HTTP ever saw');
  await client.until(/ever saw/);
  await closeHttpServer(server, { graceMs: 60_000 });
  await client.ended;
});

test('what is left at the grace is destroyed and named', async () => {
  let ask: () => void = () => undefined;
  const asked = new Promise<void>((resolve) => {
    ask = resolve;
  });
  const { server, port } = await listening(() => ask());
  const client = new Client(port);
  client.send('/never');
  await asked;
  const closed = closeHttpServer(server, { graceMs: 20 });
  await expect(closed).rejects.toMatchObject({
    errors: [{ code: 'ERR_SHUTDOWN_TIMEOUT', what: 'http server: 1 response(s) (GET /never)' }],
  });
  await client.ended;
});

test('a client that does not read its answer is cut at the grace, which is no failure of the close, whatever it asked', async () => {
  const answer = 'x'.repeat(16e6);
  let left = 3;
  let answered: () => void = () => undefined;
  const all = new Promise<void>((resolve) => {
    answered = resolve;
  });
  const { server, port } = await listening(({ url }, response) => {
    // It is not made before its turn.
    if (url === '/page') return;
    if (url === '/stream') response.writeHead(200, { 'content-type': 'text/event-stream' }).write(answer);
    else response.end(answer);
    if (--left === 0) answered();
  });
  const clients = [new Client(port), new Client(port)];
  for (const { socket } of clients) socket.pause();
  // Three of them one behind the other.
  clients[0]?.send('/large');
  clients[0]?.send('/next');
  clients[0]?.send('/page');
  clients[1]?.send('/stream');
  await all;
  const tracked = trackHttpServer(server);
  await closeHttpServer(server, { graceMs: 20 });
  expect(tracked.unread.toSorted()).toEqual(['GET /large', 'GET /next', 'GET /page', 'GET /stream']);
});

test('a server whose start is still under way does not start after all', async () => {
  const server = createServer();
  server.listen(0, 'localhost');
  await closeHttpServer(server);
  await lookup('localhost');
  await turn();
  expect(server.listening).toBe(false);
});

test('a server closed while it starts tells whoever waits for its start, and is closed all the same', async () => {
  for (const host of ['127.0.0.1', 'localhost']) {
    const server = createServer();
    trackHttpServer(server);
    const started = new Promise((resolve) => void server.listen(0, host, () => resolve('started')));
    await closeHttpServer(server);
    expect(await started).toBe('started');
    expect([server.listening, Object.hasOwn(server, 'listen')]).toEqual([false, false]);
  }
});

test('a server closed while it fails to start ends with the failure told', async () => {
  const { port } = await listening(() => undefined);
  const server = createServer();
  trackHttpServer(server);
  const failed = new Promise((resolve) => void server.once('error', resolve).listen(port, '127.0.0.1'));
  await closeHttpServer(server);
  expect(await failed).toMatchObject({ code: 'EADDRINUSE' });
});

test('a server that starts only after it was refused is closed at once', async () => {
  const server = createServer();
  const tracked = trackHttpServer(server);
  tracked.refuse();
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  expect(server.listening).toBe(false);
  await tracked.close();
});

test('a server that was never tracked closes too, as far as Node tells', async () => {
  const { server, port } = await listening((_request, response) => void response.end('answer'), false);
  const agent = new Agent({ keepAlive: true });
  await new Promise<void>((resolve) => {
    get({ port, host: '127.0.0.1', agent }, (response) => void response.resume().once('end', resolve));
  });
  await closeHttpServer(server, { graceMs: 60_000 });
  agent.destroy();
});

test('1,000 connections kept alive, half of them never used, close at once', async () => {
  const { server, port } = await listening((_request, response) => void response.end('answer'));
  const clients = Array.from({ length: 1_000 }, () => new Client(port));
  await Promise.all(
    clients.map(async (client, i) => {
      await client.opened;
      if (i % 2 === 0) client.send('/');
      if (i % 2 === 0) await client.until(/answer/);
    }),
  );
  await connected(server, 1_000);
  await closeHttpServer(server, { graceMs: 60_000 });
  await Promise.all(clients.map((client) => client.ended));
});

test('https: a handshake that never ends keeps nothing waiting, and is nobody’s answer', async () => {
  const server = createHttpsServer({});
  trackHttpServer(server);
  const accepted = new Promise((resolve) => void server.once('connection', resolve));
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  const client = new Client((server.address() as AddressInfo).port);
  await accepted;
  client.socket.write(Buffer.from('160301', 'hex')); // the beginning of a handshake
  await closeHttpServer(server, { graceMs: 60_000 });
  await client.ended;
});

test('https: a TLS connection is one connection, drained like any other', async () => {
  const psk = Buffer.from('a key that both sides know');
  const tls = { ciphers: 'PSK', maxVersion: 'TLSv1.2' } as const;
  let answer: () => void = () => undefined;
  const asked = new Promise<void>((resolve) => {
    answer = resolve;
  });
  let respond: () => void = () => undefined;
  const server = createHttpsServer({ ...tls, pskCallback: () => psk }, (_request, response) => {
    respond = () => response.end('answer');
    answer();
  });
  trackHttpServer(server);
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const options = { ...tls, pskCallback: () => ({ psk, identity: 'me' }), checkServerIdentity: () => undefined };
  const text = new Promise<string>((resolve, reject) => {
    const request = httpsRequest({ port, host: '127.0.0.1', ...options }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        body += chunk;
      });
      response.once('end', () => resolve(`${response.headers.connection}: ${body}`));
    });
    request.once('error', reject).end();
  });
  await asked;
  const closed = closeHttpServer(server, { graceMs: 60_000 });
  await turn();
  respond();
  expect(await text).toBe('close: answer');
  await closed;
});

test.each([createHttp2Server, createSecureServer])('a server of node:http2 is refused at once: $name', (create) => {
  const server = create() as unknown as Server;
  const before = server.eventNames();
  const expected = 'a server of node:http or node:https, not of node:http2';
  const refused = expect.objectContaining({ code: 'ERR_OPTION', expected });
  expect(() => trackHttpServer(server)).toThrow(refused);
  expect(() => closeHttpServer(server)).toThrow(refused);
  expect(() => addHttpServer(new ShutdownPlan(), server)).toThrow(refused);
  expect(server.eventNames()).toEqual(before);
});
