import { once } from 'node:events';
import { createServer, get, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test, vi } from 'vitest';
import { systemClock } from '../../../src/core/clock.js';
import { silentLogger } from '../../../src/core/logger.js';
import { HeldBytes } from '../../../src/gateway/http/HeldBytes.js';
import { Frame } from '../../../src/gateway/http/stream/Frame.js';
import { PostReply, type PostReplyOptions } from '../../../src/gateway/http/stream/PostReply.js';
import { MemoryEventStore } from '../../../src/gateway/http/stream/stored/MemoryEventStore.js';
import { StoredStream } from '../../../src/gateway/http/stream/stored/StoredStream.js';
import { closeAfter } from '../../support/closeAfter.js';
import { countTurns } from '../../support/countTurns.js';

/** Large answers that are not taken in pieces: by streams that can be resumed, and by arrays. */

const MIB = 1_024 * 1_024;
const BOUNDS = { maxStreamBufferBytes: MIB, held: new HeldBytes(2 ** 30), stallTimeoutMs: 60_000 };

afterEach(() => vi.restoreAllMocks());

/** What a client reads that `answer` answers in a reply. */
async function answered(options: Partial<PostReplyOptions>, answer: (reply: PostReply) => unknown): Promise<string> {
  const server = createServer((_, response) => {
    const all = { requests: 1, batch: false, events: true, bounds: BOUNDS, onDrop: () => undefined, ...options };
    void answer(new PostReply(response, all));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closeAfter({
    close: async () => {
      server.closeAllConnections();
      await once(server.close(), 'close');
    },
  });
  const [response] = await once(get(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`), 'response');
  response.setEncoding('utf8');
  let text = '';
  for await (const chunk of response) text += chunk;
  return text;
}

/** Calls of that method of buffers by which more than a MiB was made text or joined. */
function largeTexts(): () => number {
  let count = 0;
  const { toString: told } = Buffer.prototype;
  const { concat } = Buffer;
  vi.spyOn(Buffer.prototype, 'toString').mockImplementation(function (this: Buffer, ...rest) {
    if (this.length > MIB) count++;
    return told.apply(this, rest);
  });
  vi.spyOn(Buffer, 'concat').mockImplementation((...given) => {
    const bytes = concat.apply(Buffer, given);
    if (bytes.length > MIB) count++;
    return bytes;
  });
  return () => count;
}

test('large answers in an array, and in a stream, are neither made text nor joined', async () => {
  const result = Buffer.from(`{"a":"${'ü'.repeat(MIB)}"}`);
  const wanted = { a: 'ü'.repeat(MIB) };
  const texts = largeTexts();
  const array = await answered({ requests: 3, batch: true }, (reply) => {
    reply.result('1', result);
    reply.failure('2', { code: -1, message: 'no' });
    reply.result('3', result);
  });
  const stream = await answered({}, (reply) => {
    reply.notify('notifications/message', {});
    reply.result('1', result);
  });
  expect(texts()).toBe(0);
  expect(JSON.parse(array)).toEqual([
    { jsonrpc: '2.0', id: 1, result: wanted },
    { jsonrpc: '2.0', id: 2, error: { code: -1, message: 'no' } },
    { jsonrpc: '2.0', id: 3, result: wanted },
  ]);
  expect(JSON.parse(stream.split('data: ')[2] ?? '')).toEqual({ jsonrpc: '2.0', id: 1, result: wanted });
});

test('many answers of an array are not made one text', async () => {
  const result = Buffer.from(`{"a":"${'ü'.repeat(50_000)}"}`);
  const texts: number[] = [];
  const end = ServerResponse.prototype.end;
  vi.spyOn(ServerResponse.prototype, 'end').mockImplementation(function (this: ServerResponse, ...given) {
    texts.push(typeof given[0] === 'string' ? given[0].length : 0);
    return end.apply(this, given as Parameters<typeof end>);
  });
  const array = await answered({ requests: 20, batch: true }, (reply) => {
    for (let id = 1; id <= 19; id++) reply.result(`${id}`, result);
    reply.result('20', { a: 'x'.repeat(50_000) });
  });
  expect(texts).toEqual([0]);
  const answers = JSON.parse(array) as { id: number; result: { a: string } }[];
  expect(answers.map(({ id, result: { a } }) => [id, a.length])).toEqual(answers.map((_, at) => [at + 1, 50_000]));
});

test('newlines of a large answer become spaces by one look at each byte, and in turns of the event loop', async () => {
  const result = Buffer.from(`{"a":${'\n'.repeat(MIB)}1,"b":${'\r\n '.repeat(MIB)}2}`);
  const spaced = result.toString().replace(/[\r\n]/g, ' ');
  const looks = vi.spyOn(Buffer.prototype, 'indexOf');
  expect(new Frame([result]).json).toBe(spaced);
  expect(looks.mock.calls.length).toBeLessThan(100);
  vi.restoreAllMocks();
  let nowMs = 0;
  vi.spyOn(performance, 'now').mockImplementation(() => (nowMs += 2));
  let turns = 0;
  const text = await answered({}, async (reply) => {
    reply.notify('notifications/message', {});
    using counted = countTurns();
    const prepared = await reply.prepared(result);
    turns = counted.count;
    reply.result('1', prepared);
  });
  // 4 MiB by 256 KiB, three in each turn.
  expect(turns).toBeGreaterThanOrEqual(4);
  expect(text.split('data: ')[2]).toBe(`{"jsonrpc":"2.0","id":1,"result":${spaced}}\n\n`);
});

test('what is too large to be read as values is sent, and not stored', async () => {
  const store = new MemoryEventStore();
  const stored = vi.spyOn(store, 'storeText');
  const options = { id: 'a', storedAs: 'a', store, bounds: BOUNDS, owner: 'a', primed: false };
  const text = await answered(
    {
      begin: (response) => {
        const stream = new StoredStream({ ...options, clock: systemClock, logger: silentLogger });
        stream.attach(response);
        return stream;
      },
    },
    (reply) => {
      reply.notify('notifications/message', {});
      reply.result('1', Buffer.from(`{"a":"${'x'.repeat(9 * MIB)}"}`));
    },
  );
  expect(text.length).toBeGreaterThan(9 * MIB);
  const { method, params } = { method: 'notifications/message', params: {} };
  expect(stored.mock.calls.map(([, message]) => JSON.parse(message))).toEqual([{ jsonrpc: '2.0', method, params }]);
});
