import { expect, test } from 'vitest';
import { silentLogger } from '../../src/core/logger.js';
import { MovingSubscription, type TargetSubscription } from '../../src/targets/MovingSubscription.js';
import { FakeClock } from '../../src/testing/FakeClock.js';

test('a server that ends each subscription as soon as it is there is asked once a second', async () => {
  const clock = new FakeClock();
  const asked: number[] = [];
  const open = async (): Promise<TargetSubscription> => {
    asked.push(clock.now());
    if (asked.length > 50) throw new Error('asked without a pause');
    return { filter: {}, ended: Promise.resolve(), close: async () => undefined };
  };
  const subscription = await MovingSubscription.open(open, {
    server: 'files',
    clock,
    logger: silentLogger,
    signal: undefined,
    closing: new AbortController().signal,
  });
  await clock.advance(5_500);
  await subscription.close();
  await subscription.ended;
  const [first = 0, ...later] = asked.map((atMs) => atMs - (asked[0] ?? 0));
  // At once a second time, since its target may have been removed.
  expect([first, ...later]).toEqual([0, 0, 1_000, 2_000, 3_000, 4_000, 5_000]);
});
