import { expect, test } from 'vitest';
import { inGroups } from '../../../src/core/time/inSlices.js';
import { countTurns } from '../../support/countTurns.js';

test('what brings much about behind it is done for a bounded number in each turn, in order, the first at once', async () => {
  using turns = countTurns();
  const done: number[] = [];
  const inTurnOf: number[] = [];
  const all = inGroups(
    Array.from({ length: 600 }, (_, i) => i),
    (thing, at) => {
      done.push(thing);
      inTurnOf.push(turns.count);
      expect(at).toBe(thing);
    },
  );
  expect(done.length).toBeGreaterThan(0);
  await all;
  expect(done).toEqual(Array.from({ length: 600 }, (_, i) => i));
  expect(new Set(inTurnOf).size).toBeGreaterThan(3);
});
