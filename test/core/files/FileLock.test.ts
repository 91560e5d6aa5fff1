import { mkdirSync, readdirSync, readFileSync, readlinkSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { FileLock } from '../../../src/core/files/FileLock.js';
import { tempFolder } from '../../support/tempFolder.js';

const PATH = 'mcp.json.lock';
const TEXTS = [
  '',
  '4711',
  'a lock of another program',
  '{"pid":1}',
  '{"host":"here","pid":999999999}',
  '[]',
  'null',
  '{',
];
/** A process that is gone, by its number: in this namespace of pids, and in another. */
const gone = (pids: string): string => JSON.stringify({ host: hostname(), pids, pid: 2 ** 22 + 1, id: 'a' });

test('what is no lock of ours is waited for, however old it is, and stays as it is', async () => {
  for (const put of [...TEXTS.map((text) => (path: string) => writeFileSync(path, text)), mkdirSync, linkTo]) {
    const path = join(tempFolder(), PATH);
    put(path);
    if (put !== linkTo) utimesSync(path, new Date(0), new Date(0));
    const before = contents(path);
    const ending = new AbortController();
    let looks = 0;
    const taken = FileLock.take((use) => {
      if (++looks === 2) ending.abort(new Error('enough'));
      return use(path);
    }, ending.signal);
    await expect(taken).rejects.toThrow('enough');
    expect([contents(path), readdirSync(join(path, '..'))]).toEqual([before, [PATH]]);
  }
});

test('a lock counts for nothing once its owner is gone, where that can be told', async () => {
  const path = join(tempFolder(), PATH);
  writeFileSync(path, gone(readlinkSync('/proc/self/ns/pid')));
  const lock = await FileLock.take((use) => use(path), new AbortController().signal);
  await lock.release();
  writeFileSync(path, gone('pid:[1]'));
  const ending = new AbortController();
  const waiting = FileLock.take((use) => use(path), ending.signal);
  ending.abort(new Error('enough'));
  await expect(waiting).rejects.toThrow('enough');
  expect(readdirSync(join(path, '..'))).toEqual([PATH]);
});

const linkTo = (path: string): void => symlinkSync('/none', path);

function contents(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    return String((error as NodeJS.ErrnoException).code);
  }
}
