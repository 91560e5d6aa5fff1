import { beforeEach, expect, test, vi } from 'vitest';
import { ResourcePool } from '../../src/concurrent/resource/ResourcePool.js';
import { OptionError } from '../../src/core/errors.js';
import { FakeClock } from '../../src/testing/FakeClock.js';

let clock: FakeClock;
let fired: string[];

beforeEach(() => {
  clock = new FakeClock();
  fired = [];
});

const note = (name: string) => () => void fired.push(`${name}@${clock.now()}`);

test('timers fire in the order of their time, then of their arming, each at its own time', async () => {
  clock.setTimer(note('late'), 30);
  clock.setTimer(note('first'), 10);
  clock.setTimer(note('second'), 10);
  await clock.advance(29);
  expect(fired).toEqual(['first@10', 'second@10']);
  await clock.advance(1);
  expect(fired).toEqual(['first@10', 'second@10', 'late@30']);
  expect([clock.now(), clock.armedTimers]).toEqual([30, 0]);
});

test('a timer armed by a callback fires in the same advance when its time falls in it', async () => {
  clock.setTimer(() => clock.setTimer(note('inner'), 5), 10);
  await clock.advance(15);
  expect(fired).toEqual(['inner@15']);
});

test('advance lets promises and immediates go on between two timers, advanceSync does not', async () => {
  const arm = (): void => {
    clock.setTimer(() => void Promise.resolve().then(note('promise')), 1);
    clock.setTimer(() => void setImmediate(note('immediate')), 2);
    clock.setTimer(note('timer'), 3);
  };
  arm();
  await clock.advance(3);
  expect(fired).toEqual(['promise@1', 'immediate@2', 'timer@3']);
  fired = [];
  arm();
  clock.advanceSync(3);
  expect(fired).toEqual(['timer@6']);
  await clock.advance(0);
  expect(fired).toEqual(['timer@6', 'promise@6', 'immediate@6']);
});

test('it moves until a condition holds, and no further', async () => {
  for (const ms of [10, 20, 30]) clock.setTimer(note('timer'), ms);
  expect(await clock.advanceUntil(() => fired.length === 2)).toBe(20);
  expect([clock.now(), fired]).toEqual([20, ['timer@10', 'timer@20']]);
  expect(await clock.advanceUntil(() => true)).toBe(0);
  await expect(clock.advanceUntil(() => false, 5)).rejects.toThrow(/within 5 ms: the next timer is later/);
  await expect(clock.advanceUntil(() => false)).rejects.toThrow(/no timer is armed/);
  await expect(clock.advanceUntil(() => false, -1)).rejects.toThrow(OptionError);
});

test('idle ends and parking of a pool follow it', async () => {
  const pool = new ResourcePool(
    { create: async () => ({}), destroy: async () => undefined },
    { clock, maxResources: 1, parkAfterMs: 1_000, idleTimeoutMs: 5_000 },
  );
  (await pool.acquire()).release();
  const parkedMs = await clock.advanceUntil(() => pool.stats.parked === 1);
  const endedMs = await clock.advanceUntil(() => pool.stats.destroyed === 1);
  // Never early, and late by one sweep or less: a quarter of the shortest time.
  for (const [ms, dueMs] of [
    [parkedMs, 1_000],
    [endedMs, 5_000],
  ] as const) {
    expect(ms).toBeGreaterThanOrEqual(dueMs);
    expect(ms).toBeLessThanOrEqual(dueMs + 250);
  }
  await pool.close();
  expect(clock.armedTimers).toBe(0);
});

test('what is cancelled does not fire, by cancel, by disposal, or from another callback', async () => {
  clock.setTimer(note('a'), 10).cancel();
  clock.setTimer(note('b'), 10)[Symbol.dispose]();
  clock.setTimer(() => last.cancel(), 10);
  const last = clock.setTimer(note('c'), 10);
  await clock.advance(100);
  expect(fired).toEqual([]);
});

test('a delay of 0, or below, fires at the next advance, also of 0', async () => {
  clock.setTimer(note('zero'), 0);
  clock.setTimer(note('negative'), -5);
  clock.setTimer(note('nan'), Number.NaN);
  expect(fired).toEqual([]);
  await clock.advance(0);
  expect(fired).toEqual(['zero@0', 'negative@0', 'nan@0']);
});

test('Infinity is not armed, as on the system’s clock', () => {
  clock.setTimer(note('never'), Number.POSITIVE_INFINITY, { ref: true });
  expect([clock.armedTimers, clock.refTimers]).toEqual([0, 0]);
});

test('it tells how many timers would hold a process open', () => {
  const timer = clock.setTimer(note('a'), 10);
  const held = clock.setTimer(note('b'), 10, { ref: true });
  expect([clock.armedTimers, clock.refTimers]).toEqual([2, 1]);
  timer.ref();
  expect(clock.refTimers).toBe(2);
  held.unref();
  timer.cancel();
  expect([clock.armedTimers, clock.refTimers]).toEqual([1, 0]);
});

test('after a suspend timers fire late, at the next advance, and see the time it is', async () => {
  clock.setTimer(note('a'), 10);
  clock.suspend(1_000);
  expect(fired).toEqual([]);
  await clock.advance(0);
  expect(fired).toEqual(['a@1000']);
});

test('the wall clock goes along and can be moved alone', async () => {
  const start = new FakeClock({ nowMs: 5_000, wallMs: 1_000_000 });
  await start.advance(10);
  expect([start.now(), start.wallNow()]).toEqual([5_010, 1_000_010]);
  start.stepWall(-100);
  expect([start.now(), start.wallNow()]).toEqual([5_010, 999_910]);
});

test('time never goes back, also when two advances overlap or a callback advances', async () => {
  await Promise.all([clock.advance(20), clock.advance(10)]);
  expect(clock.now()).toBe(20);
  clock.setTimer(() => clock.advanceSync(100), 5);
  clock.advanceSync(10);
  expect(clock.now()).toBe(125);
});

test('a callback’s throw reaches who advances', async () => {
  const bad = (): never => {
    throw new Error('from a callback');
  };
  clock.setTimer(bad, 1);
  await expect(clock.advance(1)).rejects.toThrow('from a callback');
  clock.setTimer(bad, 1);
  expect(() => clock.advanceSync(1)).toThrow('from a callback');
});

test.each([-1, Number.NaN, Number.POSITIVE_INFINITY])('time does not move by %s', async (ms) => {
  await expect(clock.advance(ms)).rejects.toThrow(OptionError);
  expect(() => clock.advanceSync(ms)).toThrow(OptionError);
  expect(() => clock.suspend(ms)).toThrow(OptionError);
  expect(clock.now()).toBe(0);
});

test('it goes on under a test runner’s fake globals', async () => {
  vi.useFakeTimers();
  try {
    clock.setTimer(note('a'), 1);
    await clock.advance(1);
    expect(fired).toEqual(['a@1']);
  } finally {
    vi.useRealTimers();
  }
});
