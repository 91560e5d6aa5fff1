import { chownSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { tempFolder } from '../support/tempFolder.js';
import { CacheHouse, tools } from './fixtureCache.js';

const VALUE = { tools: tools('a') };

/** Makes the one entry a miss, so that it goes to quarantine. */
async function damage(house: CacheHouse): Promise<void> {
  const cache = house.open({ recheckMs: 0 });
  await cache.set('key', VALUE);
  writeFileSync(house.file(), 'no entry');
  await cache.lookup('key').catch((error: unknown) => error);
  await cache.close();
}

test('a quarantine that is a link is not used: nothing of the folder it leads to is moved or deleted', async () => {
  const house = new CacheHouse();
  const others = tempFolder();
  for (let i = 0; i < 50; i++) writeFileSync(join(others, `precious-${i}`), 'x');
  symlinkSync(others, join(house.directory, 'quarantine'));
  await damage(house);
  expect(readdirSync(others)).toHaveLength(50);
});

test('files, folders, links and sockets of others in the quarantine stay; only what was named there goes', async () => {
  const house = new CacheHouse();
  const quarantine = join(house.directory, 'quarantine');
  mkdirSync(quarantine, { mode: 0o700 });
  for (let i = 0; i < 40; i++) writeFileSync(join(quarantine, `zz-precious-${i}`), 'x');
  mkdirSync(join(quarantine, 'folder'));
  writeFileSync(join(quarantine, 'folder', 'inside'), 'x');
  symlinkSync('/etc', join(quarantine, 'link'));
  const socket = createServer().listen(join(quarantine, 'socket'));
  for (let i = 0; i < 36; i++) await damage(house);
  const left = readdirSync(quarantine);
  expect(left.filter((name) => name.startsWith('zz-precious-'))).toHaveLength(40);
  expect(left).toEqual(expect.arrayContaining(['folder', 'link', 'socket']));
  expect(existsSync(join(quarantine, 'folder', 'inside'))).toBe(true);
  expect(left.length).toBe(43 + 32);
  await new Promise((done) => socket.close(done));
});

test.skipIf(process.getuid?.() !== 0)(
  'a folder that another user put in the place of ours serves nothing, also to a cache that is open',
  async () => {
    const [house, thief] = [new CacheHouse(), new CacheHouse()];
    await thief.open().set('key', 'planted');
    // It has used the folder, and has not read this entry.
    const cache = house.open({ recheckMs: 0 });
    await cache.set('other', VALUE);
    renameSync(house.folder, `${house.folder}-away`);
    renameSync(thief.folder, house.folder);
    chownSync(house.folder, 12_345, 12_345);
    const fresh = house.open({ recheckMs: 0 });
    const seen = await Promise.all(
      [cache, fresh].map((each) => each.lookup('key').catch((error: unknown) => String(error))),
    );
    expect(JSON.stringify(seen)).not.toContain('planted');
    rmSync(house.folder, { recursive: true });
  },
);
