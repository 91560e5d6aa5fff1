import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  LimiterTableFullError,
  MultiServerRateLimiter,
  type MultiServerRateLimiterOptions,
} from '../../src/concurrent/index.js';
import { ClosedError, OptionError, QueueFullError, RateLimitedError } from '../../src/errors.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { RUNS } from '../support/runs.js';

let clock: FakeClock;
let limiters: MultiServerRateLimiter[];
const make = (options: Partial<MultiServerRateLimiterOptions> = {}): MultiServerRateLimiter => {
  const limiter = new MultiServerRateLimiter({ maxRequests: 2, windowMs: 1_000, clock, ...options });
  limiters.push(limiter);
  return limiter;
};
const refusal = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => 'granted',
    (error: unknown) => error,
  );

beforeEach(() => {
  clock = new FakeClock();
  limiters = [];
});

afterEach(async () => {
  await Promise.all(limiters.map((limiter) => limiter.close()));
  expect(clock.armedTimers).toBe(0);
});

test('each server has a limit to itself, some their own', async () => {
  const limiter = make({ perServer: { slow: { maxRequests: 1 }, fast: { maxRequests: 5, windowMs: 10 } } });
  const granted = (server: string): number =>
    Array.from({ length: 9 }, () => limiter.tryAcquire(server)).filter(Boolean).length;
  expect(['a', 'b', 'slow', 'fast'].map(granted)).toEqual([2, 2, 1, 5]);
  clock.suspend(10);
  expect(['a', 'b', 'slow', 'fast'].map(granted)).toEqual([0, 0, 0, 5]);
  const waiting = limiter.acquire('slow');
  expect(limiter.stats('slow')).toEqual({ current: 1, max: 1, availableInMs: 1_990, blockedCount: 1 });
  await clock.advance(990);
  await waiting;
  expect(limiter.stats('unheard of')).toBeUndefined();
});

test('a bad limit of one server is found when the limiter is made', () => {
  expect(() => make({ perServer: { slow: { maxRequests: 0 } } })).toThrow(OptionError);
  expect(() => make({ maxServers: 0 })).toThrow(OptionError);
  expect(() => make({ idleMs: 0 })).toThrow(OptionError);
  const limiter = make();
  expect(() => limiter.tryAcquire('')).toThrow(OptionError);
});

test('the table is bounded: idle servers make room, busy ones do not', async () => {
  const limiter = make({ maxServers: 3, maxRequests: 1 });
  limiter.tryAcquire('a');
  clock.suspend(600);
  limiter.tryAcquire('b');
  limiter.pauseFor('c', 5_000);
  expect(() => limiter.tryAcquire('d')).toThrow(LimiterTableFullError);
  const error = await refusal(limiter.acquire('d'));
  expect(error).toBeInstanceOf(QueueFullError);
  expect(error).toMatchObject({ code: 'ERR_QUEUE_FULL', retryable: true, server: 'd', max: 3 });
  clock.suspend(399.999);
  expect(() => limiter.tryAcquire('d')).toThrow(LimiterTableFullError);
  clock.suspend(0.001);
  expect(limiter.tryAcquire('d')).toBe(true);
  expect(['a', 'b', 'c', 'd'].map((each) => limiter.stats(each) !== undefined)).toEqual([false, true, true, true]);
  clock.suspend(3_000);
  expect(limiter.tryAcquire('e')).toBe(true);
  expect(limiter.size).toBe(2);
  limiter.reset('c');
  expect(limiter.tryAcquire('c')).toBe(true);
});

test('the sweep forgets what has been idle, and keeps what still counts', async () => {
  const limiter = make({ idleMs: 10_000, perServer: { long: { windowMs: 3_600_000 } } });
  limiter.tryAcquire('long');
  limiter.tryAcquire('a');
  await clock.advance(9_000);
  limiter.tryAcquire('b');
  await clock.advance(1_000);
  expect(limiter.size).toBe(2);
  expect(limiter.stats('a')).toBeUndefined();
  await clock.advance(10_000);
  expect(limiter.size).toBe(1);
  expect(limiter.tryAcquire('long')).toBe(true);
  expect(limiter.tryAcquire('long')).toBe(false);
});

test('forgetting never grants more: no window of any server is exceeded, however few places there are', () =>
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 4 }),
      fc.array(fc.record({ server: fc.nat(6), ms: fc.integer({ min: 0, max: 40 }) }), { maxLength: 150 }),
      (maxServers, calls) => {
        const own = new FakeClock();
        const limiter = new MultiServerRateLimiter({ maxRequests: 3, windowMs: 50, maxServers, idleMs: 1, clock: own });
        const grants = new Map<number, number[]>();
        for (const { server, ms } of calls) {
          own.advanceSync(ms);
          const nowMs = own.now();
          const before = (grants.get(server) ?? []).filter((each) => each > nowMs - 50);
          const busy = [...grants.keys()].filter((each) => grants.get(each)?.some((atMs) => atMs > nowMs - 50)).length;
          try {
            const granted = limiter.tryAcquire(`${server}`);
            expect(granted).toBe(before.length < 3);
            if (granted) grants.set(server, [...before, nowMs]);
          } catch (error) {
            expect(error).toBeInstanceOf(LimiterTableFullError);
            expect(busy).toBe(maxServers);
            expect(before).toEqual([]);
          }
          expect(limiter.size).toBeLessThanOrEqual(maxServers);
        }
        void limiter.close();
      },
    ),
    { numRuns: Math.ceil(RUNS / 2) },
  ));

test('one server as a limiter: a pool can use it, and closing it refuses its own callers alone', async () => {
  const limiter = make({ maxRequests: 1 });
  const [one, other] = [limiter.limiter('a'), limiter.limiter('a')];
  expect(one.tryAcquire()).toBe(true);
  expect(other.tryAcquire()).toBe(false);
  const leave = new AbortController();
  const aborted = refusal(one.acquire({ signal: leave.signal }));
  const refused = refusal(one.acquire());
  const kept = other.acquire();
  expect(await refusal(one.acquire({ acquireTimeoutMs: 10 }))).toBeInstanceOf(RateLimitedError);
  leave.abort('left');
  expect(await aborted).toBe('left');
  await one.close();
  expect(await refused).toBeInstanceOf(ClosedError);
  expect(() => one.tryAcquire()).toThrow(ClosedError);
  expect(await refusal(one.acquire())).toBeInstanceOf(ClosedError);
  await clock.advance(1_000);
  await kept;
  other.pauseFor(5_000);
  expect(limiter.stats('a')?.availableInMs).toBe(5_000);
  limiter.resetAll();
  expect(limiter.tryAcquire('a')).toBe(true);
});

test('close refuses every waiter at once and leaves no timer', async () => {
  const limiter = make({ maxRequests: 1 });
  const waiting = ['a', 'b', 'c'].map((server) => {
    limiter.tryAcquire(server);
    return refusal(limiter.acquire(server));
  });
  const closing = limiter.close();
  expect(limiter.close()).toBe(closing);
  for (const each of await Promise.all(waiting)) expect(each).toBeInstanceOf(ClosedError);
  await closing;
  expect(clock.armedTimers).toBe(0);
  expect(() => limiter.tryAcquire('a')).toThrow(ClosedError);
  expect(() => limiter.limiter('a')).toThrow(ClosedError);
  expect(await refusal(limiter.acquire('z'))).toBeInstanceOf(ClosedError);
});
