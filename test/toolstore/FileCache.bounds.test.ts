import { readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { CacheHouse, tools } from './fixtureCache.js';

test('memory is bounded by entries and by bytes; what left it is read again', async () => {
  const house = new CacheHouse();
  const cache = house.open({ maxEntries: 3, maxBytes: 1_000 });
  for (let i = 0; i < 10; i++) await cache.set(`k${i}`, i);
  expect(cache.stats.entries).toBe(3);
  await cache.set('big', 'x'.repeat(990));
  expect(cache.stats.entries).toBeLessThan(3);
  expect(cache.stats.bytes).toBeLessThanOrEqual(1_000);
  await cache.set('bigger', 'x'.repeat(2_000));
  expect(await cache.get('bigger')).toBe('x'.repeat(2_000));
  for (let i = 0; i < 10; i++) expect(await cache.get(`k${i}`)).toBe(i);
});

test('a value over maxEntryBytes is counted, not stored, and makes the older one void', async () => {
  const house = new CacheHouse();
  const cache = house.open({ maxEntryBytes: 100 });
  await cache.set('key', 'old');
  await cache.set('key', 'x'.repeat(99));
  expect(await cache.get('key')).toBeUndefined();
  expect(await house.open().get('key')).toBeUndefined();
  expect(cache.stats.refused).toBe(1);
  expect(house.logged).toContain('a value is too large for the cache');
});

test('what is stored is read again, however close to the bound and however long its name', async () => {
  const house = new CacheHouse();
  const cache = house.open({ maxEntryBytes: 1_000 });
  for (const length of [1, 500, 590, 600, 5_000]) {
    const name = '\u0001'.repeat(length);
    for (const bytes of [100, 900, 952]) await cache.setTools(name, tools('x'.repeat(bytes)), String(bytes));
    for (const bytes of [100, 900, 952]) {
      const again = house.open({ maxEntryBytes: 1_000 });
      expect(await again.getTools(name, String(bytes))).toEqual(await cache.getTools(name, String(bytes)));
    }
  }
  expect(cache.stats.refused).toBeGreaterThan(0);
  expect(house.quarantined()).toEqual([]);
});

test('too many waiting writes are a typed error, not a growing queue', async () => {
  const cache = new CacheHouse().open({ maxPendingWrites: 2 });
  const results = await Promise.allSettled([1, 2, 3].map((i) => cache.set(`k${i}`, i)));
  expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected']);
  expect(results[2]).toMatchObject({ reason: { code: 'ERR_QUEUE_FULL', waiting: 2 } });
  expect(await cache.get('k3')).toBeUndefined();
  await Promise.all([cache.set('k1', 2), cache.set('k1', 3), cache.set('k1', 4)]);
  expect(await cache.get('k1')).toBe(4);
});

test('many sets of one key write the last one, and few times', async () => {
  const house = new CacheHouse();
  const cache = house.open();
  await Promise.all(Array.from({ length: 1_000 }, (_, i) => cache.set('key', i)));
  expect(await house.open().get('key')).toBe(999);
  expect(cache.stats.writes).toBeLessThanOrEqual(2);
});

const cyclic: unknown[] = [];
cyclic.push(cyclic);
const deep = (): unknown => {
  let value: unknown[] = [];
  for (let i = 0; i < 100_000; i++) value = [value];
  return value;
};

test.each([
  ['undefined', () => undefined],
  ['a circle', () => cyclic],
  ['a bigint', () => 1n],
  ['a hundred thousand arrays in each other', deep],
] satisfies [string, () => unknown][])('what JSON cannot hold is an OptionError: %s', async (_name, make) => {
  const cache = new CacheHouse().open();
  await expect(cache.set('key', make())).rejects.toMatchObject({ code: 'ERR_OPTION', option: 'value' });
});

test('the sweep removes stale temporary files, expired entries, and the oldest beyond the bounds', async () => {
  const house = new CacheHouse();
  const cache = house.open({ maxFiles: 3 });
  await cache.set('expired', 1, { ttlMs: 10, staleMs: 0 });
  for (let i = 0; i < 5; i++) {
    await cache.set(`k${i}`, i, { ttlMs: Number.POSITIVE_INFINITY });
    const newest = house.files().filter((file) => readFileSync(file, 'utf8').endsWith(`\n${i}`));
    for (const file of newest) utimesSync(file, new Date(), new Date(Date.now() - 60_000 + i));
  }
  const [one] = house.files();
  const [old, young] = [`${one}.0123456789abcdef.tmp`, `${one}.fedcba9876543210.tmp`];
  writeFileSync(old, 'half');
  writeFileSync(young, 'half');
  utimesSync(old, new Date(), new Date(Date.now() - 3_600_000));
  await house.clock.advance(1_000);
  await expect.poll(() => cache.stats.swept).toBe(4);
  expect(house.files()).toContain(young);
  expect(house.files()).not.toContain(old);
  expect(house.files().length).toBe(4);
  expect(await house.open().get('k0')).toBeUndefined();
  expect(await house.open().get('k4')).toBe(4);
});

test('the sweep removes the oldest files beyond `maxDiskBytes`', async () => {
  const house = new CacheHouse();
  const cache = house.open({ maxDiskBytes: 25_000 });
  for (let i = 0; i < 5; i++) {
    await cache.set(`k${i}`, `${i}`.repeat(10_000));
    const newest = house.files().filter((file) => readFileSync(file, 'utf8').includes(`${i}`.repeat(10_000)));
    for (const file of newest) utimesSync(file, new Date(), new Date(Date.now() - 60_000 + i * 1_000));
  }
  await house.clock.advance(1_000);
  await expect.poll(() => cache.stats.swept).toBe(3);
  expect(house.files()).toHaveLength(2);
  const other = house.open();
  expect(await other.get('k2')).toBeUndefined();
  expect(await other.get('k4')).toBe('4'.repeat(10_000));
});
