import { execFileSync, spawnSync } from 'node:child_process';
import { chownSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { tempFolder } from '../support/tempFolder.js';
import { CacheHouse, tools } from './fixtureCache.js';

/** A file system of the test's own; undefined where mounting is not permitted, said loudly. */
function mountTmpfs(sizeKiB: number): string | undefined {
  const folder = tempFolder();
  const { status, stderr } = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${sizeKiB}k`, 'tmpfs', folder]);
  if (status !== 0) {
    console.warn(`SKIPPED: a tmpfs cannot be mounted here, so a real full disk is not tested: ${stderr}`);
    return undefined;
  }
  onTestFinished(() => void execFileSync('umount', ['-l', folder]));
  return folder;
}

const DEGRADED = 'the cache works in memory only: its directory cannot be used';
const HEALED = 'the cache uses its directory again';

test('a full disk makes it a memory cache: no torn file, no older value behind a newer one, reported once, healed', async ({
  skip,
}) => {
  const folder = mountTmpfs(256);
  if (folder === undefined) return skip();
  const house = new CacheHouse(folder);
  const cache = house.open({ diskRetryMs: 1_000 });
  await cache.set('small', 1);
  await cache.set('large', 'old');
  writeFileSync(join(folder, 'ballast'), Buffer.alloc(180 * 1_024));
  const large = 'x'.repeat(100_000);
  await cache.set('large', large);
  await cache.set('larger', `${large}y`);
  expect(cache.stats).toMatchObject({ unsaved: 2, degraded: expect.stringContaining('ENOSPC') });
  expect(await cache.get('large')).toBe(large);
  expect(await cache.get('larger')).toBe(`${large}y`);
  const other = house.open();
  expect(await other.get('small')).toBe(1);
  expect(await other.get('large')).toBeUndefined();
  expect(other.stats.quarantined).toBe(0);
  expect(house.files().filter((file) => file.endsWith('.tmp'))).toEqual([]);
  await house.clock.advance(1_000);
  await expect.poll(() => cache.stats.writeFailures).toBeGreaterThanOrEqual(3);
  expect(house.logged.filter((line) => line === DEGRADED).length).toBe(1);
  rmSync(join(folder, 'ballast'));
  const healed = async () => {
    await house.clock.advance(1_000);
    return cache.stats.degraded === undefined;
  };
  await expect.poll(healed).toBe(true);
  expect(house.logged.at(-1)).toBe(HEALED);
  expect(await house.open().get('large')).toBe(large);
  expect(await house.open().get('larger')).toBe(`${large}y`);
});

test('a read-only directory serves what it has, takes new values in memory, and forgets what was deleted', async ({
  skip,
}) => {
  const folder = mountTmpfs(1_024);
  if (folder === undefined) return skip();
  const house = new CacheHouse(folder);
  const first = house.open();
  await first.set('damaged', 1);
  writeFileSync(house.file(), 'garbage');
  await first.set('kept', 1);
  await first.set('changed', 1);
  await first.set('deleted', 1);
  await first.setTools('s', tools('old'));
  const remount = (mode: 'ro' | 'rw') => execFileSync('mount', ['-o', `remount,${mode}`, folder]);
  remount('ro');
  const cache = house.open({ diskRetryMs: 1_000, maxEntries: 2, recheckMs: 0 });
  expect(await cache.get('damaged')).toBeUndefined();
  expect(await cache.get('kept')).toBe(1);
  await cache.set('changed', 2);
  expect(await cache.get('changed')).toBe(2);
  await cache.delete('deleted');
  await cache.invalidate('s');
  expect(await cache.get('deleted')).toBeUndefined();
  expect(await cache.getTools('s')).toBeUndefined();
  expect(await cache.listServers()).toEqual([]);
  expect(cache.stats.degraded).toMatch(/EROFS/);
  // Pushed out of memory, the newer value is lost; the older one on disk must not come back for it.
  for (const key of ['x', 'y', 'z']) await cache.set(key, 0);
  expect(await cache.get('changed')).toBeUndefined();
  expect(await cache.get('x')).toBeUndefined();
  remount('rw');
  await house.clock.advance(1_000);
  await expect.poll(() => cache.stats.degraded).toBeUndefined();
  const after = house.open();
  expect(await after.get('kept')).toBe(1);
  for (const key of ['changed', 'deleted']) expect(await after.get(key)).toBeUndefined();
  expect(await after.getTools('s')).toBeUndefined();
  expect(await after.get('z')).toBe(0);
});

test('a file in the place of the directory, or of its parent, degrades and heals', async () => {
  const house = new CacheHouse();
  const directory = join(house.directory, 'parent/cache');
  writeFileSync(join(house.directory, 'parent'), 'a file');
  const cache = house.open({ directory, diskRetryMs: 1_000 });
  expect(await cache.get('key')).toBeUndefined();
  await cache.set('key', 1);
  expect(await cache.get('key')).toBe(1);
  expect(cache.stats.degraded).toBeDefined();
  rmSync(join(house.directory, 'parent'));
  await house.clock.advance(1_000);
  await expect.poll(() => cache.stats.degraded).toBeUndefined();
  expect(await house.open({ directory }).get('key')).toBe(1);
});

test('a directory removed under a running cache is made again; what was in it is gone', async () => {
  const house = new CacheHouse();
  const cache = house.open();
  await cache.set('a', 1);
  rmSync(house.directory, { recursive: true });
  await cache.set('b', 2);
  await house.clock.advance(1_000);
  expect(await cache.get('a')).toBeUndefined();
  expect(await house.open().get('b')).toBe(2);
  expect(cache.stats.degraded).toBeUndefined();
});

test("another user's folder in our place is not believed, and used again once it is ours", async ({ skip }) => {
  if (process.getuid?.() !== 0) return skip('only root can give a folder away');
  const house = new CacheHouse();
  await house.open().set('key', 'planted');
  chownSync(house.folder, 65_534, 65_534);
  const cache = house.open({ diskRetryMs: 1_000 });
  expect(await cache.get('key')).toBeUndefined();
  expect(cache.stats.degraded).toMatch(/belongs to user 65534/);
  await house.clock.advance(1_000);
  expect(await cache.get('other')).toBeUndefined();
  // Each of the caches may see it, since each looks at every use.
  expect([...new Set(house.logged)]).toEqual([DEGRADED]);
  await cache.set('key', 'mine');
  expect(await cache.get('key')).toBe('mine');
  chownSync(house.folder, 0, 0);
  await house.clock.advance(1_000);
  await expect.poll(() => cache.stats.degraded).toBeUndefined();
  expect([...new Set(house.logged)]).toEqual([DEGRADED, HEALED]);
  expect(await house.open().get('key')).toBe('mine');
});

test('twenty values that do not fit keep no small one from the disk for long', async ({ skip }) => {
  const folder = mountTmpfs(256);
  if (folder === undefined) return skip();
  const house = new CacheHouse(folder);
  const cache = house.open({ diskRetryMs: 1_000 });
  await cache.set('first', 0);
  const ballast = join(folder, 'ballast');
  expect(() => writeFileSync(ballast, Buffer.alloc(512 * 1_024))).toThrow('ENOSPC');
  for (let i = 0; i < 20; i++) await cache.set(`large${i}`, 'x'.repeat(100_000));
  await cache.set('small', 1);
  expect(cache.stats.unsaved).toBe(21);
  truncateSync(ballast, statSync(ballast).size - 8_192);
  const saved = async () => {
    await house.clock.advance(1_000);
    return cache.stats.unsaved;
  };
  await expect.poll(saved).toBe(20);
  expect(await house.open().get('small')).toBe(1);
});

test('what the disk refused is tried once more at close', async () => {
  const house = new CacheHouse();
  writeFileSync(house.folder, 'a file');
  const cache = house.open();
  await cache.set('key', 1);
  rmSync(house.folder);
  await cache.close();
  expect(await house.open().get('key')).toBe(1);
});
