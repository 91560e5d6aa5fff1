import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { systemClock } from '../../../src/core/clock.js';
import { silentLogger } from '../../../src/core/logger.js';
import { HeldBytes } from '../../../src/gateway/http/HeldBytes.js';
import type { EventStore, ReplayReader } from '../../../src/gateway/http/stream/stored/EventStore.js';
import { followStream } from '../../../src/gateway/http/stream/stored/followStream.js';
import { MemoryEventStore } from '../../../src/gateway/http/stream/stored/MemoryEventStore.js';
import type { StoredStream } from '../../../src/gateway/http/stream/stored/StoredStream.js';
import { StoredStreams } from '../../../src/gateway/http/stream/stored/StoredStreams.js';
import { FakeClock } from '../../../src/testing/FakeClock.js';
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

/** A call's stream in one process, and a client that comes back for it at another; both have one store. */
async function resumedElsewhere(store: EventStore) {
  const made = (replica: string): StoredStreams => {
    const bounds = { held: new HeldBytes(100_000_000), maxStreamBufferBytes: 1_000_000, stallTimeoutMs: 5_000 };
    const isAlive = async (): Promise<boolean> => true;
    const rest = { owner: 'a', primed: true, clock: systemClock, logger: silentLogger };
    const streams = new StoredStreams({ key: 'key', replica, isAlive, store, bounds, ...rest });
    closeAfter({ close: async () => streams.close() });
    return streams;
  };
  const call = made('00000001').call('1');
  const there = made('00000000');
  const eventId = await store.storeEvent(`key/${call.id}`, {});
  call.prime();
  const server = createServer((_request, response) => {
    void there.resume(eventId, response, {}, () => call);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  closeAfter({ close: async () => void (await once(server.close(), 'close')) });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { call, told: exchange(url, { method: 'GET' }).then(({ messages }) => messages) };
}

test('a call that ends without an answer ends for a client that reads it at another replica', async () => {
  const { call, told } = await resumedElsewhere(new MemoryEventStore());
  call.end();
  expect(await told).toEqual([]);
});

test('an answer that no store takes is told as not known to a client that reads it at another replica', async () => {
  const { call, told } = await resumedElsewhere(new MemoryEventStore());
  call.send(JSON.stringify({ ...ANSWER, result: { text: 'x'.repeat(9_000_000) } }));
  call.end();
  const error = { data: { code: 'ERR_OUTCOME_UNKNOWN' }, message: expect.stringContaining('not in the event store') };
  expect(await told).toMatchObject([{ id: 1, error }]);
});

test('an answer that a store did not take when it came is put there later, and read at another replica', async () => {
  const store = new MemoryEventStore();
  let refusals = 0;
  const { call, told } = await resumedElsewhere({
    replayEventsAfter: (id, to) => store.replayEventsAfter(id, to),
    storeEvent: async (stream, message) => {
      if ('result' in (message as object) || 'over' in (message as object)) {
        if (refusals++ < 3) throw new Error('away');
      }
      return store.storeEvent(stream, message);
    },
  });
  call.send(JSON.stringify(ANSWER));
  call.end();
  expect(await told).toEqual([ANSWER]);
  expect(refusals).toBeGreaterThan(3);
});

test('the client of the replica itself is sent no mark of an end', async () => {
  const store = new MemoryEventStore();
  const { call, told } = await resumedElsewhere(store);
  call.end();
  await told;
  const server = createServer((_request, response) => {
    (call as StoredStream).resume(response, '1', {});
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  closeAfter({ close: async () => void (await once(server.close(), 'close')) });
  const { messages } = await exchange(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, { method: 'GET' });
  expect(messages).toEqual([]);
});

test('a session that is over asks its store once more for the end of a call, and keeps nothing when it does not take it', async () => {
  const clock = new FakeClock();
  let asked = 0;
  const store: EventStore = {
    replayEventsAfter: async () => '',
    storeEvent: async (_stream, message) => {
      if (Object.keys(message as object).length === 0) return '1';
      asked += Number('over' in (message as object));
      throw new Error('away');
    },
  };
  const bounds = { held: new HeldBytes(1_000_000), maxStreamBufferBytes: 1_000_000, stallTimeoutMs: 1_000 };
  const ids = { key: 'key', replica: '00000001', owner: 'a', primed: true };
  const streams = new StoredStreams({ ...ids, isAlive: async () => true, store, bounds, clock, logger: silentLogger });
  const call = streams.call('1');
  call.prime();
  call.send(JSON.stringify(ANSWER));
  call.end();
  streams.close();
  for (let waited = 0; waited < 20; waited++) await clock.advance(60_000);
  expect([asked, clock.armedTimers, bounds.held.held]).toEqual([1, 0, 0]);
});

/** Its events' ids say their streams; it may be away, or come back empty. */
function losing(): { readonly store: EventStore; away: boolean; empty(): void; events(): number } {
  let kept = new MemoryEventStore();
  const numberOf = (id: string): string => id.slice(0, id.indexOf(':'));
  const there = (): MemoryEventStore => {
    if (losing.away) throw new Error('it is away');
    return kept;
  };
  const losing = {
    away: false,
    empty: (): void => {
      kept = new MemoryEventStore();
    },
    events: (): number => kept.stats.events,
    store: {
      storeEvent: async (stream: string, message: unknown) => `${await there().storeEvent(stream, message)}:${stream}`,
      getStreamIdForEventId: async (id: string) => there().getStreamIdForEventId(numberOf(id)),
      replayEventsAfter: async (id: string, to: ReplayReader) => there().replayEventsAfter(numberOf(id), to),
    },
  };
  return losing;
}

test.each(['here', 'elsewhere'])(
  'a store that is away, or has lost its events, does not end a call %s: its client is answered, or told that no one knows',
  async (where) => {
    const losses = losing();
    const bounds = { held: new HeldBytes(100_000_000), maxStreamBufferBytes: 1_000_000, stallTimeoutMs: 5_000 };
    const rest = { owner: 'a', primed: true, clock: systemClock, logger: silentLogger, isAlive: async () => true };
    const made = (replica: string): StoredStreams => {
      const streams = new StoredStreams({ key: 'key', replica, store: losses.store, bounds, ...rest });
      closeAfter({ close: async () => streams.close() });
      return streams;
    };
    const here = made('00000001');
    const streams = where === 'here' ? here : made('00000000');
    let eventId = '';
    const server = createServer((_request, response) => {
      void streams.resume(eventId, response, {}, () => call).then((found) => found || response.writeHead(400).end());
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    closeAfter({ close: async () => void (await once(server.close(), 'close')) });
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const call = here.call('1');
    eventId = await losses.store.storeEvent(`key/${call.id}`, {});
    call.prime();
    losses.away = true;
    const answered = exchange(url, { method: 'GET' });
    await once(server, 'request');
    losses.away = where === 'here';
    call.send(JSON.stringify(ANSWER));
    call.end();
    expect((await answered).messages).toEqual([ANSWER]);
    losses.away = false;
    losses.empty();
    const error = { data: { code: 'ERR_OUTCOME_UNKNOWN' }, message: expect.stringContaining('event store') };
    const lost = here.call('2');
    eventId = await losses.store.storeEvent(`key/${lost.id}`, {});
    lost.prime();
    lost.send(JSON.stringify({ ...ANSWER, id: 2 }));
    lost.end();
    await expect.poll(() => losses.events()).toBe(3);
    losses.empty();
    expect((await exchange(url, { method: 'GET' })).messages).toMatchObject([{ id: 2, error }]);
    eventId = '7:another/c1.00000001.31';
    expect((await exchange(url, { method: 'GET' })).status).toBe(400);
  },
);
