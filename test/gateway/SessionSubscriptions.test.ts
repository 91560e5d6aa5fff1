import { expect, test, vi } from 'vitest';
import { Gateway } from '../../src/gateway/Gateway.js';
import { SessionSubscriptions, SubscriptionRoom } from '../../src/gateway/session/SessionSubscriptions.js';
import type { Subscription } from '../../src/pool/McpPool.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { closeAfter } from '../support/closeAfter.js';
import { collectGarbage } from '../support/collectGarbage.js';
import { countTurns } from '../support/countTurns.js';
import { FakePool } from '../support/FakePool.js';
import { RawClient } from '../support/httpClient.js';

const MIB = 1_024 * 1_024;

test('who subscribes again to what it has holds no more than before', async () => {
  let waiting = 0;
  const never = new Promise<void>(() => undefined);
  const { then } = never;
  Object.assign(never, {
    // biome-ignore lint/suspicious/noThenProperty: it counts who waits.
    then: (...handlers: Parameters<typeof then>) => {
      waiting++;
      return then.apply(never, handlers);
    },
  });
  const close = async (): Promise<void> => undefined;
  const subscription = { filter: {}, ended: never, close, [Symbol.asyncDispose]: close };
  const room = new SubscriptionRoom(1_000_000);
  const subscriptions = new SessionSubscriptions({ origin: 'a', room, max: 10 });
  for (let round = 0; round < 100; round++) await subscriptions.add('a:1', () => Promise.resolve(subscription));
  expect(waiting).toBe(1);
});

test('who waits for what another request began to open asks anew when that request is given up', async () => {
  const room = new SubscriptionRoom(1_000_000);
  const subscriptions = new SessionSubscriptions({ origin: 'a', room, max: 10 });
  const close = vi.fn(async () => undefined);
  const open: Subscription = { filter: {}, ended: new Promise(() => undefined), close, [Symbol.asyncDispose]: close };
  const first = new AbortController();
  const untilAborted = (): Promise<never> =>
    new Promise((_, reject) => first.signal.addEventListener('abort', () => reject(first.signal.reason)));
  const second = vi.fn(async () => open);
  const asked = [
    subscriptions.add('a:1', untilAborted, first.signal),
    subscriptions.add('a:1', second, new AbortController().signal),
    subscriptions.add('a:1', second),
  ];
  first.abort('no more');
  expect(await Promise.allSettled(asked)).toMatchObject([
    { status: 'rejected', reason: 'no more' },
    { status: 'fulfilled' },
    { status: 'fulfilled' },
  ]);
  expect(second).toHaveBeenCalledTimes(1);
  await subscriptions.remove('a:1');
  expect(close).toHaveBeenCalledTimes(1);
  // What its server refused is refused to all who waited for it.
  const no = (): Promise<never> => Promise.reject(new Error('refused'));
  const refused = await Promise.allSettled([subscriptions.add('a:2', no), subscriptions.add('a:2', second)]);
  expect(refused.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
});

test('sessions that end at one instant give back what they subscribed to in turns of the event loop', async () => {
  const room = new SubscriptionRoom(10_000_000);
  const closed: number[] = [];
  const subscribe = async (): Promise<Subscription> => {
    const close = async (): Promise<void> => {
      closed.push(turns.count);
      const untilMs = performance.now() + 1;
      while (performance.now() < untilMs);
    };
    return { filter: {}, ended: new Promise(() => undefined), close, [Symbol.asyncDispose]: close };
  };
  const sessions = ['a', 'b', 'c', 'd'].map((origin) => new SessionSubscriptions({ origin, room, max: 10 }));
  for (const each of sessions) for (let at = 0; at < 10; at++) await each.add(`a:${at}`, subscribe);
  using turns = countTurns();
  await Promise.all(sessions.map((each) => each.close()));
  expect(closed).toHaveLength(40);
  // Each takes 1 ms, and 8 ms are the share of a turn.
  expect(closed.at(-1)).toBeGreaterThan((closed[0] ?? 0) + 1);
});

test.each(['/servers/one/mcp', '/mcp'])(
  'a subscription at %s keeps nothing of the request that opened it',
  async (path) => {
    const lists = { resources: Array.from({ length: 20 }, (_, at) => ({ uri: `x://${at}`, name: `${at}` })) };
    const pool = new FakePool({ one: { capabilities: { resources: { subscribe: true } }, lists } });
    const gateway = closeAfter(new Gateway({ pool, port: 0 }));
    const client = new RawClient(`${(await gateway.listen()).url}${path}`);
    await client.initialize();
    await client.call('resources/subscribe', { uri: 'x://0', pad: 'x'.repeat(MIB) });
    const before = collectGarbage();
    for (let at = 1; at < 20; at++)
      await client.call('resources/subscribe', { uri: `x://${at}`, pad: 'x'.repeat(2 * MIB) });
    expect(pool.subscriptions).toHaveLength(20);
    await client.call('ping');
    await expect.poll(() => (collectGarbage() - before) / MIB, { timeout: 3_000 }).toBeLessThan(10);
  },
);

test('tasks/list of /mcp waits for servers that are silent together, not for one after the other', async () => {
  const clock = new FakeClock();
  const silent = {
    capabilities: { tasks: { list: {} } } as never,
    methods: { 'tasks/list': () => new Promise(() => undefined) },
  };
  const told = { capabilities: { tasks: { list: {} } } as never, methods: { 'tasks/list': () => ({ tasks: [] }) } };
  const pool = new FakePool({ a: silent, b: silent, c: silent, d: silent, e: silent, f: silent, g: told });
  const gateway = closeAfter(new Gateway({ pool, port: 0, clock }));
  const client = new RawClient(`${(await gateway.listen()).url}/mcp`);
  await client.initialize();
  const asked = client.call('tasks/list');
  let ms = 0;
  let done = false;
  void asked.then(() => (done = true));
  await vi.waitFor(
    async () => {
      ms += 100;
      await clock.advance(100);
      expect(done).toBe(true);
    },
    { timeout: 20_000, interval: 5 },
  );
  expect(ms).toBeLessThan(4_000);
});
