import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { systemClock } from '../../../src/core/clock.js';
import { silentLogger } from '../../../src/core/logger.js';
import { HeldBytes } from '../../../src/gateway/http/HeldBytes.js';
import { followStream } from '../../../src/gateway/http/stream/stored/followStream.js';
import { MemoryEventStore } from '../../../src/gateway/http/stream/stored/MemoryEventStore.js';
import { StoredStreams } from '../../../src/gateway/http/stream/stored/StoredStreams.js';
import { closeAfter } from '../../support/closeAfter.js';
import { exchange } from '../../support/httpClient.js';

const ANSWER = { jsonrpc: '2.0', id: 1, result: { text: 'x'.repeat(1_000) } };

test('a stored answer for which there is no room is not sent: its client is cut, and comes back for it', async () => {
  let room = 100;
  const server = createServer((_request, response) => {
    void followStream({
      place: { own: false, replica: '00000000', callId: '1' },
      response,
      headers: {},
      bounds: { held: new HeldBytes(room), maxStreamBufferBytes: 1_000_000, stallTimeoutMs: 1_000 },
      logger: silentLogger,
      signal: new AbortController().signal,
      isAlive: async () => true,
      replay: async (write) => write('1-1:s', JSON.stringify(ANSWER)),
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  closeAfter({ close: async () => void (await once(server.close(), 'close')) });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  await expect(exchange(url, { method: 'GET' })).rejects.toThrow(/aborted|hang up/);
  room = 10_000;
  expect((await exchange(url, { method: 'GET' })).messages).toEqual([ANSWER]);
});

test('a client that comes back for a call of another replica ends its older reading of it', async () => {
  const store = new MemoryEventStore();
  const eventId = await store.storeEvent('key/c1.00000001.31', { jsonrpc: '2.0', method: 'notifications/progress' });
  const bounds = { held: new HeldBytes(1_000_000), maxStreamBufferBytes: 1_000_000, stallTimeoutMs: 1_000 };
  const streams = new StoredStreams({
    key: 'key',
    replica: '00000000',
    isAlive: async () => true,
    store,
    bounds,
    owner: 'a',
    primed: true,
    clock: systemClock,
    logger: silentLogger,
  });
  const server = createServer((_request, response) => {
    void streams.resume(eventId, response, {}, () => {
      throw new Error('not its own');
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  closeAfter({
    close: async () => {
      streams.close();
      await once(server.close(), 'close');
    },
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  let over = 0;
  const readings = Array.from({ length: 5 }, () => exchange(url, { method: 'GET' }).finally(() => over++));
  // All but the newest end, though the call goes on.
  await expect.poll(() => over).toBe(4);
  await store.storeEvent('key/c1.00000001.31', { jsonrpc: '2.0', id: 1, result: {} });
  const answers = (await Promise.all(readings)).map(({ messages }) => messages.length);
  expect(answers.sort()).toEqual([0, 0, 0, 0, 1]);
});
