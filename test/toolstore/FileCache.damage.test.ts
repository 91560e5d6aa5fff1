import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Quarantine } from '../../src/toolstore/disk/Quarantine.js';
import { CacheHouse, tools } from './fixtureCache.js';

const VALUE = { tools: tools('a', 'b'), text: 'ünïcode' };

/** What a new process makes of the damaged file; the next set must heal it. */
async function reads(house: CacheHouse): Promise<unknown> {
  const cache = house.open();
  const value = await cache.lookup('key');
  await cache.set('key', VALUE);
  const healed = await house.open().get('key');
  expect(healed).toEqual(VALUE);
  await cache.close();
  return value?.value;
}

test('a file cut at any byte is a miss and goes to quarantine', async () => {
  const house = new CacheHouse();
  await house.open().set('key', VALUE);
  const file = house.file();
  const whole = readFileSync(file);
  const cache = house.open({ recheckMs: 0 });
  for (let length = 0; length < whole.length; length++) {
    writeFileSync(file, whole.subarray(0, length));
    expect(await cache.lookup('key'), `cut at ${length}`).toBeUndefined();
  }
  expect(cache.stats.quarantined).toBe(whole.length);
  expect(house.quarantined().length).toBe(32);
  writeFileSync(file, whole.subarray(0, 10));
  expect(await reads(house)).toBeUndefined();
});

test('a file with any byte changed in any bit is a miss', async () => {
  const house = new CacheHouse();
  await house.open().set('key', VALUE);
  const file = house.file();
  const whole = readFileSync(file);
  const cache = house.open({ recheckMs: 0 });
  for (let at = 0; at < whole.length; at++) {
    const bytes = Buffer.from(whole);
    bytes[at] = (bytes[at] ?? 0) ^ (1 << (at % 8));
    writeFileSync(file, bytes);
    expect(await cache.lookup('key'), `byte ${at}`).toBeUndefined();
  }
  writeFileSync(file, whole);
  expect(await cache.get('key')).toEqual(VALUE);
  writeFileSync(file, Buffer.concat([whole, Buffer.from('x')]));
  expect(await reads(house)).toBeUndefined();
});

test("another version's file is a miss, and so is another key's", async () => {
  const house = new CacheHouse();
  const cache = house.open({ recheckMs: 0 });
  await cache.set('key', VALUE);
  const file = house.file();
  writeFileSync(file, readFileSync(file, 'latin1').replace('cache 1 ', 'cache 2 '), 'latin1');
  expect(await cache.lookup('key')).toBeUndefined();
  await cache.set('other', 'not yours');
  copyFileSync(house.file(), file);
  expect(await reads(house)).toBeUndefined();
  expect(house.quarantined().length).toBe(2);
});

test('an oversized file is moved away unread', async () => {
  const house = new CacheHouse();
  await house.open().set('key', VALUE);
  truncateSync(house.file(), 64 * 2 ** 20);
  expect(await reads(house)).toBeUndefined();
  // Too large to be kept even there.
  expect(house.quarantined()).toEqual([]);
});

test('a directory, a link, a pipe or a socket in the place of a file is a miss, and the next set heals it', async () => {
  const house = new CacheHouse();
  await house.open().set('key', VALUE);
  const file = house.file();
  const replace = async (make: () => void | Promise<void>): Promise<void> => {
    rmSync(file, { recursive: true, force: true });
    await make();
    const before = house.quarantined().length;
    expect(await reads(house)).toBeUndefined();
    expect(house.quarantined()).toHaveLength(before + 1);
  };
  await replace(() => {
    mkdirSync(join(file, 'inner'), { recursive: true });
    writeFileSync(join(file, 'inner/file'), 'x');
  });
  const target = join(house.directory, 'target');
  copyFileSync(file, target);
  await replace(() => symlinkSync(target, file));
  expect(readFileSync(target).length).toBeGreaterThan(0);
  await replace(() => void execFileSync('mkfifo', [file]));
  const server = createServer();
  const short = join(house.directory, 's');
  await replace(async () => {
    await new Promise<void>((resolve) => server.listen(short, resolve));
    renameSync(short, file);
  });
  await new Promise((resolve) => server.close(resolve));
});

test('a directory in the place of a file does not stop a set, a delete or an invalidation', async () => {
  const house = new CacheHouse();
  const cache = house.open();
  await cache.set('key', 1);
  await cache.setTools('s', tools('a'));
  const block = () => {
    for (const file of house.files()) {
      rmSync(file, { recursive: true });
      mkdirSync(file);
    }
  };
  block();
  await cache.set('key', 2);
  expect(await house.open().get('key')).toBe(2);
  block();
  await cache.delete('key');
  await cache.invalidate('s');
  expect(house.files()).toEqual([]);
  expect(cache.stats).toMatchObject({ degraded: undefined, unsaved: 0 });
});

test('damage is reported once for each file, and other keys do not notice', async () => {
  const house = new CacheHouse();
  const cache = house.open();
  await cache.set('key', VALUE);
  writeFileSync(house.file(), 'garbage');
  await cache.set('well', 1);
  const again = house.open();
  expect(await Promise.all(Array.from({ length: 10 }, () => again.get('key')))).toEqual(Array(10).fill(undefined));
  expect(await again.get('well')).toBe(1);
  expect(await again.listServers()).toEqual([]);
  expect(house.logged.filter((line) => /quarantine/.test(line)).length).toBe(1);
});

test('a list whose file is damaged is not listed, and the scopes beside it are', async () => {
  const house = new CacheHouse();
  const cache = house.open();
  await cache.setTools('a', tools('x'));
  writeFileSync(house.file(), 'garbage');
  await cache.setTools('b', tools('x'));
  expect(await house.open().listServers()).toEqual(['b']);
});

test('what was replaced by a good file since it was judged stays where it is, unreported', async () => {
  const house = new CacheHouse();
  const cache = house.open();
  await cache.set('key', 1);
  const taken: string[] = [];
  const quarantine = new Quarantine(join(house.directory, 'quarantine'), (file) => void taken.push(file));
  await quarantine.take(house.file(), 'name', 'the identity of what was there before', 'why');
  await quarantine.take(join(house.folder, 'gone'), 'name', 'any', 'why');
  expect(taken).toEqual([]);
  expect(house.quarantined()).toEqual([]);
  expect(await house.open().get('key')).toBe(1);
});
