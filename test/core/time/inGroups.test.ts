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

test('of many lists at one instant one has its first group in this turn: they share it, and the next', async () => {
  const inTurnOf = new Map<number, number>();
  using turns = countTurns();
  const lists = Array.from({ length: 5 }, () => Array.from({ length: 128 }, (_, i) => i));
  const note = (): void => void inTurnOf.set(turns.count, (inTurnOf.get(turns.count) ?? 0) + 1);
  await Promise.all(lists.map((list) => inGroups(list, note)));
  expect([...inTurnOf.values()].reduce((all, each) => all + each)).toBe(640);
  expect(Math.max(...inTurnOf.values())).toBeLessThan(384);
});
