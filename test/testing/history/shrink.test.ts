import fc from 'fast-check';
import { expect, test } from 'vitest';
import { makePlan } from '../../../bench/chaos/plan.js';
import { shrink } from '../../../bench/chaos/shrink.js';

test('a plan shrinks to exactly the rules that it takes to fail', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(fc.nat(60), { minLength: 1, maxLength: 30 }),
      fc.nat(),
      fc.nat(4),
      async (all, from, count) => {
        const needed = all.slice(from % all.length).slice(0, count);
        const fails = async (subset: readonly number[]): Promise<boolean> =>
          needed.every((each) => subset.includes(each));
        expect(await shrink(all, fails)).toEqual(needed);
      },
    ),
    { numRuns: 300 },
  );
});

test('the same seed gives the same plan, another seed another', () => {
  expect(makePlan(7, 4_000)).toEqual(makePlan(7, 4_000));
  expect(makePlan(7, 4_000)).not.toEqual(makePlan(8, 4_000));
});
