import assert from 'node:assert/strict';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { LatencyWindow, RetryBudget } from '../../../src/concurrent/index.js';
import { OptionError } from '../../../src/errors.js';
import { FakeClock } from '../../../src/testing/FakeClock.js';

test('a storm of failures adds the share to the load and no more', async () => {
  const clock = new FakeClock();
  const budget = new RetryBudget({ retryRatio: 0.2, minRetriesPerSec: 1, windowMs: 10_000, clock });
  let retries = 0;
  for (let i = 0; i < 1_000; i++) {
    budget.deposit();
    // Every call fails, and so does every retry.
    while (budget.tryWithdraw()) retries++;
  }
  expect(retries).toBe(210);
  expect(budget.inspect()).toEqual({ balance: 0, calls: 1_000, retries: 210, refused: 1_000 });
  await clock.advance(10_000);
  expect(budget.balance).toBe(10);
});

test('in no window are there more retries than the reserve and the share of the calls of that window', async () => {
  const step = fc.record({ calls: fc.nat(20), tries: fc.nat(20), ms: fc.integer({ min: 0, max: 250 }) });
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 80, size: 'max' }),
      fc.constantFrom(0, 0.1, 0.5, 2),
      fc.constantFrom(0, 3),
      async (steps, retryRatio, minRetriesPerSec) => {
        const clock = new FakeClock();
        const budget = new RetryBudget({ retryRatio, minRetriesPerSec, windowMs: 1_000, clock });
        const calls: number[] = [];
        const retries: number[] = [];
        for (const { calls: count, tries, ms } of steps) {
          await clock.advance(ms);
          const slice = Math.floor(clock.now() / 100);
          const recent = (all: readonly number[]): number => all.filter((each) => each > slice - 10).length;
          for (let i = 0; i < count; i++) {
            budget.deposit();
            calls.push(slice);
          }
          for (let i = 0; i < tries; i++) {
            const allowed = recent(retries) + 1 <= minRetriesPerSec + retryRatio * recent(calls) + 1e-6;
            // `assert`, which costs a hundredth of `expect`: there are 50,000 of them.
            assert.equal(budget.tryWithdraw(), allowed);
            if (allowed) retries.push(slice);
          }
        }
      },
    ),
    { numRuns: 150 },
  );
});

test('of the retries of a window one caller has three quarters', async () => {
  const clock = new FakeClock();
  const budget = new RetryBudget({ retryRatio: 0.2, minRetriesPerSec: 1, windowMs: 10_000, clock });
  const take = (caller?: string): number => {
    let taken = 0;
    while (budget.tryWithdraw(caller)) taken++;
    return taken;
  };
  for (let i = 0; i < 10; i++) budget.deposit();
  expect([take('eve'), take('eve'), take('alice'), take()]).toEqual([9, 0, 3, 0]);
  expect(budget.inspect()).toMatchObject({ balance: 0, retries: 12 });
  await clock.advance(10_000);
  expect([take('eve'), take()]).toEqual([7, 3]);
});

test('quantiles are at most 9 % above the true ones, and old latencies are forgotten', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.double({ min: 0.1, max: 100_000, noNaN: true }), { minLength: 1, maxLength: 200, size: 'max' }),
      fc.constantFrom(0.5, 0.9, 0.95, 0.99, 1),
      async (latencies, ratio) => {
        const clock = new FakeClock();
        const window = new LatencyWindow({ windowMs: 1_000, clock });
        for (const each of latencies) window.record(each);
        const sorted = [...latencies].sort((a, b) => a - b);
        const exact = sorted[Math.ceil(sorted.length * ratio) - 1] as number;
        expect((window.quantile(ratio) ?? 0) / exact).toBeGreaterThan(1 - 1e-9);
        expect((window.quantile(ratio) ?? 0) / exact).toBeLessThan(1.0906);
        await clock.advance(499);
        expect(window.count).toBe(latencies.length);
        await clock.advance(501);
        expect(window.quantile(ratio)).toBeUndefined();
      },
    ),
    { numRuns: 100 },
  );
});

test.each([
  [() => new RetryBudget({ retryRatio: -1 }), 'retryRatio'],
  [() => new RetryBudget({ minRetriesPerSec: Number.NaN }), 'minRetriesPerSec'],
  [() => new RetryBudget({ windowMs: 1 }), 'windowMs'],
  [() => new LatencyWindow({ windowMs: 0 }), 'windowMs'],
  [() => new LatencyWindow().quantile(95), 'ratio'],
])('refuses a bad option: %s', (make, name) => {
  expect(make).toThrow(OptionError);
  expect(make).toThrow(name);
});
