import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { silentLogger } from '../../src/core/logger.js';
import { MovingSubscription, type TargetSubscription } from '../../src/targets/MovingSubscription.js';
import { FakeClock } from '../../src/testing/FakeClock.js';

beforeEach(() => {
  // No jitter.
  vi.spyOn(Math, 'random').mockReturnValue(0);
});
afterEach(() => vi.restoreAllMocks());

test('a server that ends each subscription as soon as it is there is asked more and more rarely', async () => {
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
  await clock.advance(120_000);
  await subscription.close();
  await subscription.ended;
  const [first = 0, ...later] = asked.map((atMs) => atMs - (asked[0] ?? 0));
  // At once a second time, since its target may have been removed.
  expect([first, ...later].map((ms) => ms / 1_000)).toEqual([0, 0, 1, 3, 7, 15, 31, 61, 91]);
});

test('targets that do not take it are asked more and more rarely, and from the beginning after one that lasted', async () => {
  const clock = new FakeClock();
  const asked: number[] = [];
  let end = (): void => undefined;
  let taken = true;
  const open = async (): Promise<TargetSubscription> => {
    asked.push(clock.now() / 1_000);
    if (asked.length > 50) throw new Error('asked without a pause');
    if (!taken) throw new Error('refused');
    const ended = new Promise<void>((resolve) => {
      end = resolve;
    });
    return { filter: {}, ended, close: async () => end() };
  };
  const closing = new AbortController();
  const options = { server: 'files', clock, logger: silentLogger, signal: undefined, closing: closing.signal };
  const subscription = await MovingSubscription.open(open, options);
  /** When it was asked, in s after its end, until the minute is over. */
  const afterItsEnd = async (): Promise<number[]> => {
    const endS = clock.now() / 1_000;
    taken = false;
    asked.length = 0;
    end();
    await clock.advance(60_000);
    return asked.map((atS) => atS - endS);
  };
  await clock.advance(5_000);
  expect(await afterItsEnd()).toEqual([0, 1, 3, 7, 15, 31]);
  taken = true;
  await clock.advance(5_000);
  expect(await afterItsEnd()).toEqual([0, 1, 3, 7, 15, 31]);
  closing.abort();
  await subscription.ended;
});
