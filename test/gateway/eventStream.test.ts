import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { expect, test, vi } from 'vitest';
import { endWithSocket } from '../../src/core/close/endWithSocket.js';
import { Gateway } from '../../src/gateway/Gateway.js';
import { HeldBytes } from '../../src/gateway/http/HeldBytes.js';
import { EventStream } from '../../src/gateway/http/stream/EventStream.js';
import { Frame } from '../../src/gateway/http/stream/Frame.js';
import { StdioPool } from '../../src/pool/StdioPool.js';
import { closeAfter } from '../support/closeAfter.js';
import { exchange, RawClient } from '../support/httpClient.js';
import { RawSocket } from '../support/tcp.js';

/** How streams of events leave: in few writes, in order, byte for byte, and within their bounds. */

const turn = (): Promise<void> => new Promise((done) => void setImmediate(done));
const event = (json: string): string => `event: message\ndata: ${json}\n\n`;

/** A response of a real server to a raw client, as a stream of events. */
async function streamTo(method: 'GET' | 'POST', maxStreamBufferBytes = 2 ** 20) {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = new RawSocket((server.address() as AddressInfo).port);
  closeAfter({
    close: async () => {
      server.closeAllConnections();
      await once(server.close(), 'close');
    },
  });
  const asked = once(server, 'request') as Promise<[IncomingMessage, ServerResponse]>;
  client.send(`${method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n`);
  const [, response] = await asked;
  const held = new HeldBytes(2 ** 30);
  const open = (): EventStream => new EventStream(response, { maxStreamBufferBytes, held, stallTimeoutMs: 60_000 });
  return { server, client, response, held, open };
}

/** The body of a response, taken out of its chunks where it comes in some. */
function bodyOf(text: string): string {
  const [head = '', ...rest] = text.split('\r\n\r\n');
  const body = rest.join('\r\n\r\n');
  if (!/^transfer-encoding: chunked/im.test(head)) return body;
  let left = body;
  let all = '';
  for (let size = -1; size !== 0 && left !== ''; ) {
    const line = left.indexOf('\r\n');
    size = Number.parseInt(left.slice(0, line), 16);
    all += left.slice(line + 2, line + 2 + size);
    left = left.slice(line + 4 + size);
  }
  return all;
}

test('progress and the answer behind it that come together leave as one response of known length', async () => {
  const pool = closeAfter(new StdioPool({ ledger: false }));
  pool.addServer({ name: 'echo', transport: 'stdio', command: process.execPath, args: ['bench/servers/echo.mjs'] });
  const gateway = closeAfter(new Gateway({ pool, port: 0 }));
  const url = `${(await gateway.listen()).url}/servers/echo/mcp`;
  const client = new RawClient(url);
  await client.initialize();
  const params = (meta: object): object => ({ name: 'echo', arguments: { text: 'höher' }, _meta: meta });
  const call = { jsonrpc: '2.0', id: 7, method: 'tools/call' };
  const progress = '{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"p","progress":1}}';
  const answer = '{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"höher"}]}}';

  const legacy = await client.send({ ...call, params: params({ progressToken: 'p' }) });
  const ids = [...legacy.text.matchAll(/^id: (\S+)$/gm)].map((hit) => hit[1] ?? '');
  expect(ids.map((id) => id.replace(/^.*_/, ''))).toEqual(['1', '2']);
  expect(legacy.text).toBe(`id: ${ids[0]}\n${event(progress)}id: ${ids[1]}\n${event(answer)}`);
  expect(legacy.headers).toMatchObject({
    'content-type': 'text/event-stream',
    'cache-control': 'no-cache, no-transform',
    'content-length': String(Buffer.byteLength(legacy.text)),
  });
  // What it missed of such a response a client still gets.
  const resumed = await exchange(url, {
    method: 'GET',
    headers: { ...client.headers, accept: 'text/event-stream', 'last-event-id': ids[0] ?? '' },
  });
  expect(resumed.text).toBe(`id: ${ids[1]}\n${event(answer)}`);

  const modern = await exchange(url, {
    headers: {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'mcp-protocol-version': '2026-07-28',
      'mcp-method': 'tools/call',
      'mcp-name': 'echo',
    },
    body: JSON.stringify({
      ...call,
      params: params({
        progressToken: 'p',
        'io.modelcontextprotocol/protocolVersion': '2026-07-28',
        'io.modelcontextprotocol/clientCapabilities': {},
      }),
    }),
  });
  expect(modern.headers['content-length']).toBe(String(Buffer.byteLength(modern.text)));
  expect(modern.messages[0]).toEqual(JSON.parse(progress));
  expect(modern.messages[1]).toMatchObject({ id: 7, result: { content: [{ type: 'text', text: 'höher' }] } });
  expect(modern.messages).toHaveLength(2);
  await expect.poll(() => gateway.stats.droppedNotices).toBe(0);
});

test('a message leaves at the end of its turn, with the head, though nothing follows', async () => {
  const { client, open } = await streamTo('POST');
  const stream = open();
  expect(stream.offer('{"a":1}')).toBe(true);
  expect(stream.offer('{"b":2}', 'x_2')).toBe(true);
  await client.until((text) => text.endsWith('\n\n\r\n'));
  const text = `${event('{"a":1}')}id: x_2\n${event('{"b":2}')}`;
  // One chunk holds both.
  expect(client.text).toContain(`\r\n\r\n${text.length.toString(16)}\r\n${text}\r\n`);
  stream.send('{"c":3}');
  stream.end();
  await client.until((all) => all.endsWith('0\r\n\r\n'));
  expect(bodyOf(client.text)).toBe(text + event('{"c":3}'));
});

test('a stream that a client opened to listen has its head at once', async () => {
  const { response, open } = await streamTo('GET');
  open();
  expect(response.headersSent).toBe(true);
});

test('small and large messages keep their order and their bytes, and nothing stays held', async () => {
  const { client, held, open } = await streamTo('POST', 2 ** 22);
  const stream = open();
  const large = `{"l":"${'ü'.repeat(40_000)}"}`;
  const shared = new Frame('{"s":"ß"}');
  let expected = '';
  for (const [i, json] of ['{"a":1}', large, '{"b":\n2}', '{"c":"é"}', large, '{"d":4}'].entries()) {
    const body = i % 2 === 0 ? json : [Buffer.from(json.slice(0, 4)), Buffer.from(json.slice(4))];
    if (i % 3 === 0) expect(stream.offer(json, `i_${i}`)).toBe(true);
    else stream.send(body, `i_${i}`);
    expect(stream.offer(shared)).toBe(true);
    expected += `id: i_${i}\n${event(json.replace('\n', ' '))}${event('{"s":"ß"}')}`;
    if (i === 2) await turn();
  }
  expect(held.held).toBeGreaterThan(80_000);
  stream.end();
  await client.until((text) => text.endsWith('0\r\n\r\n'));
  expect(bodyOf(client.text)).toBe(Buffer.from(expected).toString('latin1'));
  await expect.poll(() => held.held).toBe(0);
});

test('what is gathered counts against the bound of a reader, as held, and is given back when its client leaves', async () => {
  const { client, response, held, open } = await streamTo('POST', 1_000);
  const stream = open();
  const taken = Array.from({ length: 40 }, () => stream.offer(`{"pad":"${'x'.repeat(92)}"}`));
  // Beyond 1000 bytes the next is refused, all within one turn.
  expect(taken.filter((each) => each)).toHaveLength(9);
  expect(held.held).toBeGreaterThan(1_000);
  response.destroy();
  await once(response, 'close');
  expect(held.held).toBe(0);
  expect(stream.offer('{}')).toBe(false);
  stream.send('{}');
  stream.end();
  await turn();
  expect(client.text).toBe('');
  expect(held.held).toBe(0);
});

/** A stream of `POST` behind a request that is not answered, on one connection: its turn has not come. */
async function waiting(maxStreamBufferBytes = 2 ** 20) {
  const { client, response: first, held, server } = await streamTo('POST', maxStreamBufferBytes);
  const asked = once(server, 'request') as Promise<[IncomingMessage, ServerResponse]>;
  client.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n');
  const [, response] = await asked;
  endWithSocket(response);
  const stream = new EventStream(response, { maxStreamBufferBytes, held, stallTimeoutMs: 60_000 });
  await turn();
  return { client, first, response, held, stream };
}

test('small messages for a reader that is behind are joined, over turns: they take what they count as held', async () => {
  const { client, first, response, held, stream } = await waiting();
  const writes = vi.spyOn(response, 'write');
  let text = '';
  for (let i = 0; i < 500; i++) {
    expect(stream.offer(`{"i":${i},"ü":1}`, `x_${i}`)).toBe(true);
    text += `id: x_${i}\n${event(`{"i":${i},"ü":1}`)}`;
    await turn();
  }
  // Each by itself was five hundred, of some 700 bytes beside its own.
  expect(writes.mock.calls.length).toBeLessThan(4);
  expect(held.held).toBe(Buffer.byteLength(text));
  first.end();
  await client.until((all) => all.includes('"i":499'));
  await expect.poll(() => held.held).toBe(0);
  stream.end();
  await client.until((all) => all.endsWith('0\r\n\r\n'));
  expect(bodyOf(client.text.slice(client.text.lastIndexOf('HTTP/1.1')))).toBe(Buffer.from(text).toString('latin1'));
});

test('a larger one, which streams share, counts what its write takes', async () => {
  const { response, held, stream } = await waiting();
  const shared = new Frame(`{"pad":"${'x'.repeat(1_100)}"}`, 1_024);
  for (let i = 0; i < 10; i++) expect(stream.offer(shared)).toBe(true);
  expect(held.held).toBe(shared.heldBytes + 10 * 1_024);
  response.req.socket.destroy();
  await once(response, 'close');
  expect(held.held).toBe(0);
});

test('the older connection of a client that came back ends; one that has yet to take something, at once', async () => {
  const quick = await streamTo('GET');
  const stream = quick.open();
  stream.send('{"a":1}');
  await quick.client.until((text) => text.includes('"a":1'));
  await expect.poll(() => quick.response.writableLength).toBe(0);
  stream.replaced();
  await quick.client.until((text) => text.endsWith('0\r\n\r\n'));
  const slow = await streamTo('GET');
  const behind = slow.open();
  behind.send(`{"a":"${'x'.repeat(2 ** 24)}"}`);
  behind.replaced();
  await once(slow.response, 'close');
  expect([slow.response.writableFinished, slow.held.held]).toEqual([false, 0]);
});

test('a small answer behind what its reader does not take is cut with it once that stalls', async () => {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closeAfter({
    close: async () => {
      server.closeAllConnections();
      await once(server.close(), 'close');
    },
  });
  const asked = once(server, 'request') as Promise<[IncomingMessage, ServerResponse]>;
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
  client.on('error', () => undefined).write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  const [, response] = await asked;
  const bounds = { maxStreamBufferBytes: 2 ** 20, held: new HeldBytes(2 ** 30), stallTimeoutMs: 100 };
  const stream = new EventStream(response, bounds);
  stream.offer('{"first":1}');
  await once(client, 'data');
  client.pause();
  await turn();
  // A notification alone costs its reader nothing.
  stream.offer(JSON.stringify({ params: 'x'.repeat(16 * 2 ** 20) }));
  await turn();
  expect(response.writableLength).toBeGreaterThan(0);
  stream.send('{"id":1,"result":{}}');
  await once(response, 'close');
  expect(bounds.held.stats).toMatchObject({ heldBytes: 0, cutResponses: { stalled: 1 } });
  client.destroy();
});

test('what leaves at the end of a turn is taken by each socket within the step of its stream, which is timed', async () => {
  const streams = await Promise.all([streamTo('GET'), streamTo('GET')]);
  const done: string[] = [];
  const opened = streams.map(({ response, open }, at) => {
    const stream = open();
    const { socket } = response;
    if (socket === null) throw new Error('its turn has come');
    const write = response.write.bind(response) as (...args: unknown[]) => boolean;
    vi.spyOn(response, 'write').mockImplementation((...args: unknown[]) => {
      done.push(`write ${at}`);
      return write(...args);
    });
    for (const taken of ['_write', '_writev'] as const) {
      const take = socket[taken]?.bind(socket) as (...args: unknown[]) => void;
      vi.spyOn(socket, taken).mockImplementation((...args: unknown[]) => {
        done.push(`taken ${at}`);
        take(...args);
      });
    }
    return stream;
  });
  await turn();
  done.length = 0;
  for (const stream of opened) stream.offer(JSON.stringify('x'.repeat(100_000)));
  await expect.poll(() => done.length).toBe(4);
  expect(done).toEqual(['write 0', 'taken 0', 'write 1', 'taken 1']);
});
