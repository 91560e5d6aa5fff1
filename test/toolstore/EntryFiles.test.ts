import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { EntryFiles } from '../../src/toolstore/disk/EntryFiles.js';
import { FORMAT_VERSION } from '../../src/toolstore/disk/envelope.js';
import { CacheHouse } from './fixtureCache.js';

const FILE = 'a.json';

/** A folder with one file, and the identity it had before somebody wrote it anew. */
async function rewritten(): Promise<{ files: EntryFiles; folder: string; old: string }> {
  const { directory } = new CacheHouse();
  const folder = join(directory, `v${FORMAT_VERSION}`);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, FILE), 'old');
  const files = new EntryFiles({ directory, maxEntryBytes: 1_000, fsync: false, onQuarantined: () => undefined });
  const old = (await files.identity(FILE)) as string;
  writeFileSync(join(folder, 'next'), 'a newer one');
  renameSync(join(folder, 'next'), join(folder, FILE));
  return { files, folder, old };
}

test('a file is removed only if it is still the one that was seen', async () => {
  const { files, folder, old } = await rewritten();
  expect(await files.removeIf(FILE, old)).toBe(false);
  expect(readFileSync(join(folder, FILE), 'utf8')).toBe('a newer one');
  expect(await files.removeIf(FILE, (await files.identity(FILE)) as string)).toBe(true);
  expect(readdirSync(folder)).toEqual([]);
  expect(await files.removeIf(FILE, old)).toBe(false);
});

test('one that was written anew after the look is put back, a directory too, and nothing else is left', async () => {
  const { files, folder, old } = await rewritten();
  // The look still finds the old one: the new one came an instant later.
  vi.spyOn(files, 'identity').mockResolvedValue(old);
  expect(await files.removeIf(FILE, old)).toBe(false);
  expect(readFileSync(join(folder, FILE), 'utf8')).toBe('a newer one');
  expect(readdirSync(folder)).toEqual([FILE]);
  rmSync(join(folder, FILE));
  mkdirSync(join(folder, FILE));
  expect(await files.removeIf(FILE, old)).toBe(false);
  expect(readdirSync(folder)).toEqual([FILE]);
});
