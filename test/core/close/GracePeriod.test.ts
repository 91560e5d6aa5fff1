import { beforeEach, expect, test } from 'vitest';
import { GracePeriod } from '../../../src/core/close/GracePeriod.js';
import { FakeClock } from '../../../src/testing/FakeClock.js';

let clock: FakeClock;

beforeEach(() => {
  clock = new FakeClock({ nowMs: 1_000 });
});

/** Notes when the grace was over. */
function watch(grace: GracePeriod): number[] {
  const over: number[] = [];
  void grace.over.then(() => over.push(clock.now() - 1_000));
  return over;
}

test('it is over at its deadline, under one ref’d timer', async () => {
  const grace = new GracePeriod(clock, 100);
  const over = watch(grace);
  expect([clock.armedTimers, clock.refTimers]).toEqual([1, 1]);
  await clock.advance(99);
  expect([over, grace.remainingMs]).toEqual([[], 1]);
  await clock.advance(1);
  expect([over, grace.remainingMs, clock.armedTimers]).toEqual([[100], 0, 0]);
});

test('no grace is over at once and arms nothing', async () => {
  const grace = new GracePeriod(clock, 0);
  const over = watch(grace);
  expect([grace.remainingMs, clock.armedTimers]).toEqual([0, 0]);
  await clock.advance(0);
  expect(over).toEqual([0]);
});

test('Infinity is never over, until it is shortened', async () => {
  const grace = new GracePeriod(clock, Number.POSITIVE_INFINITY);
  const over = watch(grace);
  await clock.advance(1e9);
  expect([over, grace.remainingMs, clock.armedTimers]).toEqual([[], Number.POSITIVE_INFINITY, 0]);
  grace.shorten(5);
  await clock.advance(5);
  expect(over).toEqual([1e9 + 5]);
});

test('it can be shortened, never prolonged, and says how long it was in all', async () => {
  const grace = new GracePeriod(clock, 100);
  const over = watch(grace);
  await clock.advance(30);
  grace.shorten(100);
  expect([grace.remainingMs, grace.totalMs]).toEqual([70, 100]);
  grace.shorten(20);
  expect([grace.remainingMs, grace.totalMs, clock.armedTimers]).toEqual([20, 50, 1]);
  await clock.advance(100);
  expect(over).toEqual([50]);
  grace.shorten(0);
  expect(grace.totalMs).toBe(50);
});

test('a timer that fires early does not end it early', async () => {
  // Node's timers may: this clock fires each a millisecond before its time.
  const early = Object.assign(Object.create(clock) as FakeClock, {
    now: () => clock.now(),
    setTimer: (callback: () => void, delayMs: number) => clock.setTimer(callback, Math.max(0.25, delayMs - 1)),
  });
  const grace = new GracePeriod(early, 10);
  const over = watch(grace);
  await clock.advance(20);
  expect(over).toEqual([10]);
});

test('each who watches is told of each shortening, with what is left', () => {
  const grace = new GracePeriod(clock, 100);
  const told: string[] = [];
  const first = grace.onShorten((ms) => told.push(`a${ms}`));
  grace.onShorten((ms) => told.push(`b${ms}`));
  grace.shorten(60);
  grace.shorten(60);
  first[Symbol.dispose]();
  grace.shorten(0);
  expect(told).toEqual(['a60', 'b60', 'b0']);
});

test('one who shortens further from inside leaves nobody with an older, longer time', () => {
  const grace = new GracePeriod(clock, 100);
  const told: string[] = [];
  grace.onShorten((ms) => {
    told.push(`a${ms}`);
    grace.shorten(10);
  });
  grace.onShorten((ms) => told.push(`b${ms}`));
  grace.shorten(60);
  expect(told).toEqual(['a60', 'a10', 'b10', 'b10']);
  grace[Symbol.dispose]();
});

test('all are told before a throw goes up', () => {
  const grace = new GracePeriod(clock, 100);
  const told: number[] = [];
  const error = new Error('from a watcher');
  grace.onShorten(() => {
    throw error;
  });
  const same = (ms: number): void => void told.push(ms);
  grace.onShorten(same);
  // The same function again is a second watcher, with a disposal of its own.
  grace.onShorten(same)[Symbol.dispose]();
  expect(() => grace.shorten(5)).toThrow(expect.objectContaining({ errors: [error] }));
  expect(told).toEqual([5]);
  grace[Symbol.dispose]();
});

test('disposed, it is disarmed and tells nobody', async () => {
  const grace = new GracePeriod(clock, 100);
  const over = watch(grace);
  grace.onShorten(() => over.push(-1));
  grace[Symbol.dispose]();
  grace.shorten(1);
  await clock.advance(200);
  expect([over, grace.remainingMs, clock.armedTimers]).toEqual([[], 0, 0]);
});
