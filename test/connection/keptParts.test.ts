import { expect, test, vi } from 'vitest';
import { LongMessage } from '../../src/connection/channel/large/LongMessage.js';
import { ServerRequests } from '../../src/connection/channel/ServerRequests.js';
import { eventIdHeader } from '../../src/connection/http/eventIdHeader.js';
import { StreamExchange } from '../../src/connection/net/StreamExchange.js';
import type { RequestHandler } from '../../src/connection/protocol/messages.js';
import { fakeServer } from '../../src/testing/fake/FakeServer.js';
import { closeAfter } from '../support/closeAfter.js';
import { collectGarbage } from '../support/collectGarbage.js';
import { httpPool } from '../support/httpPool.js';
import { call, serve } from '../support/rawCalls.js';

const MIB = 1_024 * 1_024;

test.each([
  [
    'nothing that was not asked for',
    { toolsListChanged: true, promptsListChanged: true, junk: 'x'.repeat(4 * MIB) },
    { toolsListChanged: true },
  ],
  [
    'no other URIs',
    { toolsListChanged: 'yes', resourceSubscriptions: ['test://b', 1, null, 'test://a', 'test://a'] },
    { resourceUris: ['test://a'] },
  ],
  ['no text as URIs', { toolsListChanged: true, resourceSubscriptions: 'test://a' }, { toolsListChanged: true }],
  ['no list as a filter', [1], {}],
])('of what a server says that it will tell there is kept %s', async (_, notifications, agreed) => {
  const capabilities = { tools: { listChanged: true }, resources: { subscribe: true } };
  const fake = closeAfter(fakeServer({ era: 'modern', capabilities }));
  const { url } = await fake.listen({
    intercept: ({ message, res }) => {
      if (message?.method !== 'subscriptions/listen') return false;
      const _meta = { 'io.modelcontextprotocol/subscriptionId': message.id };
      const params = { notifications, _meta };
      const notice = { jsonrpc: '2.0', method: 'notifications/subscriptions/acknowledged', params };
      res.writeHead(200, { 'content-type': 'text/event-stream' }).write(`data: ${JSON.stringify(notice)}\n\n`);
      return true;
    },
  });
  const pool = httpPool();
  pool.addServer({ name: 's', transport: 'http', url, era: 'modern' });
  const asked = { toolsListChanged: true, resourceUris: ['test://a'] };
  const { filter, close } = await pool.subscribe('s', asked, { onNotification: () => undefined });
  expect(filter).toEqual(agreed);
  await close();
});

test('of an event a call keeps its id alone, as a header says it, and none that is longer than one may be', async () => {
  let begun = 0;
  const { connection } = await serve({
    silent: ({ sse, res, event }) => {
      sse();
      const id = begun++ % 2 === 0 ? 'short enough to be a slice' : 'i'.repeat(MIB / 4);
      res.write(`other: ${'x'.repeat(MIB / 4)}\nid: ${id}\ndata:\n\n`);
      event({ jsonrpc: '2.0', method: 'notifications/message', params: { data: begun } });
    },
  });
  let heard = 0;
  const before = collectGarbage();
  const calls = new AbortController();
  const options = { signal: calls.signal, onNotification: () => heard++ };
  const gone = Array.from({ length: 60 }, () => call(connection, 'silent', {}, options).catch(() => undefined));
  await vi.waitFor(() => expect(heard).toBe(60), 10_000);
  await expect.poll(() => (collectGarbage() - before) / MIB, { timeout: 3_000 }).toBeLessThan(8);
  calls.abort();
  await Promise.all(gone);
  expect([eventIdHeader('é'), eventIdHeader('i'.repeat(4_097)), eventIdHeader('a\u0000')]).toEqual([
    'Ã©',
    undefined,
    undefined,
  ]);
});

test('a stream that is open keeps no headers, which are a view of all that came with them', () => {
  const bounds = { headersTimeoutMs: 1_000, maxEventBytes: MIB };
  const wheel = { add: () => undefined, remove: () => undefined };
  const flows = { paused: new Set() };
  const nothing = () => undefined;
  const endpoint = { path: '/', bounds, wheel, flows, dispatch: nothing, forget: nothing, takeReader: () => ({}) };
  const exchange = new StreamExchange(endpoint as never, [], { onOpen: () => undefined } as never);
  exchange.onHeaders(200, [Buffer.from('content-type'), Buffer.from('text/event-stream')], () => undefined);
  expect([exchange.status, exchange.responseHeaders]).toEqual([200, []]);
});

test.each([
  ['small', 1_024, MIB / 2],
  ['larger than a chunk', 128 * 1_024, MIB / 2],
  ['long, behind what is long', 128 * 1_024, 2 * MIB],
])('of a message whose result stays bytes the result alone is kept: one that is %s', async (_, size, beside) => {
  const { connection } = await serve(
    {
      big: ({ message, res }) => {
        const result = { content: [{ type: 'text', text: 'r'.repeat(size) }] };
        const answer = { jsonrpc: '2.0', junk: 'x'.repeat(beside), id: message.id, result };
        res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
      },
    },
    {},
    { maxMessageBytes: 8 * MIB },
  );
  const result = (await call(connection, 'big', {}, { raw: true })) as Uint8Array;
  expect(result.length).toBeGreaterThan(size);
  expect(result.buffer.byteLength).toBeLessThan(2 * (result.length + Buffer.poolSize));
});

test('what takes a long message keeps nothing of what stands before its result', () => {
  const before = `{"jsonrpc":"2.0","junk":"${'x'.repeat(MIB - 100_000)}","id":1,"result":{"a":"`;
  let taken: readonly Buffer[] = [];
  const message = new LongMessage([Buffer.from(before)], true, (parts) => {
    taken = parts;
    return { push: () => undefined, end: () => undefined };
  });
  message.push(Buffer.alloc(200_000, 'r'));
  expect([message.taken, taken.length]).toEqual([true, 18]);
  expect(taken.every(({ buffer, length }) => buffer.byteLength <= Math.max(2 * length, 65_536))).toBe(true);
});

test('a question counts with its method', async () => {
  const replies: string[] = [];
  const requests = new ServerRequests({ post: (text) => replies.push(text) }, {
    server: 's',
    maxMessageBytes: 64 * MIB,
  } as never);
  const handler: RequestHandler = () => new Promise(() => undefined);
  for (const each of ['a', 'b', 'c']) requests.serve({ id: each, method: each.repeat(12 * MIB) }, handler, undefined);
  expect(replies.map((text) => /"code":-32603/.test(text))).toEqual([true, true]);
});
