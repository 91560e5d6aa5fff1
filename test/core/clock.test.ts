import { afterEach, expect, test, vi } from 'vitest';
import { systemClock } from '../../src/core/clock.js';
import { runFixture } from '../support/runFixture.js';

const MAX_DELAY_MS = 2 ** 31 - 1;

afterEach(() => {
  vi.useRealTimers();
});

test.each([
  ['unref', 'an unref’d timer does not hold the process open', ''],
  ['ref', 'a ref’d one does', 'fired'],
  ['refThenUnref', 'one that was unref’d later does not', ''],
  ['unrefThenRef', 'one that was ref’d later does', 'fired'],
  ['cancelled', 'a cancelled one does not', ''],
  ['refAfterCancel', 'ref after cancel holds nothing', ''],
  ['refAfterFiring', 'ref after firing holds nothing', 'fired'],
  ['infinity', 'one that never fires holds nothing', ''],
  ['long', 'one longer than Node’s timers go does', 'held'],
  ['longUnref', 'nor does such a one unref’d', ''],
])('%s: %s', async (name, _what, output) => {
  expect(await runFixture('clock.mjs', name)).toEqual({ code: 0, output });
});

test('a delay longer than Node’s timers go fires at its time, not after 1 ms', () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  const fired = vi.fn();
  systemClock.setTimer(fired, 2 * MAX_DELAY_MS + 500);
  vi.advanceTimersByTime(MAX_DELAY_MS);
  vi.advanceTimersByTime(MAX_DELAY_MS);
  vi.advanceTimersByTime(499);
  expect(fired).not.toHaveBeenCalled();
  vi.advanceTimersByTime(1);
  expect(fired).toHaveBeenCalledOnce();
  expect(vi.getTimerCount()).toBe(0);
});

test('a long one can be cancelled at any stage', () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  const timer = systemClock.setTimer(vi.fn(), 2 * MAX_DELAY_MS);
  vi.advanceTimersByTime(MAX_DELAY_MS);
  expect(vi.getTimerCount()).toBe(1);
  timer[Symbol.dispose]();
  expect(vi.getTimerCount()).toBe(0);
});

test('Infinity arms nothing', () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  const timer = systemClock.setTimer(vi.fn(), Number.POSITIVE_INFINITY, { ref: true });
  expect(vi.getTimerCount()).toBe(0);
  timer.unref();
  timer.ref();
  timer.cancel();
});

test('now is monotonic and has a fraction, wallNow is the date', () => {
  const stamps = Array.from({ length: 100 }, () => systemClock.now());
  expect(stamps).toEqual([...stamps].sort((a, b) => a - b));
  expect(stamps.some((each) => !Number.isInteger(each))).toBe(true);
  vi.useFakeTimers({ toFake: ['Date'], now: 1_234 });
  expect(systemClock.wallNow()).toBe(1_234);
});
