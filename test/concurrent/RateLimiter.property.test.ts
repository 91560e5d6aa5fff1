import fc from 'fast-check';
import { expect, test } from 'vitest';
import { RateLimiter } from '../../src/concurrent/limiter/RateLimiter.js';
import { ClosedError, RateLimitedError } from '../../src/core/errors.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { RUNS } from '../support/runs.js';

const limits = fc.record({
  maxRequests: fc.integer({ min: 1, max: 12 }),
  windowUs: fc.integer({ min: 1, max: 3_000 }),
});

/** The specification, in the plainest form: every grant of the last window, counted. */
class Model {
  readonly grants: { readonly atUs: number; readonly weight: number }[] = [];
  readonly max: number;
  readonly windowUs: number;
  constructor(max: number, windowUs: number) {
    this.max = max;
    this.windowUs = windowUs;
  }
  used(atUs: number): number {
    return this.grants.reduce((sum, each) => (each.atUs > atUs - this.windowUs ? sum + each.weight : sum), 0);
  }
  fits(atUs: number, weight: number): boolean {
    return this.used(atUs) + weight <= this.max;
  }
  /** No window that begins at a grant holds more than `max`; no other window can hold more than the fullest of those. */
  check(): void {
    for (const { atUs } of this.grants) {
      const inWindow = this.grants.filter((each) => each.atUs >= atUs && each.atUs < atUs + this.windowUs);
      expect(inWindow.reduce((sum, each) => sum + each.weight, 0)).toBeLessThanOrEqual(this.max);
    }
  }
}

const step = fc.oneof(
  fc.record({ do: fc.constant('call' as const), weight: fc.integer({ min: 1, max: 12 }) }),
  fc.record({ do: fc.constant('advance' as const), us: fc.integer({ min: 0, max: 4_000 }) }),
  fc.record({ do: fc.constant('stepWall' as const), us: fc.integer({ min: -10_000_000, max: 10_000_000 }) }),
  fc.record({ do: fc.constant('suspend' as const), us: fc.integer({ min: 0, max: 10_000 }) }),
  fc.record({ do: fc.constant('stepBack' as const), us: fc.integer({ min: 1, max: 5_000 }) }),
  fc.record({ do: fc.constant('reset' as const) }),
);

test('tryAcquire grants exactly what every window allows, whatever the order of calls and clock steps', () =>
  fc.assert(
    fc.asyncProperty(limits, fc.array(step, { maxLength: 120 }), async ({ maxRequests, windowUs }, steps) => {
      const clock = new FakeClock();
      let backUs = 0;
      const stepping = {
        now: () => clock.now() - backUs / 1_000,
        wallNow: () => clock.wallNow(),
        setTimer: (callback: () => void, delayMs: number) => clock.setTimer(callback, delayMs),
      };
      const limiter = new RateLimiter({ maxRequests, windowMs: windowUs / 1_000, clock: stepping });
      let model = new Model(maxRequests, windowUs);
      const all: Model[] = [model];
      let nowUs = 0;
      for (const each of steps) {
        if (each.do === 'stepWall') clock.stepWall(each.us / 1_000);
        else if (each.do === 'reset') {
          limiter.reset();
          model = new Model(maxRequests, windowUs);
          all.push(model);
        } else if (each.do === 'stepBack') {
          // The limiter reads it at its next call, and time goes on from what it knew.
          backUs += each.us;
          const fits = model.fits(nowUs, 1);
          expect(limiter.tryAcquire()).toBe(fits);
          if (fits) model.grants.push({ atUs: nowUs, weight: 1 });
        } else if (each.do === 'call') {
          const weight = Math.min(each.weight, maxRequests);
          const fits = model.fits(nowUs, weight);
          expect(limiter.tryAcquire(weight)).toBe(fits);
          if (fits) model.grants.push({ atUs: nowUs, weight });
        } else {
          nowUs += each.us;
          if (each.do === 'advance') clock.advanceSync(each.us / 1_000);
          else clock.suspend(each.us / 1_000);
          // Every reading counts: a step back is noticed only between two of them.
          const fits = model.fits(nowUs, 1);
          expect(limiter.tryAcquire()).toBe(fits);
          if (fits) model.grants.push({ atUs: nowUs, weight: 1 });
        }
        expect(limiter.usage.current).toBe(model.used(nowUs));
      }
      for (const each of all) each.check();
      await limiter.close();
    }),
    { numRuns: RUNS },
  ));

test('retryAfterMs is exact: granted then, refused a microsecond before', () =>
  fc.assert(
    fc.asyncProperty(
      limits,
      fc.array(fc.record({ weight: fc.integer({ min: 1, max: 12 }), us: fc.integer({ min: 0, max: 2_000 }) }), {
        minLength: 1,
        maxLength: 30,
      }),
      fc.integer({ min: 1, max: 12 }),
      fc.integer({ min: 0, max: 5_000 }),
      async ({ maxRequests, windowUs }, before, weight, pauseUs) => {
        const clock = new FakeClock({ nowMs: 12_345.678 });
        const limiter = new RateLimiter({ maxRequests, windowMs: windowUs / 1_000, clock });
        for (const each of before) {
          limiter.tryAcquire(Math.min(each.weight, maxRequests));
          clock.suspend(each.us / 1_000);
        }
        if (pauseUs > 2_500) limiter.pauseFor(pauseUs / 1_000);
        const wanted = Math.min(weight, maxRequests);
        const error = await limiter.acquire({ weight: wanted, acquireTimeoutMs: 0 }).catch((reason: unknown) => reason);
        if (error === undefined) return;
        expect(error).toBeInstanceOf(RateLimitedError);
        const { retryAfterMs, source } = error as RateLimitedError;
        expect(source).toBe('local');
        const us = Math.round((retryAfterMs ?? 0) * 1_000);
        expect(us).toBeGreaterThan(0);
        clock.suspend((us - 1) / 1_000);
        expect(limiter.tryAcquire(wanted)).toBe(false);
        clock.suspend(0.001);
        expect(limiter.tryAcquire(wanted)).toBe(true);
        await limiter.close();
      },
    ),
    { numRuns: RUNS },
  ));

const queueStep = fc.oneof(
  { weight: 5, arbitrary: fc.record({ do: fc.constant('acquire' as const), weight: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('advance' as const), us: fc.integer({ min: 0, max: 2_000 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('abort' as const), index: fc.nat({ max: 40 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('pause' as const), us: fc.integer({ min: 0, max: 3_000 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('try' as const) }) },
);

test('waiters are granted in order, each at the first microsecond that allows it, and an abort frees the place', () =>
  fc.assert(
    fc.asyncProperty(limits, fc.array(queueStep, { maxLength: 60 }), async ({ maxRequests, windowUs }, steps) => {
      const clock = new FakeClock();
      const limiter = new RateLimiter({ maxRequests, windowMs: windowUs / 1_000, clock, acquireTimeoutMs: Infinity });
      const model = new Model(maxRequests, windowUs);
      const waiting: { id: number; weight: number; abort: AbortController }[] = [];
      const got: { id: number; atUs: number }[] = [];
      const expected: { id: number; atUs: number }[] = [];
      let nowUs = 0;
      let pausedUntilUs = 0;
      const left = new Set<unknown>();
      let ids = 0;
      /** Serves the model's queue up to `untilUs`: each at the first microsecond at which it fits. */
      const serveModel = (untilUs: number): void => {
        for (let head = waiting[0]; head !== undefined; head = waiting[0]) {
          const ends = model.grants.map((each) => each.atUs + windowUs).filter((atUs) => atUs > nowUs);
          const at = [nowUs, pausedUntilUs, ...ends]
            .filter((atUs) => atUs >= nowUs && atUs >= pausedUntilUs)
            .sort((a, b) => a - b)
            .find((atUs) => model.fits(atUs, (head as { weight: number }).weight));
          if (at === undefined || at > untilUs) break;
          nowUs = at;
          model.grants.push({ atUs: at, weight: head.weight });
          expected.push({ id: head.id, atUs: at });
          waiting.shift();
        }
        nowUs = untilUs;
      };
      for (const each of steps) {
        if (each.do === 'acquire') {
          const weight = Math.min(each.weight, maxRequests);
          const abort = new AbortController();
          const id = ids++;
          waiting.push({ id, weight, abort });
          serveModel(nowUs);
          limiter.acquire({ weight, signal: abort.signal }).then(
            () => got.push({ id, atUs: Math.round(clock.now() * 1_000) }),
            (reason: unknown) => void left.add(reason instanceof ClosedError ? 'closed' : reason),
          );
        } else if (each.do === 'abort') {
          const [gone] = waiting.splice(each.index % (waiting.length + 1), 1);
          gone?.abort.abort('left');
          serveModel(nowUs);
        } else if (each.do === 'pause') {
          limiter.pauseFor(each.us / 1_000);
          pausedUntilUs = Math.max(pausedUntilUs, nowUs + each.us);
        } else if (each.do === 'try') {
          const fits = waiting.length === 0 && nowUs >= pausedUntilUs && model.fits(nowUs, 1);
          expect(limiter.tryAcquire()).toBe(fits);
          if (fits) model.grants.push({ atUs: nowUs, weight: 1 });
        } else {
          const untilUs = nowUs + each.us;
          await clock.advance(untilUs / 1_000 - clock.now());
          serveModel(untilUs);
        }
        expect(limiter.blockedCount).toBe(waiting.length);
      }
      await clock.advance(0);
      model.check();
      expect(got).toEqual(expected);
      await limiter.close();
      expect(clock.armedTimers).toBe(0);
      expect([...left].filter((each) => each !== 'left' && each !== 'closed')).toEqual([]);
    }),
    { numRuns: Math.ceil(RUNS / 2) },
  ));

const owner = fc.constantFrom(undefined, undefined, 'ann', 'bob');

test('the wait that a refusal names is the wait that the next caller would have had, heavy ones ahead or not', () =>
  fc.assert(
    fc.asyncProperty(
      limits,
      fc.array(fc.record({ weight: fc.integer({ min: 1, max: 4 }), owner }), { minLength: 1, maxLength: 25 }),
      fc.integer({ min: 1, max: 4 }),
      owner,
      async ({ maxRequests, windowUs }, ahead, weight, whose) => {
        const clock = new FakeClock();
        const limiter = new RateLimiter({ maxRequests, windowMs: windowUs / 1_000, clock, acquireTimeoutMs: Infinity });
        for (const each of ahead) void limiter.acquire({ ...each, weight: Math.min(each.weight, maxRequests) });
        const wanted = Math.min(weight, maxRequests);
        const error = await limiter
          .acquire({ weight: wanted, owner: whose, acquireTimeoutMs: 0 })
          .catch((reason: unknown) => reason);
        if (error instanceof RateLimitedError) {
          let grantedMs = -1;
          void limiter.acquire({ weight: wanted, owner: whose }).then(() => {
            grantedMs = clock.now();
          });
          const waitMs = error.retryAfterMs ?? -1;
          await clock.advance(waitMs + 1);
          expect(Math.round(grantedMs * 1_000)).toBe(Math.round(waitMs * 1_000));
        }
        await clock.advance(100 * windowUs);
        await limiter.close();
      },
    ),
    { numRuns: RUNS },
  ));
