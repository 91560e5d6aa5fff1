import type { Tool } from '@modelcontextprotocol/client';
import { expect, test, vi } from 'vitest';
import { CacheHouse, deferred, tools } from './fixtureCache.js';

test('however many ask for a key, one loader runs, and all get its value', async () => {
  const house = new CacheHouse();
  const cache = house.open();
  const load = deferred<string>();
  let loads = 0;
  const all = Promise.all(
    Array.from({ length: 1_000 }, () =>
      cache.getOrLoad('key', () => {
        loads++;
        return load.promise;
      }),
    ),
  );
  await expect.poll(() => loads).toBe(1);
  load.resolve('value');
  expect(new Set(await all)).toEqual(new Set(['value']));
  expect(loads).toBe(1);
  await cache.close();
  expect(await house.open().getOrLoad('key', () => 'another')).toBe('value');
});

test('a loader that answers at once still runs once', async () => {
  const cache = new CacheHouse().open();
  let loads = 0;
  await Promise.all(Array.from({ length: 100 }, () => cache.getOrLoad('key', () => ++loads)));
  expect(loads).toBe(1);
});

test('a stale value is served while one loader fetches the next behind it', async () => {
  const house = new CacheHouse();
  const cache = house.open();
  await cache.set('key', 'old', { ttlMs: 100, staleMs: 10_000 });
  await house.clock.advance(100);
  const load = deferred<string>();
  let loads = 0;
  const get = () =>
    cache.getOrLoad('key', () => {
      loads++;
      return load.promise;
    });
  expect(await Promise.all([get(), get(), get()])).toEqual(['old', 'old', 'old']);
  expect(await get()).toBe('old');
  expect(loads).toBe(1);
  load.resolve('new');
  await house.clock.advance(0);
  expect(await get()).toBe('new');
  expect(await cache.get('key')).toBe('new');
});

test('a failing loader never evicts a stale value, is tried again after retryMs, and is logged', async () => {
  const house = new CacheHouse();
  const cache = house.open({ retryMs: 1_000 });
  await cache.set('key', 'old', { ttlMs: 100, staleMs: 10_000 });
  await house.clock.advance(100);
  let loads = 0;
  const get = () =>
    cache.getOrLoad('key', () => {
      loads++;
      throw new Error('down');
    });
  for (let i = 0; i < 5; i++) {
    expect(await get()).toBe('old');
    await house.clock.advance(0);
  }
  expect(loads).toBe(1);
  await house.clock.advance(1_000);
  expect(await get()).toBe('old');
  await house.clock.advance(0);
  expect(loads).toBe(2);
  expect(house.logged).toContain('a value could not be loaded anew; the stale one stays');
  expect(await cache.lookup('key')).toMatchObject({ value: 'old', stale: true });
  await house.clock.advance(10_000);
  await expect(get()).rejects.toThrow('down');
});

test("a failed load rejects all who waited with the loader's own error, and the next caller loads again", async () => {
  const cache = new CacheHouse().open();
  const failure = new Error('down');
  let loads = 0;
  const fail = () => {
    loads++;
    return Promise.reject(failure);
  };
  const results = await Promise.allSettled([cache.getOrLoad('key', fail), cache.getOrLoad('key', fail)]);
  for (const result of results) expect(result).toMatchObject({ reason: failure });
  expect(loads).toBe(1);
  expect(await cache.getOrLoad('key', () => 'up')).toBe('up');
  expect(cache.stats).toMatchObject({ loads: 2, loadFailures: 1, loading: 0 });
});

test('an aborted caller leaves at once; the loader goes on for the others', async () => {
  const cache = new CacheHouse().open();
  const load = deferred<string>();
  const controller = new AbortController();
  let signal: AbortSignal | undefined;
  const loader = (context: { signal: AbortSignal }) => {
    signal = context.signal;
    return load.promise;
  };
  const leaving = cache.getOrLoad('key', loader, { signal: controller.signal });
  const staying = cache.getOrLoad('key', loader, { signal: new AbortController().signal });
  await expect.poll(() => signal).toBeDefined();
  controller.abort('enough');
  await expect(leaving).rejects.toBe('enough');
  expect(signal?.aborted).toBe(false);
  load.resolve('value');
  expect(await staying).toBe('value');
  await expect(cache.getOrLoad('key', loader, { signal: controller.signal })).rejects.toBe('enough');
});

test("when the last caller has left, the loader's signal aborts, and a new caller starts a new one", async () => {
  const cache = new CacheHouse().open();
  const load = deferred<string>();
  const controller = new AbortController();
  let signal: AbortSignal | undefined;
  const loader = (context: { signal: AbortSignal }) => {
    signal = context.signal;
    return load.promise;
  };
  const callers = [1, 2].map(() => cache.getOrLoad('key', loader, { signal: controller.signal }));
  await expect.poll(() => signal).toBeDefined();
  controller.abort('enough');
  for (const each of await Promise.allSettled(callers)) expect(each).toMatchObject({ reason: 'enough' });
  expect(signal?.aborted).toBe(true);
  expect(await cache.getOrLoad('key', () => 'new')).toBe('new');
  load.resolve('late');
  await load.promise;
  expect(await cache.get('key')).toBe('new');
});

test('what is loaded from before a set, a delete or an invalidation is handed over, not kept', async () => {
  const house = new CacheHouse();
  const cache = house.open();
  const changes: [() => Promise<void>, unknown][] = [
    [() => cache.set('key', 'set'), 'set'],
    [() => cache.delete('key'), undefined],
  ];
  for (const [change, expected] of changes) {
    await cache.delete('key');
    const load = deferred<string>();
    let started = false;
    const loading = cache.getOrLoad('key', () => {
      started = true;
      return load.promise;
    });
    await expect.poll(() => started).toBe(true);
    await change();
    load.resolve('before');
    expect(await loading).toBe('before');
    expect(await cache.get('key')).toBe(expected);
  }
  const load = deferred<{ tools: ReturnType<typeof tools>; ttlMs: number }>();
  let started = false;
  const loading = cache.getOrLoadTools(
    's',
    () => {
      started = true;
      return load.promise;
    },
    { scope: 'x' },
  );
  await expect.poll(() => started).toBe(true);
  const invalidated = cache.invalidate('s');
  const second = cache.getOrLoadTools('s', () => ({ tools: tools('new'), ttlMs: 1_000 }), { scope: 'x' });
  expect((await second).tools).toEqual(tools('new'));
  load.resolve({ tools: tools('before'), ttlMs: 1_000 });
  expect((await loading).tools).toEqual(tools('before'));
  await invalidated;
  expect(await cache.getTools('s', 'x')).toEqual(tools('new'));
});

test('failures and undefined are remembered only when asked, only for negativeTtlMs, and only in memory', async () => {
  const house = new CacheHouse();
  const cache = house.open();
  let loads = 0;
  const nothing = () => {
    loads++;
    return undefined;
  };
  expect(await cache.getOrLoad('key', nothing)).toBeUndefined();
  expect(await cache.getOrLoad('key', nothing)).toBeUndefined();
  expect(loads).toBe(2);
  expect(await cache.getOrLoad('key', nothing, { negativeTtlMs: 1_000 })).toBeUndefined();
  expect(await cache.getOrLoad('key', nothing, { negativeTtlMs: 1_000 })).toBeUndefined();
  expect(loads).toBe(3);
  await house.clock.advance(1_000);
  const fail = () => {
    loads++;
    throw new Error('down');
  };
  for (let i = 0; i < 3; i++)
    await expect(cache.getOrLoad('key', fail, { negativeTtlMs: 1_000 })).rejects.toThrow('down');
  expect(loads).toBe(4);
  expect(await house.open().getOrLoad('key', () => 'found')).toBe('found');
  await cache.set('key', 'set');
  expect(await cache.getOrLoad('key', fail)).toBe('set');
  // A write behind may still have its temporary file there.
  await expect.poll(() => house.files().length).toBe(1);
});

test('a loader says how long its value lives, or that it must not be kept', async () => {
  const house = new CacheHouse();
  const cache = house.open();
  await cache.getOrLoad('short', ({ hint }) => {
    hint({ ttlMs: 10, staleMs: 0 });
    return 1;
  });
  expect(await cache.get('short')).toBe(1);
  await house.clock.advance(10);
  expect(await cache.lookup('short')).toBeUndefined();
  await cache.getOrLoad('never', ({ hint }) => {
    hint({ store: false });
    return 1;
  });
  expect(await cache.get('never')).toBeUndefined();
  expect(cache.stats.refused).toBe(1);
});

test('a loaded value that is not JSON is an OptionError for those who wait', async () => {
  const cache = new CacheHouse().open();
  await expect(cache.getOrLoad('key', () => 1n)).rejects.toMatchObject({ code: 'ERR_OPTION' });
  await expect(cache.getOrLoadTools('s', () => ({ tools: 5 as never }))).rejects.toMatchObject({ option: 'tools' });
});

test("a load of tools keeps its upstream's rules: public, private, incomplete, input_required, no ttlMs", async () => {
  const house = new CacheHouse();
  const cache = house.open();
  const load = (name: string, hints: object, scope?: string) =>
    cache.getOrLoadTools('s', () => ({ tools: tools(name), ...hints }), { scope });
  expect(await load('part', { complete: false }, 'her')).toEqual({ tools: tools('part'), stale: false, ageMs: 0 });
  expect(await load('asked', { inputRequired: true }, 'her')).toMatchObject({ tools: tools('asked') });
  expect(await cache.lookupTools('s', 'her')).toBeUndefined();
  expect(await load('hers', { ttlMs: 1_000 }, 'her')).toMatchObject({ stale: false });
  expect(await load('his', { cacheScope: 'private' }, 'him')).toMatchObject({ tools: tools('his'), stale: false });
  expect(await cache.lookupTools('s', 'him')).toMatchObject({ tools: tools('his'), stale: true });
  expect(await load('all', { cacheScope: 'public', ttlMs: 1_000 }, 'him')).toMatchObject({
    tools: tools('his'),
    stale: true,
  });
  await house.clock.advance(0);
  expect(await cache.getTools('s', 'him')).toEqual(tools('all'));
  expect(await load('unused', {}, 'them')).toMatchObject({ tools: tools('all'), stale: false });
  expect(await cache.getTools('s', 'her')).toEqual(tools('hers'));
});

test('large values that are loaded together are made into text and back each in a turn of its own', async () => {
  const cache = new CacheHouse().open();
  const value = Array.from({ length: 400_000 }, (_, i) => i);
  let begun = 0;
  let release = (): void => undefined;
  const gate = new Promise<void>((resolve) => {
    release = resolve;
  });
  let turn = 0;
  let ticking = setImmediate(function tick() {
    turn++;
    ticking = setImmediate(tick);
  });
  const loads = [1, 2, 3].map(async (nth) => {
    await cache.getOrLoad(`list ${nth}`, async () => {
      begun++;
      await gate;
      return value;
    });
    return turn;
  });
  await expect.poll(() => begun).toBe(3);
  release();
  const turns = await Promise.all(loads);
  clearImmediate(ticking);
  expect(new Set(turns).size).toBe(3);
});

test('a long list of tools is kept, written, outdated and read tool by tool, in turns of the event loop', async () => {
  const house = new CacheHouse();
  const list = Array.from({ length: 500 }, (_, at) => tools(`t${at}`)[0] as Tool);
  const [parse, stringify] = [vi.spyOn(JSON, 'parse'), vi.spyOn(JSON, 'stringify')];
  const load = async () => ({ tools: list, ttlMs: 1_000 });
  const cache = house.open();
  expect((await cache.getOrLoadTools({ name: 's' }, load)).tools).toEqual(list);
  await cache.invalidate({ name: 's' }, undefined, { keepAsFallback: true });
  await cache.close();
  expect(await house.open().lookupTools({ name: 's' })).toMatchObject({ tools: list, stale: true });
  const most = Math.max(...parse.mock.calls.map(([text]) => text.length));
  const whole = stringify.mock.calls.filter(([value]) => Array.isArray(value) && value.length > 100);
  vi.restoreAllMocks();
  expect(most).toBeLessThan(1_000);
  expect(whole).toEqual([]);
});
