import { expect, test } from 'vitest';
import { Turns } from '../../../src/core/wait/Turns.js';

test('owners take turns, each with its oldest, and what was deleted is not taken', () => {
  const turns = new Turns<string, number>();
  for (const item of [1, 2, 3, 4]) turns.add('a', item);
  turns.add('b', 10);
  turns.add('c', 20);
  expect(turns.size).toBe(6);
  expect(turns.delete('a', 2)).toBe(true);
  expect(turns.delete('a', 2)).toBe(false);
  expect(turns.delete('b', 1)).toBe(false);
  expect([turns.take(), turns.take(), turns.take(), turns.take()]).toEqual([1, 10, 20, 3]);
  expect(turns.size).toBe(1);
  expect([turns.take(), turns.take()]).toEqual([4, undefined]);
  expect(turns.size).toBe(0);
});

test('the owner that has most loses its oldest', () => {
  const turns = new Turns<string, number>();
  for (const item of [1, 2]) turns.add('few', item);
  for (const item of [10, 11, 12]) turns.add('most', item);
  expect(turns.takeOfMost()).toBe(10);
  expect(turns.size).toBe(4);
  expect([turns.take(), turns.take(), turns.take()]).toEqual([1, 11, 2]);
  expect(turns.takeOfMost()).toBe(12);
  expect(turns.takeOfMost()).toBeUndefined();
});

test('who is next can be looked at', () => {
  const turns = new Turns<string, number>();
  for (const item of [10, 11]) turns.add('a', item);
  turns.add('b', 1);
  for (const item of [10, 1, 11]) expect([turns.next, turns.take()]).toEqual([item, item]);
  expect(turns.next).toBeUndefined();
});
