import { expect, test } from 'vitest';
import { MultiServerRateLimiter, RateLimiter, Semaphore } from '../../src/concurrent/index.js';
import { OptionError } from '../../src/errors.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { closeAfter } from '../support/closeAfter.js';

test('a server that asks for a pause of 31 years gets a minute, and only for itself', async () => {
  const clock = new FakeClock();
  const limiter = closeAfter(new RateLimiter({ maxRequests: 100, windowMs: 1_000, clock }));
  const a = limiter.for({ server: 'a', method: 'tools/call', tool: 'x' });
  const b = limiter.for({ server: 'b' });
  a.pauseFor(999_999_999_000);
  expect(a.tryAcquire()).toBe(false);
  expect(limiter.for({ server: 'a' }).tryAcquire()).toBe(false);
  expect(b.tryAcquire()).toBe(true);
  expect(limiter.tryAcquire()).toBe(true);
  expect(limiter.inspect()).toMatchObject({ current: 2, pausedForMs: 0, pausedServers: 1 });
  await clock.advance(59_999);
  expect(a.tryAcquire()).toBe(false);
  await clock.advance(1);
  expect(a.tryAcquire()).toBe(true);
  expect(limiter.inspect().pausedServers).toBe(0);
});

test.each([
  [undefined, 60_000],
  [500, 500],
  [Number.POSITIVE_INFINITY, 1e12],
  [0, 0],
])('maxPauseMs %s cuts a pause to %d ms', async (maxPauseMs, pausedForMs) => {
  const clock = new FakeClock();
  const options = { maxRequests: 1, windowMs: 1_000, clock, ...(maxPauseMs !== undefined && { maxPauseMs }) };
  const one = closeAfter(new RateLimiter(options));
  one.pauseFor(1e12);
  expect(one.inspect().pausedForMs).toBeCloseTo(pausedForMs, 3);
  const table = closeAfter(new MultiServerRateLimiter(options));
  table.pauseFor('a', 1e12);
  expect(table.inspect().servers['a']?.pausedForMs).toBeCloseTo(pausedForMs, 3);
});

test('callers of a paused server wait for the pause and then for their permit, within one acquireTimeoutMs', async () => {
  const clock = new FakeClock();
  const limiter = closeAfter(new RateLimiter({ maxRequests: 1, windowMs: 1_000, clock }));
  const a = limiter.for({ server: 'a' });
  a.pauseFor(500);
  await clock.advance(100);
  const served: string[] = [];
  const first = a.acquire({ acquireTimeoutMs: 5_000 }).then(() => served.push('first'));
  const second = a.acquire({ acquireTimeoutMs: 5_000 }).then(() => served.push('second'));
  const hasty = a.acquire({ acquireTimeoutMs: 300 }).catch((error: unknown) => error);
  expect(await hasty).toMatchObject({ code: 'ERR_RATE_LIMITED', retryAfterMs: 400 });
  // 400 ms go by at the pause, so a second's wait for a permit is too long for what is left.
  const late = a.acquire({ acquireTimeoutMs: 1_200 }).catch((error: unknown) => error);
  await clock.advance(400);
  await first;
  expect(await late).toMatchObject({ code: 'ERR_RATE_LIMITED' });
  await clock.advance(1_000);
  await second;
  expect(served).toEqual(['first', 'second']);
  const left = new AbortController();
  a.pauseFor(500);
  const leaving = a.acquire({ signal: left.signal }).catch((error: unknown) => error);
  left.abort('never mind');
  expect(await leaving).toBe('never mind');
});

test('close refuses those who wait for the end of a pause', async () => {
  const limiter = new RateLimiter({ maxRequests: 1, windowMs: 1_000 });
  const a = limiter.for({ server: 'a' });
  a.pauseFor(10_000);
  const waiting = a.acquire({ acquireTimeoutMs: Number.POSITIVE_INFINITY }).catch((error: unknown) => error);
  await limiter.close();
  expect(await waiting).toMatchObject({ code: 'ERR_CLOSED' });
  expect(limiter.inspect().closed).toBe(true);
  expect(() => limiter.for({ server: 'a' })).toThrow('closed');
});

test('keyOf limits by what it likes: by tool, by principal, or not at all', async () => {
  const clock = new FakeClock();
  const limits = closeAfter(
    new MultiServerRateLimiter({
      maxRequests: 1,
      windowMs: 1_000,
      clock,
      perServer: { cheap: { maxRequests: 5 } },
      keyOf: ({ tool, caller }) => (caller?.principal === undefined ? tool : `${caller.principal}/${tool}`),
    }),
  );
  const dear = limits.for({ server: 's', method: 'tools/call', tool: 'dear' });
  expect(dear?.tryAcquire()).toBe(true);
  expect(dear?.tryAcquire()).toBe(false);
  expect(limits.for({ server: 't', method: 'tools/call', tool: 'dear' })).toBe(dear);
  expect(limits.for({ server: 's', tool: 'cheap' })?.tryAcquire(5)).toBe(true);
  expect(limits.for({ server: 's', tool: 'dear', caller: { principal: 'p' } })?.tryAcquire()).toBe(true);
  expect(limits.for({ server: 's', method: 'tools/list' })).toBeUndefined();
  expect(limits.inspect()).toMatchObject({ size: 3, waiting: 0, servers: { dear: { current: 1 } } });
  expect(dear?.for({ server: 'any' })).toBe(dear);
});

test('inspect tells of the waiting and the closed', async () => {
  const semaphore = new Semaphore({ permits: 3, name: 'three' });
  const permit = await semaphore.acquire({ weight: 2 });
  const waiting = semaphore.acquire({ weight: 3 });
  expect(semaphore.inspect()).toEqual({
    name: 'three',
    permits: 3,
    inUse: 2,
    available: 1,
    waiting: 1,
    waitingWeight: 3,
    running: 0,
    closed: false,
  });
  permit.release();
  (await waiting).release();
  await semaphore.close();
  expect(semaphore.inspect()).toMatchObject({ inUse: 0, waiting: 0, closed: true });
});

test.each([
  [() => new RateLimiter({ maxRequests: 1, windowMs: 1, maxQeue: 1 } as never), "did you mean 'maxQueue'"],
  [() => new RateLimiter({ maxRequests: 1, windowMs: 1, maxPauseMs: -1 }), 'maxPauseMs'],
  [() => new MultiServerRateLimiter({ maxRequests: 1, windowMs: 1, idelMs: 1 } as never), "did you mean 'idleMs'"],
  [() => new MultiServerRateLimiter({ maxRequests: 1, windowMs: 1, keyOf: 1 as never }), 'keyOf'],
  [() => new Semaphore({ permits: 1, maxQueues: 1 } as never), "did you mean 'maxQueue'"],
  [() => new RateLimiter(undefined as never), 'an object'],
])('an option that does not exist or is wrong is refused: %s', (make, why) => {
  expect(make).toThrow(OptionError);
  expect(make).toThrow(why);
});

test('the old names of waits and queues still work', async () => {
  const limiter = closeAfter(new RateLimiter({ maxRequests: 1, windowMs: 60_000, maxWaiters: 0, maxWaitMs: 1e6 }));
  limiter.tryAcquire();
  await expect(limiter.acquire({ maxWaitMs: 5 })).rejects.toMatchObject({ code: 'ERR_RATE_LIMITED' });
  await expect(limiter.acquire()).rejects.toMatchObject({ code: 'ERR_QUEUE_FULL' });
});
