import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { silentLogger } from '../../../src/core/logger.js';
import { Gateway } from '../../../src/gateway/Gateway.js';
import { StdioPool } from '../../../src/pool/StdioPool.js';
import { type CallTrace, callChannel } from '../../../src/pool/server/calls/trace.js';
import { RawClient } from '../../support/httpClient.js';
import {
  ask as askTool,
  IN_PIECES,
  isWhole,
  type LargeBody,
  read,
  whole as wholeOf,
} from '../../support/largeCalls.js';
import { RawSocket } from '../../support/tcp.js';

/** Large answers of a stdio server leave while they come: whole and exact, or broken off such that a client sees it. */

const SERVER = join(import.meta.dirname, '../../fixtures/large-server.mjs');
const PART = 64 * 1_024;
/** About 3 MB. */
const PARTS = 48;
let gateway: Gateway;
let pool: StdioPool;
let url: string;
let one: RawClient;
/** What was logged of responses that were cut. */
let cuts: object[];

beforeEach(async () => {
  pool = new StdioPool();
  pool.addServer({ name: 'one', transport: 'stdio', command: process.execPath, args: [SERVER] });
  cuts = [];
  const warn = (fields: object | string, message?: string): void => {
    if (message === 'a response was cut before its end') cuts.push(fields as object);
  };
  gateway = new Gateway({ pool, port: 0, logger: { ...silentLogger, warn } });
  ({ url } = await gateway.listen());
  one = new RawClient(`${url}/servers/one/mcp`);
  await one.initialize();
});

afterEach(async () => {
  await gateway.close();
  await pool.close();
});

const ask = (args: object, id?: string | number): Promise<IncomingMessage> =>
  askTool(one, 'large', { parts: PARTS, ...args }, id);
const whole = (idText: string, text = 'x'): LargeBody => {
  const said = text.repeat(Math.ceil(PART / Buffer.byteLength(text)) * PARTS);
  return wholeOf(idText, `{"content":[{"type":"text","text":"${said}"}]}`);
};
const echo = async (text: string): Promise<unknown> =>
  (await one.call('tools/call', { name: 'echo', arguments: { text } })).result?.['content'];
const said = (text: string) => [{ type: 'text', text }];

test('a large answer comes as its server wrote it, with the id of its client, wherever the server writes its own', async () => {
  for (const idLast of [false, true]) {
    for (const text of ['x', 'ü€', '😀\\n\\"\\u00e9 ']) {
      const response = await ask({ idLast, text }, '"é');
      expect(response.headers).toMatchObject(IN_PIECES);
      expect({ idLast, text, ...(await read(response)) }).toEqual({ idLast, text, ...whole('"\\"é"', text) });
    }
  }
  expect(await echo('after')).toEqual(said('after'));
  expect(pool.stats('one')).toMatchObject({ inFlight: 0 });
});

test('a server that dies in the middle of its answer: the response breaks off, and the next call is answered by the next process', async () => {
  const response = await ask({ dieAfter: 40 });
  expect(response.statusCode).toBe(200);
  expect(await read(response)).toMatchObject({ complete: false });
  expect(await echo('after')).toEqual(said('after'));
  expect(gateway.stats.cutResponses).toEqual({ failed: 1, stalled: 0, no_room: 0 });
  const { sessionId = '' } = one;
  const told = { reason: 'failed', why: expect.stringContaining('code 3'), server: 'one' };
  expect(cuts).toEqual([{ ...told, session: `…${sessionId.slice(-8)}` }]);
});

test('an answer whose end is not what it should be never ends as if it were whole, and the connection goes on', async () => {
  const { restarts } = pool.stats('one');
  for (const end of ['"}]]', '"}]', '"}]},"error":{"code":1,"message":"no"}', '"}]},"result":{}', '"}]},"id":4711']) {
    const response = await ask({ end });
    expect(response.headers).toMatchObject(IN_PIECES);
    expect({ end, ...(await read(response)) }).toMatchObject({ end, complete: false });
    expect(await echo('after')).toEqual(said('after'));
  }
  expect(pool.stats('one').restarts).toBe(restarts);
});

test('with its id behind the result an answer is held until it is known whose it is, when that could be another', async () => {
  const [first, second] = await Promise.all([ask({ idLast: true }, 1), ask({ idLast: true }, 2)]);
  expect(isWhole(first)).toBe(true);
  expect(await read(first)).toEqual(whole('1'));
  expect(await read(second)).toEqual(whole('2'));
});

test('a call that was given up may still be answered: what comes with its id behind is for no other until it is known whose it is', async () => {
  const given = ask({ silent: true }, 'given up');
  await expect.poll(() => pool.stats('one').inFlight).toBe(1);
  await one.send({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 'given up' } });
  expect(await read(await given)).toMatchObject({ bytes: 0 });
  const next = await ask({ idLast: true });
  expect(isWhole(next)).toBe(true);
  expect(await read(next)).toEqual(whole('"a"'));
  expect((await read(await ask({}))).complete).toBe(true);
});

test('a client that cancels in the middle gets no end, and the rest is passed over', async () => {
  const response = await ask({ parts: 300 }, 7);
  await one.send({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 7 } });
  expect(await read(response)).toMatchObject({ complete: false });
  expect(await echo('after')).toEqual(said('after'));
  // The answer to the call before may not be written yet.
  await expect.poll(() => gateway.stats.heldBytes).toBe(0);
  expect(gateway.stats.cutResponses).toEqual({ failed: 0, stalled: 0, no_room: 0 });
});

test('a client that does not read holds up its server, until another call comes: that one is answered', async () => {
  const slow = await ask({ parts: 400 });
  await expect.poll(() => gateway.stats.heldBytes).toBeGreaterThan(256 * 1_024);
  const waiting = gateway.stats.heldBytes;
  expect(waiting).toBeLessThan(2.5 * 1_024 * 1_024);
  expect(await echo('meanwhile')).toEqual(said('meanwhile'));
  // The rest waits for its reader now.
  expect(gateway.stats.heldBytes).toBeGreaterThan(10 * 1_024 * 1_024);
  expect((await read(slow)).complete).toBe(true);
  await expect.poll(() => gateway.stats.heldBytes).toBe(0);
});

test('a client that takes nothing is cut, and its server goes on', async () => {
  const strict = new Gateway({ pool, port: 0, stallTimeoutMs: 100 });
  try {
    one = new RawClient(`${(await strict.listen()).url}/servers/one/mcp`);
    await one.initialize();
    const slow = await ask({ parts: 400 });
    await expect.poll(() => pool.stats('one').inFlight, { timeout: 15_000 }).toBe(0);
    expect((await read(slow)).complete).toBe(false);
    expect(strict.stats.cutResponses).toEqual({ failed: 0, stalled: 1, no_room: 0 });
    expect(await echo('after')).toEqual(said('after'));
  } finally {
    await strict.close();
  }
});

test('what of a large answer waits behind another is given back when its connection breaks off', async () => {
  const call = (id: number, args: object): string => {
    const params = { name: 'large', arguments: args };
    const body = JSON.stringify({ jsonrpc: '2.0', id, method: 'tools/call', params });
    const headers = Object.entries({ host: 'localhost', ...one.headers, 'content-length': body.length });
    const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`).join('');
    return `POST /servers/one/mcp HTTP/1.1\r\n${lines}\r\n${body}`;
  };
  const socket = new RawSocket(Number(new URL(one.url).port));
  socket.send(call(1, { silent: true }) + call(2, { parts: PARTS }));
  await expect.poll(() => gateway.stats.heldBytes).toBeGreaterThan(PARTS * PART);
  await socket.close();
  // A legacy call goes on without its client.
  await one.send({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 1 } });
  await expect.poll(() => gateway.stats.heldBytes).toBe(0);
});

test('through all servers together a large answer comes in pieces, too, and what it links to leads to its server', async () => {
  pool.addServer({ name: 'two', transport: 'stdio', command: process.execPath, args: [SERVER] });
  const all = new RawClient(`${url}/mcp`);
  await all.initialize();
  const link = (uri: string): string => `"},{"type":"resource_link","uri":"${uri}","name":"a"}]}`;
  const own = await all.call('tools/call', { name: 'one__large', arguments: { parts: 0, end: link('x://a') } });
  expect(own.result?.['content']).toContainEqual({ type: 'resource_link', uri: 'x://a', name: 'a' });
  for (const [tool, uri] of [
    ['one__large', 'x://a'],
    ['two__large', 'poolkit:two/x://a'],
  ] as const) {
    const response = await askTool(all, tool, { parts: PARTS, end: link('x://a') });
    expect(response.headers).toMatchObject(IN_PIECES);
    expect(await read(response)).toEqual(
      wholeOf('"a"', `{"content":[{"type":"text","text":"${'x'.repeat(PART * PARTS)}${link(uri)}`),
    );
  }
});

test('where someone looks at results, or a response could not break off, a large answer comes whole', async () => {
  const seen: number[] = [];
  const watch = gateway.use(async (call, next) => {
    const result = await next();
    if (call.tool === 'large') seen.push(result.bytes.length);
    return result;
  });
  const watched = await ask({});
  watch[Symbol.dispose]();
  expect(isWhole(watched)).toBe(true);
  expect(await read(watched)).toEqual(whole('"a"'));
  const inPool = pool.use(async (_call, next) => next());
  expect(await ask({}).then(read)).toEqual(whole('"a"'));
  inPool[Symbol.dispose]();
  expect(seen).toHaveLength(1);
  // Two requests in one body are answered in one array.
  const old = new RawClient(one.url);
  await old.initialize('2025-03-26');
  const call = (id: number) => ({
    jsonrpc: '2.0',
    id,
    method: 'tools/call',
    params: { name: 'large', arguments: { parts: PARTS } },
  });
  expect((await old.send([call(1), call(2)])).messages.map(({ id }) => id)).toEqual([1, 2]);
});

test('traces tell the size of a large answer, and that its tool failed', async () => {
  const ends: unknown[] = [];
  const onTrace = (message: unknown): void => {
    const { phase, call } = message as CallTrace;
    if (phase === 'answer') ends.push([call.outcome, call.receivedBytes > PARTS * PART]);
  };
  callChannel.subscribe(onTrace);
  try {
    for (const end of ['"}]}', '"}],"isError":true}', '"}],"_meta":{"isError":true}}']) await ask({ end }).then(read);
  } finally {
    callChannel.unsubscribe(onTrace);
  }
  expect(ends).toEqual([
    ['ok', true],
    ['tool_error', true],
    ['ok', true],
  ]);
});

test('a pool gives a large raw result whole', async () => {
  const params = { name: 'large', arguments: { parts: PARTS, text: 'ü' } };
  const result = await pool.request('one', 'tools/call', params, { raw: true });
  expect(JSON.parse(Buffer.from(result).toString())).toEqual({ content: said('ü'.repeat((PART / 2) * PARTS)) });
});

test('a large answer for which there is no room, and of which nothing has left, is told as lost, however it comes', async () => {
  await using narrow = new Gateway({ pool, port: 0, maxBufferedBytes: 1_000_000 });
  const address = await narrow.listen();
  for (const [path, name] of [
    ['/servers/one/mcp', 'large'],
    ['/mcp', 'one__large'],
  ] as const) {
    one = new RawClient(`${address.url}${path}`);
    await one.initialize();
    const { error } = await one.call('tools/call', { name, arguments: { parts: PARTS } });
    expect(error).toMatchObject({ code: -32_603, data: { code: 'ERR_OUTCOME_UNKNOWN', retryable: false } });
    expect(error?.message).toMatch(/the answer of 3\d{6} bytes is lost/);
  }
  expect(narrow.stats).toMatchObject({ heldBytes: 0, cutResponses: { no_room: 0 } });
});

test('an answer of which a part has left is cut when the rest has no room, and that is counted', async () => {
  await using narrow = new Gateway({ pool, port: 0, maxBufferedBytes: 4_000_000 });
  one = new RawClient(`${(await narrow.listen()).url}/servers/one/mcp`);
  await one.initialize();
  const slow = await ask({ parts: 400 });
  // The rest is read for the sake of another call.
  expect(await echo('meanwhile')).toEqual(said('meanwhile'));
  await expect.poll(() => narrow.stats.cutResponses).toEqual({ failed: 0, stalled: 0, no_room: 1 });
  expect((await read(slow)).complete).toBe(false);
});
