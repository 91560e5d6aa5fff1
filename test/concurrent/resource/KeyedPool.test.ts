import { expect, test, vi } from 'vitest';
import { KeyedPool, type KeyedPoolOptions, type Lease } from '../../../src/pool/index.js';
import { FakeClock } from '../../../src/testing/FakeClock.js';
import { deferred, outcome } from './setupPool.js';

const tick = () => new Promise(setImmediate);
const forever = Number.POSITIVE_INFINITY;

interface Item {
  readonly key: string;
  readonly id: number;
}

/** A pool whose factory counts what is alive, over all and by key. */
function setup(options: KeyedPoolOptions = {}) {
  const clock = new FakeClock();
  const made: Item[] = [];
  const ends: string[] = [];
  const alive = new Set<Item>();
  let worst = 0;
  const pool = new KeyedPool<string, Item>(
    {
      create: ({ key }) => {
        const item = { key, id: made.length };
        made.push(item);
        alive.add(item);
        worst = Math.max(worst, alive.size);
        return item;
      },
      destroy: (item, { key, reason }) => {
        alive.delete(item);
        ends.push(`${key} ${reason}`);
      },
    },
    { clock, random: () => 0, ...options },
  );
  return { clock, pool, made, ends, alive, worst: () => worst };
}

test('each key has resources of its own, made on use; a key that idles is gone, and leaves no timer', async () => {
  const { pool, clock, made, ends } = setup({ maxResources: 4, parkAfterMs: 100, idleTimeoutMs: 200 });
  const a = await pool.acquire('a');
  const b = await pool.acquire('b');
  expect([a.resource.key, b.resource.key]).toEqual(['a', 'b']);
  expect(pool.keys()).toEqual(['a', 'b']);
  a.release();
  expect(pool.tryAcquire('b')).toBeUndefined();
  expect(pool.tryAcquire('c')).toBeUndefined();
  const again = pool.tryAcquire('a') as Lease<Item>;
  expect(again.resource).toBe(a.resource);
  again.release();
  await clock.advance(1_000);
  expect([pool.keys(), ends, made.length]).toEqual([['b'], ['a idle'], 2]);
  b.release();
  await clock.advance(1_000);
  expect(pool.stats).toMatchObject({ keys: 0, resources: 0, inUse: 0 });
  expect(clock.armedTimers).toBe(0);
  await pool.close();
});

test('at the bound what idles longest in another key ends for the one in need', async () => {
  const { pool, clock, ends, worst } = setup({ maxResources: 2, parkAfterMs: forever });
  (await pool.acquire('a')).release();
  await clock.advance(2_000);
  (await pool.acquire('b')).release();
  await clock.advance(2_000);
  const c = await pool.acquire('c');
  expect([ends, worst()]).toEqual([['a evicted'], 2]);
  expect(pool.keys()).toEqual(['b', 'c']);
  c.release();
  await pool.close();
});

test('keys that wait take turns, one resource each, whatever the number of their callers', async () => {
  const { pool, clock } = setup({ maxResources: 1, maxHoldMs: 0 });
  const order: string[] = [];
  const work = async (key: string): Promise<void> => {
    const lease = await pool.acquire(key);
    order.push(key);
    await tick();
    lease.release();
  };
  const all = [1, 2, 3, 4, 5, 6].map(() => work('busy'));
  all.push(work('x'), work('y'));
  for (let i = 0; i < 60; i++) await clock.advance(50);
  await Promise.all(all);
  expect(order.indexOf('x')).toBeLessThanOrEqual(2);
  expect(order.indexOf('y')).toBeLessThanOrEqual(3);
  await pool.close();
});

test('a key with waiting callers keeps its resource for maxHoldMs, and no longer while another key has fewer', async () => {
  const { pool, clock, ends } = setup({ maxResources: 1, maxHoldMs: 500 });
  let held = await pool.acquire('busy');
  let served = false;
  const other = pool.acquire('other').then((lease) => {
    served = true;
    return lease;
  });
  const next = pool.acquire('busy');
  await clock.advance(300);
  held.release();
  held = await next;
  expect(served).toBe(false);
  const third = pool.acquire('busy');
  await clock.advance(400);
  held.release();
  const lease = await other;
  expect([lease.resource.key, ends]).toEqual(['other', ['busy evicted']]);
  lease.release();
  (await third).release();
  await pool.close();
});

test('a key that has as much as any other takes nothing from them', async () => {
  const { pool, clock, ends } = setup({ maxResources: 2, maxHoldMs: 0 });
  const [a, b] = [await pool.acquire('a'), await pool.acquire('b')];
  const more = [
    outcome(pool.acquire('a', { acquireTimeoutMs: 3_000 })),
    outcome(pool.acquire('b', { acquireTimeoutMs: 3_000 })),
  ];
  await clock.advance(4_000);
  expect(await Promise.all(more)).toMatchObject([{ code: 'ERR_ACQUIRE_TIMEOUT' }, { code: 'ERR_ACQUIRE_TIMEOUT' }]);
  expect([ends, pool.stats.evicting]).toEqual([[], 0]);
  a.release();
  b.release();
  await pool.close();
});

test('two places that come free together go to two keys in need', async () => {
  const { pool, made } = setup({ maxResources: 2 });
  const held = [await pool.acquire('x'), await pool.acquire('x')];
  const waiting = ['a', 'a', 'b', 'b'].map((key) => pool.acquire(key));
  await tick();
  for (const lease of held) lease.release();
  await tick();
  expect(made.slice(2).map(({ key }) => key)).toEqual(['a', 'b']);
  for (const lease of waiting) (await lease).release();
  await pool.close();
});

test('room is made once for each key in need', async () => {
  const gate = deferred<void>();
  const ends: string[] = [];
  const pool = new KeyedPool<string, Item>(
    {
      create: ({ key }) => ({ key, id: 0 }),
      destroy: async (_item, { key }) => {
        ends.push(key);
        await gate.promise;
      },
    },
    { clock: new FakeClock(), maxResources: 3 },
  );
  const leases = [await pool.acquire('a'), await pool.acquire('b'), await pool.acquire('d')];
  leases[0]?.release();
  leases[1]?.release();
  const waiting = pool.acquire('c');
  await tick();
  expect([ends.length, pool.stats.evicting]).toEqual([1, 1]);
  leases[2]?.release();
  await tick();
  expect([ends.length, pool.stats.evicting]).toEqual([1, 1]);
  gate.resolve();
  (await waiting).release();
  await pool.close();
});

test('what is parked in a key whose callers wait is theirs', async () => {
  const clock = new FakeClock();
  const gate = deferred<boolean>();
  const pool = new KeyedPool<string, Item>(
    {
      create: ({ key }) => ({ key, id: 0 }),
      destroy: () => undefined,
      validate: () => gate.promise,
    },
    { clock, maxResources: 2, maxConcurrentCreates: 1, parkAfterMs: 100, validateTimeoutMs: 10_000 },
  );
  for (const lease of [await pool.acquire('a'), await pool.acquire('a')]) lease.release();
  await clock.advance(200);
  const own = [pool.acquire('a'), pool.acquire('a')];
  const other = pool.acquire('b');
  await clock.advance(600);
  expect(pool.stats).toMatchObject({ starving: 1, evicting: 0, waiting: 3 });
  gate.resolve(true);
  for (const lease of own) (await lease).release();
  (await other).release();
  await pool.close();
});

test('a key whose caller leaves while it has nothing is gone at once', async () => {
  const { pool } = setup({ maxResources: 1 });
  const held = await pool.acquire('a');
  const controller = new AbortController();
  const leaving = outcome(pool.acquire('b', { signal: controller.signal }));
  expect(pool.keys()).toEqual(['a', 'b']);
  controller.abort('no');
  expect(await leaving).toBe('no');
  expect([pool.keys(), pool.stats.starving]).toEqual([['a'], 0]);
  held.release();
  await pool.close();
});

test('what comes for a caller who left makes room for another key at once', async () => {
  const gate = deferred<Item>();
  const pool = new KeyedPool<string, Item>(
    {
      create: ({ key }) => (key === 'a' ? gate.promise : { key, id: 1 }),
      destroy: () => undefined,
    },
    { clock: new FakeClock(), maxResources: 1 },
  );
  const controller = new AbortController();
  const leaving = outcome(pool.acquire('a', { signal: controller.signal }));
  await tick();
  controller.abort('no');
  await leaving;
  const other = pool.acquire('b');
  await tick();
  gate.resolve({ key: 'a', id: 0 });
  (await other).release();
  await pool.close();
});

test('maxPerKey bounds one key, maxQueue the callers of all keys, and bad options are named', async () => {
  const { pool, made } = setup({ maxResources: 4, maxPerKey: 2, maxQueue: 2 });
  const leases = [await pool.acquire('a'), await pool.acquire('a')];
  const waiting = pool.acquire('a');
  const other = pool.acquire('b', { signal: AbortSignal.abort('no') });
  expect(await outcome(other)).toBe('no');
  await tick();
  expect(made).toHaveLength(2);
  const second = pool.acquire('a');
  expect(await outcome(pool.acquire('c'))).toMatchObject({ code: 'ERR_QUEUE_FULL', waiting: 2, max: 2 });
  expect(pool.keys()).toEqual(['a']);
  for (const lease of leases) lease.release();
  for (const lease of [waiting, second]) (await lease).release();
  expect(() => setup({ maxPerKey: 0 })).toThrow('option maxPerKey: got 0');
  expect(() => setup({ maxHoldMs: forever })).toThrow('option maxHoldMs: got Infinity');
  expect(() => setup({ maxPerKeys: 1 } as never)).toThrow("did you mean 'maxPerKey'");
  expect(() => setup({ minResources: 1 } as never)).toThrow('an option that exists');
  expect(await outcome(pool.acquire('a', { acquireTimeoutMs: -1 }))).toMatchObject({ code: 'ERR_OPTION' });
  await pool.close();
});

test('a creation that fails fails its own key only; the key backs off, then it is gone', async () => {
  const clock = new FakeClock();
  const failed: string[] = [];
  const pool = new KeyedPool<string, Item>(
    {
      create: ({ key }) => {
        if (key === 'bad') throw new Error('refused');
        return { key, id: 0 };
      },
      destroy: () => undefined,
    },
    { clock, maxResources: 1, random: () => 0 },
  );
  pool.on('createFailed', ({ key }) => failed.push(key));
  expect(await outcome(pool.acquire('bad'))).toMatchObject({ code: 'ERR_START_FAILED', cause: { message: 'refused' } });
  await tick();
  expect([failed, pool.keys(), pool.stats.resources]).toEqual([['bad'], ['bad'], 0]);
  const again = outcome(pool.acquire('bad'));
  await clock.advance(99);
  expect(failed).toEqual(['bad']);
  await clock.advance(1);
  expect(await again).toMatchObject({ code: 'ERR_START_FAILED' });
  await clock.advance(2_000);
  expect([failed, pool.keys()]).toEqual([['bad', 'bad'], []]);
  (await pool.acquire('good')).release();
  await pool.close();
  expect(clock.armedTimers).toBe(0);
});

test('use, retire, retireWhere, inspect and close work over keys', async () => {
  const { pool, clock, ends, alive } = setup({ name: 'sessions', maxResources: 3 });
  expect(await pool.use('a', (item) => item.key)).toBe('a');
  const b = await pool.acquire('b');
  const c = await pool.acquire('c');
  expect(pool.retire('c', b.resource)).toBe(false);
  expect(pool.retireWhere((_item, { key }) => key === 'a', 'moved')).toBe(1);
  await tick();
  expect([ends, pool.keys()]).toEqual([['a moved'], ['b', 'c']]);
  expect(JSON.parse(JSON.stringify(pool.inspect()))).toEqual({
    name: 'sessions',
    state: 'open',
    keys: 2,
    resources: 2,
    maxResources: 3,
    inUse: 2,
    waiting: 0,
    starving: 0,
    evicting: 0,
    pools: [
      { inUse: 1, waiting: 0, live: 1 },
      { inUse: 1, waiting: 0, live: 1 },
    ],
  });
  b.release();
  const using = outcome(
    pool.use('d', async function slow() {
      await new Promise(() => undefined);
    }),
  );
  await tick();
  const waiting = outcome(pool.acquire('e'));
  const closing = pool.close({ graceMs: 100 });
  const closed = outcome(closing);
  expect(pool.close()).toBe(closing);
  expect(await outcome(pool.acquire('b'))).toMatchObject({ code: 'ERR_CLOSED' });
  expect(() => pool.tryAcquire('b')).toThrow(expect.objectContaining({ code: 'ERR_CLOSED' }));
  expect(await waiting).toMatchObject({ code: 'ERR_CLOSED' });
  await clock.advance(200);
  expect(await using).toMatchObject({ code: 'ERR_SHUTDOWN_TIMEOUT', what: 'sessions: slow' });
  expect(await closed).toMatchObject({ errors: [{ what: 'sessions: slow' }] });
  expect(c.revoked).toBe(true);
  expect([alive.size, clock.armedTimers, pool.inspect().state]).toEqual([0, 0, 'closed']);
});

test('for each of many keys in need, the others are looked at once, and not put in order', async () => {
  const { pool } = setup({ maxResources: 150, maxQueue: 50 });
  const leases: Lease<Item>[] = [];
  for (let at = 0; at < 150; at++) leases.push(await pool.acquire(`held ${at}`));
  const sort = vi.spyOn(Array.prototype, 'sort');
  const needs = Array.from({ length: 50 }, (_, at) => pool.acquire(`needs ${at}`));
  await tick();
  const sorted = (sort.mock.contexts as unknown[][]).filter(({ length }) => length > 100);
  sort.mockRestore();
  expect(sorted).toEqual([]);
  for (const lease of leases) lease.release();
  for (const lease of await Promise.all(needs)) lease.release();
});
