import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { FileCache } from '../../src/toolstore/FileCache.js';
import { NoOpCache } from '../../src/toolstore/NoOpCache.js';
import { closeAfter } from '../support/closeAfter.js';
import { CacheHouse, tools } from './fixtureCache.js';

test('a value survives a restart, equal and frozen all the way down', async () => {
  const house = new CacheHouse();
  const value = { list: [1, { deep: [true, null, 'ü\ud800'] }], empty: {} };
  await house.open().set('key', value);
  const read = await house.open().get<typeof value>('key');
  expect(read).toEqual(value);
  expect(Object.isFrozen(read?.list[1])).toBe(true);
  expect(Object.isFrozen(value)).toBe(false);
});

test('what the caller does to its object after a set changes nothing', async () => {
  const cache = new CacheHouse().open();
  const value = { a: 1 };
  const set = cache.set('key', value);
  value.a = 2;
  await set;
  expect(await cache.get('key')).toEqual({ a: 1 });
});

test('a set is seen by the next get at once, before it is on disk', async () => {
  const cache = new CacheHouse().open();
  const set = cache.set('key', 1);
  expect(await cache.get('key')).toBe(1);
  const gone = cache.delete('key');
  expect(await cache.get('key')).toBeUndefined();
  await Promise.all([set, gone]);
});

test('a value is fresh for ttlMs, then stale for staleMs, then gone, also after a restart', async () => {
  const house = new CacheHouse();
  const first = house.open();
  await first.set('key', 1, { ttlMs: 1_000, staleMs: 500 });
  for (const open of [() => first, () => house.open()]) {
    const clockStart = house.clock.now();
    await house.clock.advance(999 - clockStart);
    expect(await open().get('key')).toBe(1);
  }
  await house.clock.advance(1);
  for (const cache of [first, house.open()]) {
    expect(await cache.get('key')).toBeUndefined();
    expect(await cache.lookup('key')).toEqual({ value: 1, stale: true, ageMs: 1_000 });
  }
  await house.clock.advance(500);
  for (const cache of [first, house.open()]) expect(await cache.lookup('key')).toBeUndefined();
});

test('a step of the wall clock changes no age within a process', async () => {
  const house = new CacheHouse();
  const cache = house.open();
  await cache.set('key', 1, { ttlMs: 1_000, staleMs: 0 });
  house.clock.stepWall(3_600_000);
  expect(await cache.get('key')).toBe(1);
  house.clock.stepWall(-7_200_000);
  await house.clock.advance(999);
  expect(await cache.get('key')).toBe(1);
  await house.clock.advance(1);
  expect(await cache.get('key')).toBeUndefined();
});

test('a file from the future is a miss, and a value again when the clock is right again', async () => {
  const house = new CacheHouse();
  await house.open().set('key', 1);
  house.clock.stepWall(-60_000);
  expect(await house.open().lookup('key')).toBeUndefined();
  house.clock.stepWall(60_000);
  expect(await house.open().get('key')).toBe(1);
  expect(house.quarantined()).toEqual([]);
});

test('directory 0700, files 0600, whatever the umask', async () => {
  const house = new CacheHouse();
  const before = process.umask(0);
  try {
    await house.open({ directory: join(house.directory, 'a/b') }).set('key', 1);
  } finally {
    process.umask(before);
  }
  const folder = join(house.directory, 'a/b/v1');
  expect(statSync(folder).mode & 0o777).toBe(0o700);
  expect(statSync(dirname(folder)).mode & 0o777).toBe(0o700);
  for (const file of readdirSync(folder)) expect(statSync(join(folder, file)).mode & 0o777).toBe(0o600);
});

test('a folder of ours that others could read is closed to them', async () => {
  const house = new CacheHouse();
  mkdirSync(house.folder, { mode: 0o755 });
  await house.open().get('key');
  expect(statSync(house.folder).mode & 0o777).toBe(0o700);
});

test('lists of one scope are never seen by another, unless their upstream said public', async () => {
  const house = new CacheHouse();
  const cache = house.open();
  await cache.setTools('s', tools('hers'), 'her', { ttlMs: 60_000 });
  for (const each of [cache, house.open()]) {
    expect(await each.getTools('s', 'her')).toEqual(tools('hers'));
    expect(await each.lookupTools('s', 'him')).toBeUndefined();
    expect(await each.lookupTools('s')).toBeUndefined();
  }
  await cache.setTools('s', tools('nobodys'));
  expect(await cache.lookupTools('s', 'him')).toBeUndefined();
  await cache.setTools('s', tools('all'), 'her', { ttlMs: 60_000, cacheScope: 'public' });
  await house.clock.advance(1_000);
  for (const each of [cache, house.open()]) {
    for (const scope of ['her', 'him', undefined]) expect(await each.getTools('s', scope)).toEqual(tools('all'));
  }
  await cache.setTools('s', tools('only hers'), 'her', { ttlMs: 60_000, cacheScope: 'private' });
  expect(await cache.getTools('s', 'her')).toEqual(tools('only hers'));
  expect(await cache.getTools('s', 'him')).toEqual(tools('all'));
});

test("an upstream's ttlMs is honoured, absent it is stale at once, capped by maxTtlMs, raised by defaultTtlMs", async () => {
  const house = new CacheHouse();
  const cache = house.open({ maxTtlMs: 5_000, staleMs: 100 });
  const lifeOf = async (hints: object, options = {}): Promise<number> => {
    const one = house.open({ maxTtlMs: 5_000, directory: join(house.directory, 'x'), ...options });
    await one.setTools('s', tools('a'), undefined, hints);
    const start = house.clock.now();
    while ((await one.getTools('s')) !== undefined && house.clock.now() < start + 20_000)
      await house.clock.advance(500);
    return house.clock.now() - start;
  };
  expect(await lifeOf({ ttlMs: 2_000 })).toBe(2_000);
  expect(await lifeOf({ ttlMs: 9e9 })).toBe(5_000);
  expect(await lifeOf({})).toBe(0);
  expect(await lifeOf({ ttlMs: -1 })).toBe(0);
  expect(await lifeOf({ ttlMs: Number.NaN }, { defaultTtlMs: 1_000 })).toBe(1_000);
  expect(await lifeOf({}, { defaultTtlMs: 1_000 })).toBe(1_000);
  await cache.setTools('s', tools('a'), undefined, {});
  expect(await cache.lookupTools('s')).toEqual({ tools: tools('a'), stale: true, ageMs: 0 });
});

test('incomplete lists and results of retries after input_required are never stored', async () => {
  const cache = new CacheHouse().open();
  await cache.setTools('s', tools('good'));
  await cache.setTools('s', tools('part'), undefined, { complete: false });
  await cache.setTools('s', tools('asked'), undefined, { inputRequired: true });
  expect(await cache.getTools('s')).toEqual(tools('good'));
  expect(cache.stats.refused).toBe(2);
});

test('invalidate forgets every scope and fingerprint of a server, or one fingerprint, or one scope; nothing else', async () => {
  const house = new CacheHouse();
  const cache = house.open();
  const all = async () => {
    for (const name of ['a', 'b']) {
      for (const fingerprint of ['f', 'g']) {
        for (const scope of [undefined, 'x']) await cache.setTools({ name, fingerprint }, tools(name), scope);
      }
    }
  };
  const kept = async () => {
    const found: string[] = [];
    for (const each of [cache, house.open()]) {
      for (const name of ['a', 'b']) {
        for (const fingerprint of ['f', 'g']) {
          for (const scope of [undefined, 'x']) {
            const hit = await each.getTools({ name, fingerprint }, scope);
            if (hit !== undefined) found.push(`${name}${fingerprint}${scope ?? ''}`);
          }
        }
      }
    }
    return [...new Set(found)].join(' ');
  };
  await all();
  await cache.invalidate('a');
  expect(await kept()).toBe('bf bfx bg bgx');
  await all();
  await house.open().invalidate({ name: 'b', fingerprint: 'g' });
  await house.clock.advance(1_000);
  expect(await kept()).toBe('af afx ag agx bf bfx');
  await all();
  await cache.invalidate({ name: 'a', fingerprint: 'g' }, 'x');
  expect(await kept()).toBe('af afx ag bf bfx bg bgx');
  expect(await cache.listServers()).toEqual(['a', 'b']);
  await Promise.all([cache.invalidate('a'), cache.invalidate('b')]);
  expect(await cache.listServers()).toEqual([]);
  expect(house.files()).toEqual([]);
});

test('a list set while an invalidation is under way survives it', async () => {
  const house = new CacheHouse();
  const cache = house.open();
  await cache.setTools('s', tools('old'));
  const invalidated = cache.invalidate('s');
  const set = cache.setTools('s', tools('new'));
  await Promise.all([invalidated, set]);
  expect(await cache.getTools('s')).toEqual(tools('new'));
  expect(await house.open().getTools('s')).toEqual(tools('new'));
});

test('an invalidation that keeps lists keeps the newest one, whoever stored it', async () => {
  const house = new CacheHouse();
  const [mine, other] = [house.open(), house.open()];
  for (const scope of [undefined, 'x']) {
    await mine.setTools('s', tools('old'), 'x');
    await other.setTools('s', tools('new'), 'x');
    await mine.invalidate('s', scope, { keepAsFallback: true });
    expect(await mine.getTools('s', 'x')).toBeUndefined();
    for (const each of [mine, house.open()]) {
      expect(await each.lookupTools('s', 'x')).toMatchObject({ tools: tools('new'), stale: true });
    }
  }
});

test('an invalidation reaches a public list through any scope', async () => {
  const cache = new CacheHouse().open();
  await cache.setTools('s', tools('a'), 'x', { ttlMs: 1_000, cacheScope: 'public' });
  await cache.invalidate('s', 'x');
  expect(await cache.lookupTools('s', 'x')).toBeUndefined();
});

test("another process's set, delete and invalidation are noticed within recheckMs, its own newer set is kept", async () => {
  const house = new CacheHouse();
  const [mine, other] = [house.open(), house.open()];
  await mine.set('key', 1);
  await mine.setTools('s', tools('a'));
  expect(await other.get('key')).toBe(1);
  await other.set('key', 2);
  await other.invalidate('s');
  await house.clock.advance(999);
  expect(await mine.get('key')).toBe(1);
  await house.clock.advance(1);
  expect(await mine.get('key')).toBe(2);
  expect(await mine.getTools('s')).toBeUndefined();
  await other.delete('key');
  await house.clock.advance(1_000);
  expect(await mine.get('key')).toBeUndefined();
});

test('changes within one tick of the file system are told apart, also when an inode is used again', async () => {
  const house = new CacheHouse();
  const [mine, other] = [house.open({ recheckMs: 0 }), house.open({ recheckMs: 0 })];
  for (let i = 0; i < 200; i++) {
    for (let set = 0; set <= i % 3; set++) await other.set('key', 1_000 + 3 * i + set);
    expect(await mine.get('key')).toBe(1_000 + 3 * i + (i % 3));
  }
});

function linkOf(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch (error) {
    // The descriptor of the listing itself.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

test('a change that the file system stamps like the one before is noticed when it came within the same tick', async () => {
  const house = new CacheHouse();
  const [mine, other] = [house.open({ recheckMs: 0 }), house.open()];
  await other.set('key', 2);
  const second = readFileSync(house.file());
  await other.set('key', 1);
  const [file, like] = [house.file(), join(house.directory, 'like')];
  writeFileSync(like, '');
  execFileSync('touch', ['-r', file, like]);
  const now = vi.spyOn(Date, 'now').mockReturnValue(statSync(file).mtimeMs);
  onTestFinished(() => now.mockRestore());
  expect(await mine.get('key')).toBe(1);
  // The stamp comes a moment after the value.
  const isOpen = () => readdirSync('/proc/self/fd').some((fd) => linkOf(`/proc/self/fd/${fd}`) === file);
  await expect.poll(isOpen).toBe(false);
  await house.clock.advance(0);
  writeFileSync(file, second);
  execFileSync('touch', ['-r', like, file]);
  expect(await mine.get('key')).toBe(2);
});

test('bad arguments and options are OptionErrors, and nothing throws in place of rejecting', async () => {
  const cache = new CacheHouse().open();
  const bad = { code: 'ERR_OPTION' };
  await expect(cache.get('')).rejects.toMatchObject(bad);
  await expect(cache.set('k', 1, { ttlMs: -1 })).rejects.toMatchObject({ ...bad, option: 'ttlMs' });
  await expect(cache.getTools('')).rejects.toMatchObject({ ...bad, option: 'server' });
  await expect(cache.setTools('s', 'no' as never)).rejects.toMatchObject({ ...bad, option: 'tools' });
  await expect(cache.getOrLoad('k', 5 as never)).rejects.toMatchObject({ ...bad, option: 'loader' });
  await expect(cache.invalidate({ name: 's', fingerprint: '' })).rejects.toMatchObject(bad);
  for (const options of [
    { ttlMs: Number.NaN },
    { maxEntries: 0 },
    { maxBytes: 1.5 },
    { directory: '' },
    { fsync: 1 },
  ]) {
    expect(() => new FileCache(options as never)).toThrow(expect.objectContaining(bad));
  }
});

test('verdicts on eras survive restarts and end after eraTtlMs', async () => {
  const house = new CacheHouse();
  const verdict = { era: 'modern', version: '2026-07-28', at: house.clock.wallNow() } as const;
  await house.open({ eraTtlMs: 10_000 }).eraStore().set('fp', verdict);
  const store = house.open().eraStore();
  expect(await store.get('fp')).toEqual(verdict);
  expect(await store.get('other')).toBeUndefined();
  await house.clock.advance(10_000);
  expect(await store.get('fp')).toBeUndefined();
  await store.set('fp', verdict);
  await store.delete('fp');
  expect(await house.open().eraStore().get('fp')).toBeUndefined();
});

test('a NoOpCache keeps nothing, shares a loader among those who ask at once, and closes', async () => {
  const cache = closeAfter(new NoOpCache({ clock: new FakeClock() }));
  await cache.set('k', 1);
  await cache.setTools('s', tools('a'));
  expect(await cache.get('k')).toBeUndefined();
  expect(await cache.lookupTools('s')).toBeUndefined();
  expect(await cache.listServers()).toEqual([]);
  let loads = 0;
  const load = () => cache.getOrLoad('k', () => ++loads);
  expect(await Promise.all([load(), load()])).toEqual([1, 1]);
  expect(await load()).toBe(2);
  expect(await cache.getOrLoadTools('s', () => ({ tools: tools('a') }))).toMatchObject({ tools: tools('a') });
  await cache.eraStore().set('fp', { era: 'legacy', at: 0 });
  expect(await cache.eraStore().get('fp')).toBeUndefined();
  await cache.close();
  await expect(cache.get('k')).rejects.toMatchObject({ code: 'ERR_CLOSED' });
});
