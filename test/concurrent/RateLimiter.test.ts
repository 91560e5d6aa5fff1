import { afterEach, beforeEach, expect, test } from 'vitest';
import { RateLimiter, type RateLimiterOptions } from '../../src/concurrent/index.js';
import { ClosedError, OptionError, QueueFullError, RateLimitedError } from '../../src/errors.js';
import { FakeClock } from '../../src/testing/FakeClock.js';

let clock: FakeClock;
let limiters: RateLimiter[];
const make = (options: Partial<RateLimiterOptions> = {}): RateLimiter => {
  const limiter = new RateLimiter({ maxRequests: 2, windowMs: 1_000, clock, ...options });
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
  await Promise.all(limiters.map((limiter) => limiter.close({ graceMs: 0 }).catch(() => undefined)));
  expect(clock.armedTimers).toBe(0);
});

test('a window is half-open: what was granted at its start counts no longer at its end', () => {
  const limiter = make({ maxRequests: 1 });
  expect(limiter.tryAcquire()).toBe(true);
  clock.suspend(999.999);
  expect(limiter.tryAcquire()).toBe(false);
  clock.suspend(0.001);
  expect(limiter.tryAcquire()).toBe(true);
});

test('usage is one snapshot and changes nothing', () => {
  const limiter = make();
  expect(limiter.usage).toEqual({ current: 0, max: 2, availableInMs: 0 });
  limiter.tryAcquire();
  clock.suspend(300);
  limiter.tryAcquire();
  expect(limiter.usage).toEqual({ current: 2, max: 2, availableInMs: 700 });
  clock.suspend(700);
  expect(limiter.usage).toEqual({ current: 1, max: 2, availableInMs: 0 });
});

test('tryAcquire never passes a waiter, not even for what the waiter cannot use yet', async () => {
  const limiter = make();
  limiter.tryAcquire();
  const heavy = limiter.acquire({ weight: 2 });
  expect(limiter.blockedCount).toBe(1);
  expect(limiter.tryAcquire()).toBe(false);
  await clock.advance(1_000);
  await heavy;
  expect(limiter.usage.current).toBe(2);
});

test('a thousand waiters under one signal share two timers and one listener', async () => {
  const limiter = make({ maxRequests: 1 });
  limiter.tryAcquire();
  const leave = new AbortController();
  const waiting = Array.from({ length: 1_000 }, () =>
    refusal(limiter.acquire({ signal: leave.signal, acquireTimeoutMs: 2_000_000 })),
  );
  expect(clock.armedTimers).toBe(2);
  leave.abort('enough');
  expect(new Set(await Promise.all(waiting))).toEqual(new Set(['enough']));
  expect(limiter.blockedCount).toBe(0);
});

test('a wait that is known to be too long is refused at once, one that just fits is not', async () => {
  const limiter = make({ maxRequests: 1 });
  limiter.tryAcquire();
  const first = limiter.acquire({ acquireTimeoutMs: 1_000 });
  const error = await refusal(limiter.acquire({ acquireTimeoutMs: 1_999.999 }));
  expect(error).toBeInstanceOf(RateLimitedError);
  expect(error).toMatchObject({ code: 'ERR_RATE_LIMITED', retryable: true, source: 'local', retryAfterMs: 2_000 });
  const second = limiter.acquire({ acquireTimeoutMs: 2_000 });
  await clock.advance(2_000);
  await Promise.all([first, second]);
});

test('a pause holds everybody, keeps their order, and a wait that it made too long ends in time', async () => {
  const limiter = make({ maxRequests: 1 });
  limiter.tryAcquire();
  const patient = limiter.acquire({ acquireTimeoutMs: 10_000 });
  const hasty = refusal(limiter.acquire({ acquireTimeoutMs: 2_500 }));
  limiter.pauseFor(5_000);
  limiter.pauseFor(10);
  expect(limiter.usage.availableInMs).toBe(7_000);
  await clock.advance(2_600);
  expect(await hasty).toMatchObject({ code: 'ERR_RATE_LIMITED', retryAfterMs: 3_499 });
  expect(limiter.blockedCount).toBe(1);
  await clock.advance(2_400);
  await patient;
  expect(clock.now()).toBe(5_000);
});

test('an abort frees the place, and who fits behind goes on at once', async () => {
  const limiter = make();
  limiter.tryAcquire();
  const leave = new AbortController();
  const heavy = refusal(limiter.acquire({ weight: 2, signal: leave.signal }));
  const light = limiter.acquire();
  leave.abort(new Error('left'));
  await light;
  expect(await heavy).toEqual(new Error('left'));
  expect(clock.now()).toBe(0);
  const aborted = AbortSignal.abort('before');
  expect(await refusal(limiter.acquire({ signal: aborted }))).toBe('before');
});

test('the queue is bounded', async () => {
  const limiter = make({ maxRequests: 1, maxQueue: 1 });
  limiter.tryAcquire();
  const waiting = refusal(limiter.acquire());
  const error = await refusal(limiter.acquire());
  expect(error).toBeInstanceOf(QueueFullError);
  expect(error).toMatchObject({ code: 'ERR_QUEUE_FULL', waiting: 1, max: 1 });
  await limiter.close();
  expect(await waiting).toBeInstanceOf(ClosedError);
});

test('reset forgets grants and pause, and serves who waits', async () => {
  const limiter = make({ maxRequests: 1 });
  limiter.tryAcquire();
  limiter.pauseFor(60_000);
  const waiting = limiter.acquire({ acquireTimeoutMs: Infinity });
  limiter.reset();
  await waiting;
  expect(limiter.usage.current).toBe(1);
});

test('schedule runs a function when it may, settles as it does, and passes on what it throws', async () => {
  const limiter = make({ maxRequests: 3 });
  expect(await limiter.schedule(() => 1)).toBe(1);
  await expect(limiter.schedule(() => Promise.reject(new Error('its own')))).rejects.toThrow('its own');
  await expect(
    limiter.schedule(() => {
      throw new Error('at once');
    }),
  ).rejects.toThrow('at once');
  let ran = false;
  const late = limiter.schedule(() => {
    ran = true;
  });
  await clock.advance(999);
  expect(ran).toBe(false);
  await clock.advance(1);
  await late;
  expect(ran).toBe(true);
});

test('close refuses who waits at once, awaits what runs, and is one promise', async () => {
  const limiter = make({ maxRequests: 1 });
  let finish: (value: string) => void = () => undefined;
  const running = limiter.schedule(
    () =>
      new Promise<string>((resolve) => {
        finish = resolve;
      }),
  );
  const waiting = refusal(limiter.schedule(() => 'never'));
  await clock.advance(0);
  const closing = limiter.close();
  expect(limiter.close()).toBe(closing);
  expect(await waiting).toBeInstanceOf(ClosedError);
  expect(() => limiter.tryAcquire()).toThrow(ClosedError);
  expect(await refusal(limiter.acquire())).toBeInstanceOf(ClosedError);
  let closed = false;
  void closing.then(() => {
    closed = true;
  });
  await clock.advance(100);
  expect(closed).toBe(false);
  finish('done');
  expect(await running).toBe('done');
  await closing;
});

test('a function that outlives the grace is named, to its caller and by the close', async () => {
  const limiter = make({ name: 'search API' });
  const running = refusal(
    limiter.schedule(function lookUp() {
      return new Promise(() => undefined);
    }),
  );
  await clock.advance(0);
  const closing = refusal(limiter.close({ graceMs: 50 }));
  await clock.advance(50);
  expect(await running).toMatchObject({ code: 'ERR_SHUTDOWN_TIMEOUT', what: 'search API: lookUp' });
  expect(await closing).toMatchObject({ errors: [{ code: 'ERR_SHUTDOWN_TIMEOUT', what: 'search API: lookUp' }] });
});

test('a grant and a close in one turn: the function does not start on a closed limiter', async () => {
  const limiter = make();
  const scheduled = refusal(limiter.schedule(() => 'ran'));
  await limiter.close();
  expect(await scheduled).toBeInstanceOf(ClosedError);
});

test('a bad option or argument names itself', async () => {
  for (const bad of [
    { maxRequests: 0 },
    { maxRequests: 1.5 },
    { windowMs: 0 },
    { windowMs: Number.POSITIVE_INFINITY },
    { maxQueue: -1 },
    { acquireTimeoutMs: -1 },
    { name: '' },
  ]) {
    expect(() => new RateLimiter({ maxRequests: 1, windowMs: 1, ...bad })).toThrow(Object.keys(bad)[0]);
  }
  const limiter = make();
  for (const weight of [0, 3, 1.5, Number.NaN]) expect(() => limiter.tryAcquire(weight)).toThrow(OptionError);
  expect(await refusal(limiter.acquire({ weight: 3 }))).toBeInstanceOf(OptionError);
  expect(await refusal(limiter.acquire({ acquireTimeoutMs: -1 }))).toBeInstanceOf(OptionError);
  expect(() => limiter.pauseFor(Number.NaN)).toThrow(OptionError);
});

test('a real wait on the real clock ends when it should', async () => {
  const limiter = new RateLimiter({ maxRequests: 1, windowMs: 30 });
  await limiter.acquire();
  const startMs = performance.now();
  await limiter.acquire();
  expect(performance.now() - startMs).toBeGreaterThan(25);
  await limiter.close();
});
