import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { expect, test } from 'vitest';
import { GenericPoolShelf } from '../../../src/concurrent/resource/GenericPoolShelf.js';
import { Entry } from '../../../src/concurrent/resource/LiveSet.js';

test('generic-pool is known to its adapter alone, which is at most 150 lines', () => {
  const src = join(import.meta.dirname, '../../../src');
  const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));
  const knowing = files.filter((file) => /from 'generic-pool'/.test(readFileSync(join(src, file), 'utf8')));
  expect(knowing.map((file) => relative('', file))).toEqual([join('concurrent', 'resource', 'GenericPoolShelf.ts')]);
  const lines = readFileSync(join(src, knowing[0] as string), 'utf8').split('\n').length - 1;
  expect(lines).toBeLessThanOrEqual(150);
});

test('the shelf gives what was parked last, then makes new ones, and forgets what is dropped from its middle', async () => {
  let made = 0;
  const refused: unknown[] = [];
  const shelf = new GenericPoolShelf<number>(
    async () => new Entry(made++, 0, 0),
    (error) => refused.push(error),
  );
  const entries = [await shelf.take(), await shelf.take(), await shelf.take()];
  for (const entry of entries) shelf.park(entry);
  expect([...shelf.oldestFirst()].map(({ resource }) => resource)).toEqual([0, 1, 2]);
  const [, middle] = entries;
  if (middle !== undefined) {
    middle.state = 'gone';
    shelf.drop(middle);
  }
  expect([shelf.size, [...shelf.oldestFirst()].map(({ resource }) => resource)]).toEqual([2, [0, 2]]);
  const taken = [await shelf.take(), await shelf.take(), await shelf.take()];
  expect(taken.map(({ resource }) => resource)).toEqual([2, 0, 3]);
  expect(shelf.size).toBe(0);
  for (const entry of taken) {
    entry.state = 'gone';
    shelf.drop(entry);
  }
  await shelf.close();
  expect(refused).toEqual([]);
});

test('a creation that fails reaches who asked, once, and leaves nothing to park', async () => {
  let calls = 0;
  const refused: unknown[] = [];
  const shelf = new GenericPoolShelf<number>(
    () => Promise.reject(new Error(`no ${++calls}`)),
    (error) => refused.push(error),
  );
  const asked = shelf.take();
  expect(shelf.mayPark).toBe(false);
  await expect(asked).rejects.toThrow('no 1');
  expect([calls, shelf.mayPark, shelf.size]).toEqual([1, true, 0]);
  await shelf.close();
  expect(refused).toEqual([]);
});
