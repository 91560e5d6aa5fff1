import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

interface Mutant {
  readonly id: string;
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

test('each break of `npm run chaos:mutants` still has its one place in the product', () => {
  const mutants = JSON.parse(readFileSync('scripts/chaos/mutants.json', 'utf8')) as readonly Mutant[];
  const moved = mutants.filter(({ file, find }) => readFileSync(file, 'utf8').split(find).length !== 2);
  expect(moved.map(({ id, file }) => `${id} in ${file}`)).toEqual([]);
  expect(mutants.filter(({ find, replace }) => find === replace)).toEqual([]);
  expect(mutants.length).toBeGreaterThanOrEqual(12);
});
