import { expect, test } from 'vitest';
import { RESOURCE_POOL_DEFAULTS, ResourcePool } from '../../../src/pool/index.js';
import { outcome, setupPool, take } from './setupPool.js';

test('the first acquire creates; after that tryAcquire takes what is free, and nothing more', async () => {
  const { pool, log } = setupPool({ maxResources: 2 });
  expect(pool.tryAcquire()).toBeUndefined();
  const lease = await pool.acquire();
  expect(lease.resource).toBe(log.created[0]);
  expect(pool.tryAcquire()).toBeUndefined();
  lease.release();
  const again = take(pool);
  expect(again.resource).toBe(lease.resource);
  expect(pool.stats).toMatchObject({ live: 1, inUse: 1, free: 0, slots: 1, waiting: 0, created: 1 });
  again[Symbol.dispose]();
  expect(pool.stats).toMatchObject({ inUse: 0, free: 1 });
  await pool.close();
  expect(log.destroyed).toEqual(log.created);
});

test('a lease released twice gives back one slot', async () => {
  const { pool } = setupPool({ maxResources: 1, slotsPerResource: 2 });
  const [a, b] = [await pool.acquire(), await pool.acquire()];
  a.release();
  a.release();
  expect(pool.stats).toMatchObject({ inUse: 1, free: 1 });
  take(pool).release();
  expect(pool.stats.free).toBe(1);
  b.release();
  expect(pool.stats.free).toBe(2);
  await pool.close();
});

test('release hands the slot straight to the oldest waiter; tryAcquire cannot come between', async () => {
  const { pool } = setupPool({ maxResources: 1 });
  const first = await pool.acquire();
  const order: string[] = [];
  const waiters = ['a', 'b', 'c'].map(async (name) => {
    const lease = await pool.acquire();
    order.push(name);
    return lease;
  });
  first.release();
  expect(pool.tryAcquire()).toBeUndefined();
  for (const waiter of waiters) (await waiter).release();
  expect(order).toEqual(['a', 'b', 'c']);
  await pool.close();
});

test('demand creates only what free slots and slots under way do not cover', async () => {
  const { pool, log } = setupPool({ maxResources: 10, slotsPerResource: 4, maxConcurrentCreates: 10 });
  const leases = await Promise.all(Array.from({ length: 9 }, () => pool.acquire()));
  expect(log.created).toHaveLength(3);
  expect(pool.stats).toMatchObject({ live: 3, slots: 12, inUse: 9, free: 3 });
  for (const lease of leases) lease.release();
  await pool.close();
});

test('pack fills the fullest first, so that the others fall idle', async () => {
  const { pool } = setupPool({ maxResources: 3, slotsPerResource: 3, maxConcurrentCreates: 3 });
  const all = await Promise.all(Array.from({ length: 9 }, () => pool.acquire()));
  const of = (i: number) => all.filter((lease) => lease.resource.id === i);
  for (const lease of [...of(0).slice(0, 1), ...of(1).slice(0, 2), ...of(2)]) lease.release();
  expect([take(pool), take(pool), take(pool), take(pool)].map((lease) => lease.resource.id)).toEqual([0, 1, 1, 2]);
  await pool.close({ graceMs: 0 });
});

test('spread takes the least loaded, in turn', async () => {
  const { pool } = setupPool({ maxResources: 3, slotsPerResource: 2, maxConcurrentCreates: 3, placement: 'spread' });
  const all = await Promise.all(Array.from({ length: 6 }, () => pool.acquire()));
  for (const lease of all) lease.release();
  const ids = Array.from({ length: 6 }, () => take(pool).resource.id);
  expect(new Set(ids.slice(0, 3)).size).toBe(3);
  expect(ids.slice(3)).toEqual(ids.slice(0, 3));
  expect(pool.tryAcquire()).toBeUndefined();
  await pool.close({ graceMs: 0 });
});

test('the option maxConcurrentCreates bounds creations under way', async () => {
  const { pool, factory, log } = setupPool({ maxResources: 6, maxConcurrentCreates: 2 });
  const gates: (() => void)[] = [];
  factory.create = (signal) => {
    log.signals.push(signal);
    const thing = { id: log.signals.length };
    return new Promise((resolve) => gates.push(() => resolve(thing)));
  };
  const leases = Array.from({ length: 4 }, () => pool.acquire());
  await new Promise(setImmediate);
  expect([gates.length, pool.stats.creating]).toEqual([2, 2]);
  gates[0]?.();
  await leases[0];
  await new Promise(setImmediate);
  expect([gates.length, pool.stats.creating, pool.stats.live]).toEqual([3, 2, 1]);
  for (let i = 1; i < 4; i++) {
    gates[i]?.();
    await leases[i];
    await new Promise(setImmediate);
  }
  await pool.close({ graceMs: 0 });
});

test('minResources are made ahead of use, and made again', async () => {
  const { pool, log } = setupPool({ minResources: 2 });
  await new Promise(setImmediate);
  expect(pool.stats).toMatchObject({ live: 2, free: 2 });
  expect(pool.retire(log.created[0] as never)).toBe(true);
  await new Promise(setImmediate);
  expect(log.created).toHaveLength(3);
  expect(pool.stats.live).toBe(2);
  await pool.close();
});

test('an aborted waiter leaves at once and swallows no slot', async () => {
  const { pool } = setupPool({ maxResources: 1 });
  const held = await pool.acquire();
  const controller = new AbortController();
  const aborted = outcome(pool.acquire({ signal: controller.signal }));
  const next = pool.acquire();
  controller.abort('enough');
  expect(await aborted).toBe('enough');
  expect(pool.stats.waiting).toBe(1);
  held.release();
  (await next).release();
  expect(await outcome(pool.acquire({ signal: controller.signal }))).toBe('enough');
  expect(pool.stats).toMatchObject({ inUse: 0, waiting: 0 });
  await pool.close();
});

test('a slot given back while the only waiter is being aborted stays with the pool', async () => {
  const { pool } = setupPool({ maxResources: 1 });
  const held = await pool.acquire();
  const controller = new AbortController();
  controller.signal.addEventListener('abort', () => held.release(), { once: true });
  const aborted = outcome(pool.acquire({ signal: controller.signal }));
  controller.abort('stop');
  expect(await aborted).toBe('stop');
  expect(pool.stats).toMatchObject({ free: 1, inUse: 0, waiting: 0 });
  take(pool).release();
  await pool.close();
});

test('AcquireTimeoutError says why', async () => {
  const { pool, clock } = setupPool({ name: 'sockets', maxResources: 2, slotsPerResource: 2, acquireTimeoutMs: 300 });
  const all = await Promise.all(Array.from({ length: 4 }, () => pool.acquire()));
  const late = outcome(pool.acquire());
  await clock.advance(400);
  const error = await late;
  expect(error).toMatchObject({
    code: 'ERR_ACQUIRE_TIMEOUT',
    what: 'sockets',
    timeoutMs: 300,
    detail: { live: 2, creating: 0, dying: 0, slots: 4, inUse: 4, waiting: 0, oldestLeaseStack: undefined },
  });
  expect((error as { detail: { oldestLeaseAgeMs: number } }).detail.oldestLeaseAgeMs).toBeGreaterThanOrEqual(300);
  expect(await outcome(pool.acquire({ acquireTimeoutMs: 0 }))).toMatchObject({
    code: 'ERR_ACQUIRE_TIMEOUT',
    timeoutMs: 0,
  });
  for (const lease of all) lease.release();
  await pool.close();
});

test('the oldest lease is the one that is oldest, also when numbers are used again', async () => {
  const { pool, clock } = setupPool({ maxResources: 3, parkAfterMs: Number.POSITIVE_INFINITY });
  const [a, b, c] = [await pool.acquire(), await pool.acquire(), await pool.acquire()];
  expect(pool.stats.oldestLeaseAgeMs).toBe(0);
  // Callers who had to wait saw the first two; the third is first seen by the sweep at 1,000.
  await clock.advance(1_500);
  expect(pool.stats.oldestLeaseAgeMs).toBe(1_500);
  a.release();
  const d = take(pool);
  await clock.advance(1_000);
  expect(pool.stats.oldestLeaseAgeMs).toBe(2_500);
  b.release();
  expect(pool.stats.oldestLeaseAgeMs).toBe(1_500);
  c.release();
  expect(pool.stats.oldestLeaseAgeMs).toBe(500);
  d.release();
  expect(pool.stats.oldestLeaseAgeMs).toBeUndefined();
  await pool.close();
});

test('a full queue refuses, and exhaustion is told once until the queue is empty again', async () => {
  const { pool, events } = setupPool({ maxResources: 1, maxQueue: 2 });
  const held = await pool.acquire();
  const waiters = [pool.acquire(), pool.acquire()];
  expect(await outcome(pool.acquire())).toMatchObject({ code: 'ERR_QUEUE_FULL', waiting: 2, max: 2 });
  expect(events.filter((event) => event === 'exhausted')).toHaveLength(1);
  held.release();
  for (const waiter of waiters) (await waiter).release();
  const again = take(pool);
  const last = pool.acquire();
  expect(events.filter((event) => event === 'exhausted')).toHaveLength(2);
  again.release();
  (await last).release();
  await pool.close();
});

test('no exhaustion is told while a creation will help', async () => {
  const { pool, events } = setupPool({ maxResources: 2 });
  const leases = await Promise.all([pool.acquire(), pool.acquire()]);
  expect(events).toEqual(['created', 'created']);
  for (const lease of leases) lease.release();
  await pool.close();
  // Places are left, although only one creation begins at a time.
  const slow = setupPool({ maxResources: 3, maxConcurrentCreates: 1 });
  for (const lease of await Promise.all([slow.pool.acquire(), slow.pool.acquire(), slow.pool.acquire()]))
    lease.release();
  expect(slow.events).not.toContain('exhausted');
  await slow.pool.close();
});

test('retire: no new leases, destroyed when the last is back; a stranger is not ours', async () => {
  const { pool, log } = setupPool({ maxResources: 1, slotsPerResource: 2 });
  const [a, b] = [await pool.acquire(), await pool.acquire()];
  a.release();
  expect(pool.retire(b.resource, 'worn')).toBe(true);
  expect(pool.tryAcquire()).toBeUndefined();
  expect(pool.stats).toMatchObject({ live: 1, slots: 2, inUse: 1, free: 0 });
  const waiting = pool.acquire();
  await new Promise(setImmediate);
  expect([log.created.length, log.destroyed.length]).toEqual([1, 0]);
  expect(pool.retire(b.resource, 'again')).toBe(true);
  b.release();
  const c = await waiting;
  expect(log.reasons).toEqual(['worn']);
  expect(c.resource).not.toBe(b.resource);
  expect(pool.retire(b.resource)).toBe(false);
  expect(pool.retire({ id: 99 })).toBe(false);
  c.release();
  expect(pool.retire(c.resource)).toBe(true);
  expect(pool.stats).toMatchObject({ live: 0, dying: 1, free: 0 });
  await pool.close();
  expect(log.reasons).toEqual(['worn', 'retired']);
});

test('use returns the lease when the function returns, throws or rejects', async () => {
  const { pool } = setupPool({ maxResources: 1 });
  expect(await pool.use((thing) => thing.id)).toBe(0);
  expect(await pool.use(async (thing, lease) => [thing.id, lease.resource.id, pool.stats.inUse])).toEqual([0, 0, 1]);
  const boom = new Error('boom');
  const thrower = () => {
    throw boom;
  };
  expect(await outcome(pool.use(thrower))).toBe(boom);
  expect(await outcome(pool.use(() => Promise.reject(boom)))).toBe(boom);
  expect(await outcome(pool.use(() => 1, { signal: AbortSignal.abort('no') }))).toBe('no');
  expect(pool.stats).toMatchObject({ inUse: 0, free: 1 });
  await pool.close();
});

test('a listener that throws disturbs nothing', async () => {
  const { pool } = setupPool();
  pool.on('created', () => {
    throw new Error('mine');
  });
  (await pool.acquire()).release();
  await pool.close();
});

test('bad options are named, with their value and range', () => {
  const factory = { create: () => 1, destroy: () => undefined };
  const bad: [string, unknown][] = [
    ['maxResources', 0],
    ['maxResources', Number.POSITIVE_INFINITY],
    ['minResources', 11],
    ['slotsPerResource', 0],
    ['placement', 'random'],
    ['maxQueue', -1],
    ['acquireTimeoutMs', -1],
    ['createTimeoutMs', 0],
    ['validateTimeoutMs', 0],
    ['destroyTimeoutMs', Number.POSITIVE_INFINITY],
    ['maxConcurrentCreates', 0],
    ['parkAfterMs', -1],
    ['idleTimeoutMs', Number.NaN],
    ['maxLifetimeMs', 0],
    ['lifetimeJitterRatio', 2],
    ['leakThresholdMs', -1],
    ['validateParked', 1],
    ['name', ''],
  ];
  for (const [option, value] of bad) {
    expect(() => new ResourcePool(factory, { [option]: value }), option).toThrow(`option ${option}: got`);
  }
  for (const createBackoff of [{ factor: 2 }, { initialMs: -1 }, { jitterRatio: 2 }, { maxMs: -1 }]) {
    expect(() => new ResourcePool(factory, { createBackoff })).toThrow('option createBackoff');
  }
  expect(() => new ResourcePool({ ...factory, create: 1 as never })).toThrow('option create');
  expect(() => new ResourcePool({ ...factory, destroy: 1 as never })).toThrow('option destroy');
  expect(() => new ResourcePool({ ...factory, validate: 1 as never })).toThrow('option validate');
  expect(Object.isFrozen(RESOURCE_POOL_DEFAULTS)).toBe(true);
});

test('a bad timeout is refused although a slot is free', async () => {
  const { pool } = setupPool();
  expect(await outcome(pool.acquire({ acquireTimeoutMs: Number.NaN }))).toMatchObject({ code: 'ERR_OPTION' });
  await pool.close();
});
