import { expect, test } from 'vitest';
import type { EraStore } from '../../src/core/era/EraStore.js';
import { ServerNotFoundError } from '../../src/core/errors.js';
import { ToolCatalog, type ToolCatalogOptions } from '../../src/gateway/ToolCatalog.js';
import type { Caller, CompleteList, ListItems, ListKind } from '../../src/pool/McpPool.js';
import { closeAfter } from '../support/closeAfter.js';
import { FakePool } from '../support/FakePool.js';
import { CacheHouse, deferred, tools } from '../toolstore/fixtureCache.js';

type ListOptions = { readonly caller?: Caller; readonly signal?: AbortSignal; readonly maxPages?: number };

/** A pool whose lists the test answers by hand. */
class ListPool extends FakePool {
  readonly asked: (ListOptions & { readonly server: string })[] = [];
  answer: (server: string, options: ListOptions) => unknown = () => undefined;

  constructor() {
    super({ a: {}, b: {} });
  }

  override async listAll<K extends ListKind>(
    server: string,
    kind: K,
    options: ListOptions = {},
  ): Promise<CompleteList<ListItems[K]>> {
    expect(kind).toBe('tools');
    this.asked.push({ server, ...options });
    return (await this.answer(server, options)) as CompleteList<ListItems[K]>;
  }

  changed(server: string): void {
    this.emit('notification', { server, notice: { method: 'notifications/tools/list_changed' } });
  }
}

const list = (name: string, rest: Partial<CompleteList> = {}): CompleteList => ({
  items: tools(name),
  pages: 1,
  ttlMs: undefined,
  cacheScope: undefined,
  ...rest,
});

function open(options: Partial<ToolCatalogOptions> = {}) {
  const house = new CacheHouse();
  const cache = house.open();
  const pool = new ListPool();
  const catalog = closeAfter(new ToolCatalog({ pool, cache, ...options }));
  return { house, cache, pool, catalog };
}

test('one loader per server, and a fresh list is not asked for again', async () => {
  const { house, pool, catalog } = open();
  pool.answer = (server) => list(server, { ttlMs: 1_000 });
  const all = await Promise.all(Array.from({ length: 50 }, (_, i) => catalog.tools(i % 2 === 0 ? 'a' : 'b')));
  expect(all[0]).toEqual({ tools: tools('a'), stale: false, ageMs: 0 });
  expect(all[1]?.tools).toEqual(tools('b'));
  expect(pool.asked.map(({ server }) => server).sort()).toEqual(['a', 'b']);
  await house.clock.advance(999);
  expect(await catalog.tools('a')).toMatchObject({ stale: false, ageMs: 999 });
  expect(pool.asked.length).toBe(2);
});

test('a list without ttlMs is served stale, and asked for anew on each use', async () => {
  const { house, pool, catalog } = open();
  let version = 1;
  pool.answer = () => list(`v${version++}`);
  expect(await catalog.tools('a')).toMatchObject({ tools: tools('v1'), stale: false });
  expect(await catalog.tools('a')).toMatchObject({ tools: tools('v1'), stale: true });
  await house.clock.advance(0);
  expect(await catalog.tools('a')).toMatchObject({ tools: tools('v2'), stale: true });
});

test("a dead upstream's last good list stays, marked stale, over a restart too; without one its error comes through", async () => {
  const { house, cache, pool, catalog } = open();
  pool.answer = () => list('good', { ttlMs: 1_000 });
  await catalog.tools('a');
  await house.clock.advance(5_000);
  const dead = new ServerNotFoundError('a');
  pool.answer = () => Promise.reject(dead);
  expect(await catalog.tools('a')).toEqual({ tools: tools('good'), stale: true, ageMs: 5_000 });
  await cache.close();
  const restarted = closeAfter(new ToolCatalog({ pool, cache: house.open() }));
  expect(await restarted.tools('a')).toEqual({ tools: tools('good'), stale: true, ageMs: 5_000 });
  await expect(restarted.tools('b')).rejects.toBe(dead);
});

test('list_changed makes every list of that server void, the one under way too, and no other', async () => {
  const { pool, catalog } = open();
  pool.answer = (server) => list(server, { ttlMs: 60_000 });
  await Promise.all([catalog.tools('a'), catalog.tools('a', { caller: { principal: 'her' } }), catalog.tools('b')]);
  pool.changed('a');
  pool.emit('notification', { server: 'b', notice: { method: 'notifications/message' } });
  pool.answer = () => list('new', { ttlMs: 60_000 });
  expect((await catalog.tools('a')).tools).toEqual(tools('new'));
  expect((await catalog.tools('a', { caller: { principal: 'her' } })).tools).toEqual(tools('new'));
  expect((await catalog.tools('b')).tools).toEqual(tools('b'));
  const before = deferred<CompleteList>();
  pool.changed('a');
  pool.answer = () => before.promise;
  const early = catalog.tools('a');
  await expect.poll(() => pool.asked.length).toBe(6);
  pool.changed('a');
  pool.answer = () => list('after', { ttlMs: 60_000 });
  expect((await catalog.tools('a')).tools).toEqual(tools('after'));
  before.resolve(list('before', { ttlMs: 60_000 }));
  expect((await early).tools).toEqual(tools('before'));
  expect((await catalog.tools('a')).tools).toEqual(tools('after'));
});

test('after list_changed callers wait for the new list; the old one is for when the server is down, also over a restart', async () => {
  const { house, cache, pool, catalog } = open();
  pool.answer = () => list('old', { ttlMs: 60_000 });
  await catalog.tools('a');
  await cache.close();
  const again = house.open();
  const restarted = closeAfter(new ToolCatalog({ pool, cache: again }));
  pool.changed('a');
  const next = deferred<CompleteList>();
  pool.answer = () => next.promise;
  const waiting = restarted.tools('a');
  await expect.poll(() => pool.asked.length).toBe(2);
  expect(await again.getTools('a')).toBeUndefined();
  next.reject(new Error('down'));
  expect(await waiting).toMatchObject({ tools: tools('old'), stale: true });
  pool.answer = () => Promise.reject(new Error('down'));
  expect(await restarted.tools('a')).toMatchObject({ tools: tools('old'), stale: true });
  expect(pool.asked.length).toBe(2);
  const third = closeAfter(new ToolCatalog({ pool, cache: house.open() }));
  expect(await third.tools('a')).toMatchObject({ tools: tools('old'), stale: true });
  expect(pool.asked.length).toBe(3);
  pool.answer = () => list('new', { ttlMs: 60_000 });
  expect(await third.tools('a')).toMatchObject({ tools: tools('old'), stale: true });
  await house.clock.advance(1_000);
  expect(await third.tools('a')).toMatchObject({ tools: tools('new'), stale: false });
  await expect.poll(() => house.open().getTools('a')).toEqual(tools('new'));
});

test('a list that changed while it was fetched is kept for when the server is down, and not believed', async () => {
  const { house, pool, catalog } = open();
  const first = deferred<CompleteList>();
  pool.answer = () => first.promise;
  const waiting = catalog.tools('a');
  await expect.poll(() => pool.asked.length).toBe(1);
  pool.changed('a');
  first.resolve(list('overtaken', { ttlMs: 60_000 }));
  expect(await waiting).toMatchObject({ tools: tools('overtaken') });
  await house.clock.advance(0);
  pool.answer = () => Promise.reject(new Error('down'));
  expect(await catalog.tools('a')).toMatchObject({ tools: tools('overtaken'), stale: true });
  pool.answer = () => list('new', { ttlMs: 60_000 });
  await house.clock.advance(1_000);
  expect(await catalog.tools('a')).toMatchObject({ tools: tools('new'), stale: false });
});

test('a storm of list_changed is forgotten in two runs at most, for all catalogs of a cache; who waits may leave', async () => {
  const { cache, pool, catalog } = open();
  const other = closeAfter(new ToolCatalog({ pool, cache }));
  let version = 1;
  pool.answer = () => list(`v${version}`, { ttlMs: 60_000 });
  await catalog.tools('a');
  const invalidate = cache.invalidate.bind(cache);
  const disk = deferred<void>();
  let runs = 0;
  cache.invalidate = async (...given) => {
    runs++;
    await disk.promise;
    return invalidate(...given);
  };
  for (let i = 0; i < 1_000; i++) pool.changed('a');
  version = 2;
  expect([runs, catalog.inspect().invalidating]).toEqual([1, ['a']]);
  const control = new AbortController();
  const leaving = catalog.tools('a', { signal: control.signal });
  const staying = [catalog.tools('a'), other.tools('a', { caller: { principal: 'her' } })];
  control.abort('enough');
  await expect(leaving).rejects.toBe('enough');
  disk.resolve();
  expect((await Promise.all(staying)).map((each) => each.tools)).toEqual([tools('v2'), tools('v2')]);
  expect([runs, catalog.inspect().invalidating]).toEqual([2, []]);
  cache.invalidate = () => Promise.reject(new Error('no disk'));
  await expect(Promise.all([catalog.invalidate('a'), other.invalidate('a')])).rejects.toThrow('no disk');
  expect(catalog.inspect().invalidating).toEqual([]);
});

test('principals, capabilities and fingerprints are kept apart; what is public is shared among principals', async () => {
  let fingerprint = 'f1';
  const { pool, catalog } = open({ fingerprint: () => fingerprint });
  pool.answer = (_server, { caller }) => list(JSON.stringify(caller ?? null), { ttlMs: 60_000 });
  const callers: Caller[] = [{}, { principal: 'her' }, { principal: 'him' }, { capabilities: { sampling: {} } }];
  for (const caller of callers) {
    expect((await catalog.tools('a', { caller })).tools).toEqual(tools(JSON.stringify(caller)));
    expect((await catalog.tools('a', { caller: { ...caller, key: 'k' } })).tools).toEqual(
      tools(JSON.stringify(caller)),
    );
  }
  fingerprint = 'f2';
  pool.answer = () => list('public', { ttlMs: 60_000, cacheScope: 'public' });
  const asked = pool.asked.length;
  await catalog.tools('a', { caller: { principal: 'her' } });
  expect((await catalog.tools('a', { caller: { principal: 'him' } })).tools).toEqual(tools('public'));
  expect(pool.asked.length).toBe(asked + 1);
});

test('an aborted caller leaves, and the last one to leave aborts the list under way', async () => {
  const { pool, catalog } = open();
  pool.answer = (_server, { signal }) =>
    new Promise((_resolve, reject) => signal?.addEventListener('abort', () => reject(signal.reason), { once: true }));
  const controller = new AbortController();
  const caller = catalog.tools('a', { signal: controller.signal });
  await expect.poll(() => pool.asked.length).toBe(1);
  controller.abort('enough');
  await expect(caller).rejects.toBe('enough');
  expect(pool.asked[0]?.signal?.aborted).toBe(true);
  pool.answer = () => list('again');
  expect((await catalog.tools('a')).tools).toEqual(tools('again'));
});

test('close leaves the pool without listeners, and pool and cache open', async () => {
  const { pool, cache, catalog } = open({ maxPages: 3 });
  pool.answer = () => list('x');
  await catalog.tools('a');
  expect(pool.asked[0]?.maxPages).toBe(3);
  expect(pool.listeners('notification')).toBe(1);
  const closing = catalog.close();
  expect(catalog.close()).toBe(closing);
  await closing;
  expect(pool.listeners('notification')).toBe(0);
  await expect(catalog.tools('a')).rejects.toMatchObject({ code: 'ERR_CLOSED' });
  await expect(catalog.invalidate('a')).rejects.toMatchObject({ code: 'ERR_CLOSED' });
  expect(await cache.listServers()).toEqual(['a']);
  expect(() => new ToolCatalog({ pool, cache, maxPages: 0 })).toThrow(expect.objectContaining({ code: 'ERR_OPTION' }));
});

test("the cache's store of verdicts is one that a pool takes", async () => {
  const store: EraStore = new CacheHouse().open().eraStore();
  await store.set('fp', { era: 'modern', version: '2026-07-28', at: 1 });
  expect(await store.get('fp')).toEqual({ era: 'modern', version: '2026-07-28', at: 1 });
});
