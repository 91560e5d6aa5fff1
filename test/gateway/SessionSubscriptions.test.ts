import { expect, test } from 'vitest';
import { SessionSubscriptions, SubscriptionRoom } from '../../src/gateway/session/SessionSubscriptions.js';
import type { Subscription } from '../../src/pool/McpPool.js';
import { countTurns } from '../support/countTurns.js';

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
