import fc from 'fast-check';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import {
  LimiterTableFullError,
  MultiServerRateLimiter,
  type MultiServerRateLimiterOptions,
} from '../../src/concurrent/index.js';
import { LimiterCore } from '../../src/concurrent/limiter/LimiterCore.js';
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

/** Takes permits of names that are new, as many as there is room for. */
function fill(take: (name: string) => void, name: string): number {
  for (let count = 0; ; count++) {
    try {
      take(`${name}${count}`);
    } catch (error) {
      expect(error).toMatchObject({ code: 'ERR_QUEUE_FULL' });
      return count;
    }
  }
}

test('names that one owner makes up leave room for others, and reset no limit, its own neither', async () => {
  const limiter = make({ maxServers: 100, maxRequests: 1, keyOf: ({ tool }) => tool });
  const grant = (name: string, owner?: string): boolean => limiter.tryAcquire(name, 1, owner);
  expect([grant('search', 'ann'), grant('read', 'eve')]).toEqual([true, true]);
  clock.suspend(1);
  expect(fill((name) => grant(name, 'eve'), 'made-up')).toBe(74);
  // Who asks, of a call, is its principal, else its address.
  const call = (tool: string, caller?: object) => limiter.for({ server: 's', tool, caller })?.tryAcquire();
  expect(() => call('another', { principal: 'eve', origin: '::1' })).toThrow(LimiterTableFullError);
  await expect(limiter.acquire('another', {}, 'eve')).rejects.toBeInstanceOf(LimiterTableFullError);
  expect([grant('search', 'ann'), grant('search', 'eve'), grant('read', 'eve')]).toEqual([false, false, false]);
  expect([call('write', { origin: 'bob' }), call('write', { principal: 'eve' })]).toEqual([true, false]);
  for (const owner of ['ann', 'bob', undefined]) expect(grant(`new of ${owner}`, owner)).toBe(true);
  // A second one does not take what is left.
  fill((name) => grant(name, 'mallory'), 'of mallory');
  expect([grant('late', 'ann'), grant('later', 'carol')]).toEqual([true, true]);
  // A name of no one in particular has whatever is free, and once full the table is full.
  fill((name) => grant(name), 'own');
  expect(limiter.size).toBe(100);
  // What counts no longer makes room, for its owner too.
  clock.suspend(998);
  expect(() => grant('again', 'eve')).toThrow(LimiterTableFullError);
  clock.suspend(1);
  expect(grant('search', 'ann')).toBe(true);
  // All are looked at once in 50 ms.
  clock.suspend(50);
  expect(grant('again', 'eve')).toBe(true);
  expect(() => grant('x', '')).toThrow(OptionError);
});

test('in a full table the place of a name that came once is found without a look at all', () => {
  const limiter = make({ maxServers: 1_000, maxRequests: 1_000 });
  const busy = ['a', 'b', 'c'];
  for (const name of busy) limiter.tryAcquire(name);
  for (let at = 3; at < 1_000; at++) {
    clock.suspend(1);
    limiter.tryAcquire(`once${at}`);
  }
  clock.suspend(3);
  const looks = vi.spyOn(LimiterCore.prototype, 'idleFromMs', 'get');
  let granted = 0;
  for (let at = 0; at < 500; at++) {
    clock.suspend(1);
    for (const name of busy) limiter.tryAcquire(name);
    if (limiter.tryAcquire(`more${at}`)) granted++;
  }
  expect(granted).toBe(500);
  // With a look at all for each name they are 500,000.
  expect(looks.mock.calls.length).toBeLessThan(10_000);
  looks.mockRestore();
  expect(busy.map((name) => limiter.stats(name)?.current)).toEqual([500, 500, 500]);
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
