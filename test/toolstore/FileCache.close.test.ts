import { expect, test } from 'vitest';
import { CacheHouse, deferred, tools } from './fixtureCache.js';

test('close waits for writes and loaders under way, keeps what they bring, and gives everyone one promise', async () => {
  const house = new CacheHouse();
  const cache = house.open();
  const load = deferred<string>();
  let started = false;
  const loading = cache.getOrLoad('loaded', () => {
    started = true;
    return load.promise;
  });
  await expect.poll(() => started).toBe(true);
  const writing = Array.from({ length: 20 }, (_, i) => cache.set(`k${i}`, i));
  const closing = cache.close();
  expect(cache.close()).toBe(closing);
  load.resolve('value');
  expect(await loading).toBe('value');
  await closing;
  await Promise.all(writing);
  expect(cache.close()).toBe(closing);
  const again = house.open();
  expect(await again.get('loaded')).toBe('value');
  for (let i = 0; i < 20; i++) expect(await again.get(`k${i}`)).toBe(i);
});

test('from the first close on every method rejects with ClosedError', async () => {
  const cache = new CacheHouse().open();
  await cache.set('key', 1);
  const store = cache.eraStore();
  const closing = cache.close();
  const calls = (): Promise<unknown>[] => [
    cache.get('key'),
    cache.lookup('key'),
    cache.set('key', 2),
    cache.delete('key'),
    cache.getOrLoad('key', () => 1),
    cache.getTools('s'),
    cache.lookupTools('s'),
    cache.setTools('s', tools('a')),
    cache.setTools('s', tools('a'), undefined, { complete: false }),
    cache.getOrLoadTools('s', () => ({ tools: [] })),
    cache.invalidate('s'),
    cache.invalidate('s', 'x'),
    cache.listServers(),
    store.get('fp'),
    store.set('fp', { era: 'legacy', at: 0 }),
    store.delete('fp'),
  ];
  for (const each of await Promise.allSettled(calls())) expect(each).toMatchObject({ reason: { code: 'ERR_CLOSED' } });
  await closing;
  for (const each of await Promise.allSettled(calls())) expect(each).toMatchObject({ reason: { code: 'ERR_CLOSED' } });
});

test('a loader that never ends is aborted at the deadline, named, and its callers get ClosedError', async () => {
  const house = new CacheHouse();
  const cache = house.openLoose();
  let signal: AbortSignal | undefined;
  const loading = cache.getOrLoad('key', (context) => {
    signal = context.signal;
    return new Promise(() => undefined);
  });
  loading.catch(() => undefined);
  await expect.poll(() => signal).toBeDefined();
  const closing = cache.close({ graceMs: 1_000 });
  closing.catch(() => undefined);
  await house.clock.advance(999);
  expect(signal?.aborted).toBe(false);
  await house.clock.advance(1);
  await expect(loading).rejects.toMatchObject({ code: 'ERR_CLOSED' });
  await expect(closing).rejects.toMatchObject({
    errors: [{ code: 'ERR_SHUTDOWN_TIMEOUT', what: 'loader of "key"', timeoutMs: 1_000 }],
  });
  expect(signal?.aborted).toBe(true);
  await expect.poll(() => house.clock.armedTimers).toBe(0);
});

test('a loader that comes back after it was given up stores nothing', async () => {
  const house = new CacheHouse();
  const cache = house.openLoose();
  const load = deferred<string>();
  let started = false;
  const loading = cache.getOrLoad('key', () => {
    started = true;
    return load.promise;
  });
  loading.catch(() => undefined);
  await expect.poll(() => started).toBe(true);
  await expect(cache.close({ graceMs: 0 })).rejects.toThrow(AggregateError);
  load.resolve('late');
  await load.promise;
  await house.clock.advance(0);
  expect(house.files()).toEqual([]);
  await expect(loading).rejects.toMatchObject({ code: 'ERR_CLOSED' });
});

test('a close without grace still leaves only whole files', async () => {
  const house = new CacheHouse();
  const cache = house.open();
  const sets = Array.from({ length: 50 }, (_, i) => cache.set(`k${i}`, 'x'.repeat(10_000)));
  await cache.close({ graceMs: 0 });
  await Promise.all(sets);
  expect(house.files().filter((file) => file.endsWith('.tmp'))).toEqual([]);
  const again = house.open();
  for (let i = 0; i < 50; i++) expect(await again.get(`k${i}`)).toBe('x'.repeat(10_000));
});

test('no timer is left, whatever was armed: the sweep, the retry of a full disk', async () => {
  const house = new CacheHouse();
  const cache = house.open();
  await house.clock.advance(1_000);
  await expect.poll(() => house.clock.armedTimers).toBe(1);
  await cache[Symbol.asyncDispose]();
  expect(house.clock.armedTimers).toBe(0);
});
