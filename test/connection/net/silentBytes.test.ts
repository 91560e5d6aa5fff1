import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer as createHttps } from 'node:https';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { afterEach, expect, test, vi } from 'vitest';
import { closeAfter } from '../../support/closeAfter.js';
import { openHttp, openSse } from '../../support/httpServers.js';
import { call, failure, LEGACY, serve } from '../../support/rawCalls.js';
import { type Handler, RawServer, said } from '../../support/rawServer.js';
import { RawSse } from '../../support/rawSse.js';

/** What the parser of HTTP passes over without a word comes to no handler: it is counted, read in turns, and bounded. */

const head = (type: string): string => `HTTP/1.1 200 OK\r\ncontent-type: ${type}\r\ntransfer-encoding: chunked\r\n\r\n`;
const chunk = (data: string, extension = ''): string => `${data.length.toString(16)}${extension}\r\n${data}\r\n`;
const EVENT = chunk('id: 1\ndata: {"jsonrpc":"2.0","method":"notifications/x"}\n\n');
const BLOCK = 65_536;
const TIMEOUT = { timeoutMs: 3_000 };

/** How each begins, and what then comes without end. */
const SILENT = {
  'extensions of a chunk': [`${head('application/json')}1;`, 'e'],
  'extensions of a chunk behind an event': [`${head('text/event-stream')}${EVENT}1;`, 'e'],
  'zeros before the size of a chunk': [head('application/json'), '0'],
  'a reason phrase': ['HTTP/1.1 200 ', 'e'],
  'empty lines before the status line': ['', '\r\n'],
  'blanks before the value of a header': ['HTTP/1.1 200 OK\r\nX:', ' '],
} as const;

async function flood(socket: Socket, [first, more]: readonly [string, string]): Promise<void> {
  const block = more.repeat(BLOCK / more.length);
  const over = once(socket, 'close').catch(() => undefined);
  if (first !== '') socket.write(first);
  while (!socket.destroyed)
    if (!socket.write(block)) await Promise.race([once(socket, 'drain'), over]).catch(() => undefined);
}

const floods =
  (what: readonly [string, string]): Handler =>
  ({ res }) =>
    void flood(res.socket as Socket, what);

/** Bytes read in blocks, of which a server here reads none, and most of them in a turn of the event loop. */
function readBytes(): { all: number; turn: number } {
  const bytes = { all: 0, turn: 0 };
  let now = 0;
  const { read } = Readable.prototype;
  vi.spyOn(Readable.prototype, 'read').mockImplementation(function (this: Readable, wanted?: number) {
    const got = read.call(this, wanted) as Buffer | null;
    if (got === null || got.length < 16_384) return got;
    bytes.all += got.length;
    if (now === 0) setImmediate(() => (now = 0));
    now += got.length;
    bytes.turn = Math.max(bytes.turn, now);
    return got;
  });
  return bytes;
}

afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
});

test.each(Object.entries(SILENT))(
  '%s without end: the call is refused, and little of them is read',
  async (_, what) => {
    const { connection } = await serve({ flood: floods(what) });
    const bytes = readBytes();
    expect(await failure(call(connection, 'flood', {}, TIMEOUT))).toMatchObject({ code: 'ERR_PROTOCOL' });
    expect(bytes.all).toBeLessThanOrEqual(3 * BLOCK);
    expect(await call(connection, 'echo', { text: 'x' })).toEqual(said('x'));
  },
);

test('so it is with TLS', async () => {
  // Needs no certificate.
  const anonymous = { ciphers: 'ADH-AES128-GCM-SHA256:@SECLEVEL=0', maxVersion: 'TLSv1.2' } as const;
  const server = createHttps({ ...anonymous, dhparam: 'auto' }, (req, res) => void answer(req, res));
  const answer = async (req: IncomingMessage, res: ServerResponse): Promise<void> => {
    const { id, method, params } = JSON.parse((await text(req)) || '{}');
    if (method === 'tools/call') return flood(res.socket as Socket, SILENT['extensions of a chunk']);
    const { protocolVersion } = params ?? {};
    const result = { protocolVersion, capabilities: {}, serverInfo: { name: 'x', version: '1' } };
    res.writeHead(id === undefined ? 202 : 200, { 'content-type': 'application/json' });
    res.end(id === undefined ? '' : JSON.stringify({ jsonrpc: '2.0', id, result }));
  };
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closeAfter({
    close: async () => {
      server.closeAllConnections();
      server.close();
    },
  });
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`;
  const connection = await openHttp(url, { ...LEGACY, tls: { ...anonymous, rejectUnauthorized: false } });
  const bytes = readBytes();
  expect(await failure(call(connection, 'x', {}, TIMEOUT))).toMatchObject({ code: 'ERR_PROTOCOL' });
  expect(bytes.all).toBeLessThanOrEqual(3 * BLOCK);
});

test('a handshake fails with it', async () => {
  const server = await RawServer.listen({
    before: ({ message, res }) => {
      if (message?.method !== 'initialize') return false;
      void flood(res.socket as Socket, SILENT['a reason phrase']);
      return true;
    },
  });
  const error = await failure(openHttp(server.url, { ...LEGACY, startTimeoutMs: 3_000 }));
  expect(error).toMatchObject({
    code: 'ERR_START_FAILED',
    cause: { code: 'ERR_PROTOCOL', message: expect.stringContaining('neither header nor body') },
  });
});

test('the stream of a session ends, and its calls go on', async () => {
  const ended: Promise<void>[] = [];
  const { connection } = await serve(
    {},
    {
      get: ({ res }) => void ended.push(flood(res.socket as Socket, SILENT['extensions of a chunk behind an event'])),
    },
  );
  await expect.poll(() => ended.length).toBe(1);
  await ended[0];
  expect(await call(connection, 'echo', { text: 'x' })).toEqual(said('x'));
});

test('the stream of HTTP+SSE ends with its connection', async () => {
  const server = await RawSse.listen({
    before: ({ message }) => {
      if (message.method !== 'tools/call') return false;
      void flood(server.streams[0]?.socket as Socket, ['1;', 'e']);
      return true;
    },
  });
  const connection = await openSse(server.url);
  const closed = new Promise((resolve) => connection.onClose(resolve));
  const bytes = readBytes();
  expect(await failure(connection.request('tools/call', { name: 'x' }, TIMEOUT))).toMatchObject({ acted: 'perhaps' });
  expect(await closed).toMatchObject({ expected: false });
  expect(bytes.all).toBeLessThanOrEqual(3 * BLOCK);
});

test('a proxy that is asked for a tunnel is held to it, and what it was asked for is not sent', async () => {
  const proxy = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', () => void flood(socket, SILENT['a reason phrase']));
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  closeAfter({ close: async () => void proxy.close() });
  vi.stubEnv('https_proxy', `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`);
  const error = await failure(openHttp('https://mcp.corp.invalid/mcp', { ...LEGACY, startTimeoutMs: 3_000 }));
  expect(error).toMatchObject({ code: 'ERR_START_FAILED', cause: { code: 'ERR_NOT_SENT' } });
});

test('where a byte of body comes now and then, what is passed over is read in turns, and the answer behind it is heard', async () => {
  const SOCKETS = 4;
  const padded = chunk(' ', `;${'e'.repeat(15_000)}`).repeat(120);
  let asked = 0;
  const floods: (() => void)[] = [];
  const { connection } = await serve({
    pads: ({ res, message }) => {
      const json = JSON.stringify({ jsonrpc: '2.0', id: message.id, result: said('x') });
      floods.push(() => res.socket?.write(`${head('application/json')}${padded}${chunk(json)}0\r\n\r\n`));
      if (++asked === SOCKETS) for (const begin of floods) begin();
    },
  });
  const bytes = readBytes();
  const answers = await Promise.all(Array.from({ length: SOCKETS }, () => call(connection, 'pads')));
  expect(answers).toEqual(Array(SOCKETS).fill(said('x')));
  // Each may read one block until it is known; the budget of a turn may begin anew within what is counted here as one.
  expect(bytes.turn).toBeLessThanOrEqual(2 * 256 * 1024 + SOCKETS * BLOCK);
});
