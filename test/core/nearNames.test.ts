import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isNear, nearNames } from '../../src/core/nearNames.js';

/** By the definition, without a bound. */
function edits(a: string, b: string): number {
  if (a === '' || b === '') return a.length + b.length;
  const [restA, restB] = [a.slice(1), b.slice(1)];
  if (a[0] === b[0]) return edits(restA, restB);
  return 1 + Math.min(edits(restA, b), edits(a, restB), edits(restA, restB));
}

test('near is what so many edits turn into one another', () => {
  const word = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 6 });
  fc.assert(
    fc.property(word, word, fc.integer({ min: 0, max: 4 }), (a, b, max) => {
      expect(isNear(a, b, max)).toBe(edits(a, b) <= max);
    }),
    { numRuns: 2_000 },
  );
});

test('a word that is far is told so by its first letters', () => {
  let looks = 0;
  const counted = (text: string): string =>
    new Proxy(Object(text), {
      get: (target, key) => {
        if (key !== 'length') looks++;
        return Reflect.get(target, key);
      },
    });
  expect(isNear(counted('x'.repeat(1_000)), counted('y'.repeat(1_000)), 2)).toBe(false);
  expect(looks).toBeLessThan(50);
});

test('names that differ by a third at most are offered, the closest three', () => {
  expect(nearNames('Servrs', ['servers', 'server', 'serve', 'serves', 'tools'])).toEqual([
    'servers',
    'serves',
    'server',
  ]);
});
