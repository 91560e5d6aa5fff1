import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { expect, test } from 'vitest';
import type { Connection } from '../../../src/connection/Connection.js';
import { FakeClock } from '../../../src/testing/FakeClock.js';
import { closeAfter } from '../../support/closeAfter.js';
import { collectGarbage } from '../../support/collectGarbage.js';
import { openHttp, openSse } from '../../support/httpServers.js';
import { said } from '../../support/rawServer.js';

/** The POST of a tool's call, of which no more is read until it is resumed. */
interface Post {
  readonly id: number;
  readonly socket: Socket;
  readonly bytes: number;
  closed: boolean;
}

/** A server over bare sockets that reads the beginning of each call's POST, and leaves it to the test what becomes of it. */
class Unread {
  readonly posts: Post[] = [];
  #stream: Socket | undefined;
  readonly #kind: 'http' | 'sse';
  readonly #onCall: (post: Post) => void;
  readonly #server = createServer((socket) => this.#serve(socket));
  readonly #sockets = new Set<Socket>();

  constructor(kind: 'http' | 'sse', onCall: (post: Post, server: Unread) => void) {
    this.#kind = kind;
    this.#onCall = (post) => onCall(post, this);
  }

  async open(options: object = {}): Promise<Connection> {
    closeAfter(this);
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    const url = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/`;
    const all = { maxMessageBytes: 64 * 2 ** 20, era: 'legacy' as const, serverStream: true, ...options };
    const connection = this.#kind === 'sse' ? await openSse(url, all) : await openHttp(url, all);
    await expect.poll(() => this.#stream).toBeDefined();
    return connection;
  }

  /** The answer of a call, on the stream that is no call's. */
  answer({ id }: Post): void {
    this.#stream?.write(`data: ${JSON.stringify({ jsonrpc: '2.0', id, result: said('ok') })}\n\n`);
  }

  get closed(): number {
    return this.posts.filter(({ closed }) => closed).length;
  }

  async close(): Promise<void> {
    for (const each of this.#sockets) each.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    let text = '';
    const read = (chunk: Buffer): void => {
      text += chunk.toString('latin1');
      const body = text.indexOf('\r\n\r\n') + 4;
      if (body < 4) return;
      const bytes = body + Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0);
      const isCall = /"method":"tools\/call"/.test(text);
      if (text.length < bytes && !isCall) return;
      if (!isCall) {
        this.#other(socket, text.slice(body));
        text = '';
        return;
      }
      socket.off('data', read).pause();
      const post = {
        id: Number(/"id":(\d+)/.exec(text.slice(body))?.[1]),
        socket,
        bytes: bytes - text.length,
        closed: false,
      };
      socket.on('close', () => {
        post.closed = true;
      });
      this.posts.push(post);
      this.#onCall(post);
    };
    socket.on('data', read).on('error', () => undefined);
  }

  #other(socket: Socket, body: string): void {
    const message = body === '' ? undefined : JSON.parse(body);
    if (message === undefined) {
      socket.write('HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n');
      if (this.#kind === 'sse') socket.write('event: endpoint\ndata: /post\n\n');
      this.#stream = socket;
      return;
    }
    const info = { protocolVersion: '2025-06-18', capabilities: {}, serverInfo: { name: 'x', version: '1' } };
    const text = JSON.stringify({ jsonrpc: '2.0', id: message.id, result: info });
    const whole = message.id !== undefined && this.#kind === 'http';
    socket.write(whole ? json(text) : 'HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n');
    if (message.id !== undefined && !whole) this.#stream?.write(`data: ${text}\n\n`);
  }
}

const json = (text: string): string =>
  `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${text.length}\r\n\r\n${text}`;

const call = (connection: Connection, text = '', options: object = {}): Promise<unknown> =>
  connection.request('tools/call', { name: 't', arguments: { text } }, options);

/** More than the system takes of it. */
const LARGE = 'x'.repeat(16 * 2 ** 20);
/** More than a server may have of what lingers. */
const TOO_LARGE = 'x'.repeat(25 * 2 ** 20);

/** The POST's connection ends, and no more came of it than the system had. */
async function expectCut({ socket, bytes }: Post): Promise<void> {
  let read = 0;
  socket.on('data', (chunk) => {
    read += chunk.length;
  });
  socket.resume();
  if (!socket.destroyed) await once(socket, 'close');
  expect(read).toBeLessThan(bytes);
}

test.each(['sse', 'http'] as const)(
  'a POST that is not read ends with its call, answered elsewhere (%s)',
  async (kind) => {
    const server = new Unread(kind, (post) => server.answer(post));
    const connection = await server.open();
    expect(await call(connection, TOO_LARGE)).toEqual(said('ok'));
    await expectCut(server.posts[0] as Post);
    expect(connection.alive).toBe(true);
  },
);

test.each(['sse', 'http'] as const)('so does one whose call is given up (%s)', async (kind) => {
  const abort = new AbortController();
  const server = new Unread(kind, () => abort.abort());
  const connection = await server.open();
  await expect(call(connection, LARGE, { signal: abort.signal })).rejects.toThrow('aborted');
  await expectCut(server.posts[0] as Post);
  expect(connection.alive).toBe(true);
});

test.each(['sse', 'http'] as const)(
  'POSTs without responses, of calls that are answered elsewhere, stay open for a second, and in a number (%s)',
  async (kind) => {
    const clock = new FakeClock();
    const server = new Unread(kind, (post) => {
      post.socket.resume();
      server.answer(post);
    });
    const connection = await server.open({ clock });
    await Promise.all(Array.from({ length: 200 }, () => call(connection)));
    // Three quarters of 256 are left to it.
    await expect.poll(() => server.closed).toBe(8);
    clock.advance(1_100);
    await expect.poll(() => server.closed).toBe(200);
    expect(connection.alive).toBe(true);
  },
);

test('a socket that has not taken a request is not used again behind its response', async () => {
  const server = new Unread('http', ({ id, socket }) => {
    socket.write(json(JSON.stringify({ jsonrpc: '2.0', id, result: said('ok') })));
  });
  const connection = await server.open();
  expect(await call(connection, LARGE)).toEqual(said('ok'));
  await expectCut(server.posts[0] as Post);
});

test('a call that waits to be resumed is not kept when it is answered elsewhere', async () => {
  const clock = new FakeClock();
  const server = new Unread('http', ({ socket }) => {
    const event = 'retry: 600000\nid: 1\ndata: \n\n';
    socket.end(`HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n${event}`);
  });
  const connection = await server.open({ clock });
  const kept: WeakRef<object>[] = [];
  const calls = Array.from({ length: 8 }, () => {
    const args = { text: 'x' };
    kept.push(new WeakRef(args));
    return connection.request('tools/call', { name: 't', arguments: args }, {});
  });
  await expect.poll(() => server.closed).toBe(8);
  for (const post of server.posts) server.answer(post);
  await Promise.all(calls);
  calls.length = 0;
  const left = (): number => {
    collectGarbage();
    return kept.filter((each) => each.deref() !== undefined).length;
  };
  await expect.poll(left).toBeLessThan(4);
});
