import { expect, test } from 'vitest';
import { SessionSubscriptions, SubscriptionRoom } from '../../src/gateway/session/SessionSubscriptions.js';

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
