import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { OptionError } from '../../../src/core/errors.js';
import {
  REDIS_EVENT_STORE_DEFAULTS,
  RedisEventStore,
  type RedisEventStoreOptions,
} from '../../../src/gateway/replicas/RedisEventStore.js';
import { RedisReplicas } from '../../../src/gateway/replicas/RedisReplicas.js';
import { closeAfter } from '../../support/closeAfter.js';
import { HAVE_REDIS, TestRedis } from '../../support/redis.js';

// A store starts here, and the machine may be busy.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

let server: TestRedis;
let redis: Redis;

beforeAll(async () => {
  if (!HAVE_REDIS) return;
  server = await TestRedis.start();
  redis = new Redis({ port: server.port, retryStrategy: () => null });
  await redis.ping();
});

afterAll(async () => {
  redis?.disconnect();
  await server?.[Symbol.asyncDispose]();
});

async function store(options: Partial<RedisEventStoreOptions> = {}): Promise<RedisEventStore> {
  const made = closeAfter(new RedisEventStore({ redis, ...options }));
  await expect
    .poll(() =>
      made.getStreamIdForEventId('1-1:x').then(
        () => true,
        () => false,
      ),
    )
    .toBe(true);
  return made;
}

async function after(from: RedisEventStore, eventId: string): Promise<unknown[]> {
  const messages: unknown[] = [];
  await from.replayEventsAfter(eventId, { send: async (_, message) => void messages.push(message) });
  return messages;
}

test.skipIf(!HAVE_REDIS)('another process reads what came after an event, in order, of its stream alone', async () => {
  const [here, there] = await Promise.all([store(), store()]);
  const stream = 'a stream: of "any" name';
  const first = await here.storeEvent(stream, {});
  for (let i = 0; i < 250; i++) await (i % 2 === 0 ? here : there).storeEvent(stream, { i, text: 'ü"\n' });
  const other = await there.storeEvent('another', { i: -1 });
  expect(await after(there, first)).toEqual(Array.from({ length: 250 }, (_, i) => ({ i, text: 'ü"\n' })));
  expect(await after(here, other)).toEqual([]);
  expect(
    await Promise.all([first, other, '1-1:another', 'nonsense'].map((id) => here.getStreamIdForEventId(id))),
  ).toEqual([stream, 'another', undefined, undefined]);
  await expect(after(here, 'nonsense')).rejects.toThrow('not of this store');
});

test.skipIf(!HAVE_REDIS)(
  'a stream is bounded by events, by bytes and by time, and its newest event stays',
  async () => {
    const few = await store({ maxStreamEvents: 3 });
    const first = await few.storeEvent('few', { i: 0 });
    for (let i = 1; i < 10; i++) await few.storeEvent('few', { i });
    expect(await after(few, first)).toEqual([{ i: 7 }, { i: 8 }, { i: 9 }]);
    expect(await few.getStreamIdForEventId(first)).toBeUndefined();
    const small = await store({ maxStreamBytes: 100 });
    const start = await small.storeEvent('small', {});
    for (let i = 0; i < 5; i++) await small.storeEvent('small', { text: 'x'.repeat(40) });
    expect(await after(small, start)).toHaveLength(1);
    await small.storeEvent('small', { text: 'y'.repeat(1_000) });
    expect(await after(small, start)).toEqual([{ text: 'y'.repeat(1_000) }]);
    const short = await store({ streamLifeMs: 50 });
    const gone = await short.storeEvent('short', { i: 0 });
    await expect.poll(() => short.getStreamIdForEventId(gone)).toBeUndefined();
  },
);

test.skipIf(!HAVE_REDIS)('events are handed over as they are stored to whom takes texts', async () => {
  const of = await store();
  const first = await of.storeEvent('texts', {});
  const events = Array.from({ length: 5 }, (_, i) => ({ i, text: 'x'.repeat(i) }));
  for (const event of events) await of.storeEvent('texts', event);
  const texts: string[] = [];
  const send = (): never => expect.fail();
  await of.replayEventsAfter(first, { send, sendText: async (_, text) => void texts.push(text) });
  expect(texts).toEqual(events.map((event) => JSON.stringify(event)));
});

test('options that are none are named', () => {
  expect(REDIS_EVENT_STORE_DEFAULTS.maxStreamEvents).toBe(1_000);
  const bad: object[] = [
    { redis: {} },
    { redis, maxStreamBytes: 0 },
    { redis, maxStreamEvents: 0.5 },
    { redis, keyPrefx: 'x' },
  ];
  for (const options of bad) expect(() => new RedisEventStore(options as RedisEventStoreOptions)).toThrow(OptionError);
  expect(() => new RedisReplicas({ redis: undefined as never })).toThrow(OptionError);
  expect(() => new RedisReplicas({ redis: {} as never, aliveMs: 1 })).toThrow(OptionError);
});
