import { expect, test } from 'vitest';
import { deferred, outcome, setupPool, type Thing, take } from './setupPool.js';

const tick = () => new Promise(setImmediate);
const forever = Number.POSITIVE_INFINITY;

test('reset runs when the last lease is back, and until it is done the resource is lent to no one', async () => {
  const { pool, factory, log } = setupPool({ maxResources: 1, slotsPerResource: 2 }, { reset: true });
  const gate = deferred<void>();
  let resets = 0;
  factory.reset = () => {
    resets++;
    return gate.promise;
  };
  const [a, b] = [await pool.acquire(), await pool.acquire()];
  a.release();
  await tick();
  expect(resets).toBe(0);
  b.release();
  expect(pool.tryAcquire()).toBeUndefined();
  const waiting = pool.acquire();
  await tick();
  expect([resets, log.created.length, pool.stats.waiting]).toEqual([1, 1, 1]);
  gate.resolve();
  const lease = await waiting;
  expect(lease.resource).toBe(a.resource);
  lease.release();
  await pool.close();
});

test('a reset that throws, rejects or hangs ends the resource, and the waiter gets another', async () => {
  for (const broken of [
    () => {
      throw new Error('dirty');
    },
    () => Promise.reject(new Error('dirty')),
    () => new Promise(() => undefined),
  ]) {
    const { pool, factory, log, clock } = setupPool({ maxResources: 1, resetTimeoutMs: 50 }, { reset: true });
    const first = await pool.acquire();
    factory.reset = broken;
    const waiting = pool.acquire();
    first.release();
    await clock.advance(50);
    const next = await waiting;
    expect([next.resource.id, log.reasons]).toEqual([1, ['resetFailed']]);
    factory.reset = () => undefined;
    next.release();
    await pool.close();
    expect(clock.armedTimers).toBe(0);
  }
});

test('a resource that is being reset when the pool closes is destroyed once', async () => {
  const { pool, factory, log, clock } = setupPool({}, { reset: true });
  const lease = await pool.acquire();
  factory.reset = () => new Promise(() => undefined);
  lease.release();
  await tick();
  await pool.close();
  expect(log.reasons).toEqual(['closed']);
  expect(clock.armedTimers).toBe(0);
});

test('keepaliveMs asks idle and parked ones whether they are good, never more often, and ends those that are not', async () => {
  const { pool, clock, factory, log } = setupPool({
    maxResources: 3,
    keepaliveMs: 1_000,
    parkAfterMs: 3_000,
    idleTimeoutMs: forever,
  });
  const leases = [await pool.acquire(), await pool.acquire(), await pool.acquire()];
  const asked: number[] = [];
  const bad = new Set<number>();
  factory.validate = ({ id }) => {
    asked.push(id);
    return !bad.has(id);
  };
  leases[0]?.release();
  leases[1]?.release();
  await clock.advance(900);
  expect(asked).toEqual([]);
  await clock.advance(600);
  expect(asked.sort()).toEqual([0, 1]);
  await clock.advance(1_500);
  expect(asked.sort()).toEqual([0, 0, 1, 1]);
  // The one in use is never asked; checks do not keep the others from parking.
  await clock.advance(1_000);
  expect(pool.stats).toMatchObject({ live: 1, parked: 2, inUse: 1 });
  bad.add(0);
  await clock.advance(1_500);
  expect(log.reasons).toEqual(['invalid']);
  expect(log.destroyed).toEqual([leases[0]?.resource]);
  expect(pool.stats).toMatchObject({ live: 1, parked: 1 });
  leases[2]?.release();
  await pool.close();
});

test('one that is being checked is not lent; the caller waits for the answer', async () => {
  const { pool, clock, factory, log } = setupPool({ maxResources: 1, keepaliveMs: 400, parkAfterMs: forever });
  (await pool.acquire()).release();
  const gate = deferred<boolean>();
  factory.validate = () => gate.promise;
  await clock.advance(700);
  expect(pool.tryAcquire()).toBeUndefined();
  const waiting = pool.acquire();
  await tick();
  expect(pool.stats).toMatchObject({ creating: 1, live: 0, waiting: 1 });
  gate.resolve(true);
  const lease = await waiting;
  expect(lease.resource).toBe(log.created[0]);
  lease.release();
  await pool.close();
});

test('a parked one that is being checked is asked once, and lent after the answer, also without validateParked', async () => {
  for (const validateParked of [true, false]) {
    const { pool, clock, factory } = setupPool({
      keepaliveMs: 800,
      parkAfterMs: 100,
      idleTimeoutMs: forever,
      validateParked,
    });
    (await pool.acquire()).release();
    await clock.advance(300);
    expect(pool.stats.parked).toBe(1);
    const gate = deferred<boolean>();
    let asked = 0;
    factory.validate = () => {
      asked++;
      return gate.promise;
    };
    await clock.advance(900);
    expect([asked, pool.stats.parked]).toEqual([1, 1]);
    const waiting = pool.acquire();
    await tick();
    expect(pool.stats).toMatchObject({ waiting: 1, parked: 0, creating: 1 });
    gate.resolve(true);
    const lease = await waiting;
    expect([lease.resource.id, asked]).toEqual([0, 1]);
    lease.release();
    await pool.close();
  }
});

test('checks take away no more at a time than maxConcurrentCreates', async () => {
  const { pool, clock, factory } = setupPool({
    maxResources: 6,
    maxConcurrentCreates: 2,
    keepaliveMs: 400,
    parkAfterMs: forever,
    validateTimeoutMs: 10_000,
  });
  const leases = await Promise.all([1, 2, 3, 4, 5, 6].map(() => pool.acquire()));
  for (const lease of leases) lease.release();
  const gates: ReturnType<typeof deferred<boolean>>[] = [];
  factory.validate = () => {
    const gate = deferred<boolean>();
    gates.push(gate);
    return gate.promise;
  };
  await clock.advance(700);
  expect([gates.length, pool.stats.free]).toEqual([2, 4]);
  for (const gate of gates) gate.resolve(true);
  await clock.advance(100);
  expect(gates).toHaveLength(4);
  for (const gate of gates) gate.resolve(true);
  await pool.close();
});

test('keepaliveMs without a validate is refused', async () => {
  const { ResourcePool } = await import('../../../src/pool/index.js');
  const factory = { create: () => ({}), destroy: () => undefined };
  expect(() => new ResourcePool(factory, { keepaliveMs: 10 })).toThrow('option keepaliveMs: got 10');
});

test('resize up serves those who wait; down ends parked and idle ones first, then the least used', async () => {
  const { pool, clock, log } = setupPool({
    maxResources: 1,
    slotsPerResource: 2,
    parkAfterMs: 100,
    idleTimeoutMs: forever,
  });
  const first = [await pool.acquire(), await pool.acquire()];
  const waiting = [pool.acquire(), pool.acquire(), pool.acquire()];
  await tick();
  expect([log.created.length, pool.stats.waiting]).toEqual([1, 3]);
  pool.resize({ maxResources: 4 });
  const more = await Promise.all(waiting);
  expect(pool.stats).toMatchObject({ live: 3, maxResources: 4 });
  const last = [await pool.acquire(), await pool.acquire(), await pool.acquire()];
  // Now 4 resources: two full ones, and two with two leases each, of which one falls idle and parks.
  const of = (id: number) => [...first, ...more, ...last].filter(({ resource }) => resource.id === id);
  for (const lease of of(3)) lease.release();
  await clock.advance(300);
  of(2)[0]?.release();
  expect(pool.stats).toMatchObject({ live: 3, parked: 1, inUse: 5 });
  pool.resize({ maxResources: 2 });
  await tick();
  expect([log.destroyed.map(({ id }) => id), log.reasons]).toEqual([[3], ['resized']]);
  expect(pool.stats).toMatchObject({ live: 3, free: 0, inUse: 5 });
  of(2)[1]?.release();
  await tick();
  expect(log.destroyed.map(({ id }) => id)).toEqual([3, 2]);
  expect(pool.stats).toMatchObject({ live: 2, inUse: 4, endsByReason: { resized: 2 } });
  of(0)[0]?.release();
  of(1)[0]?.release();
  expect(pool.stats).toMatchObject({ live: 2, free: 2 });
  for (const lease of [...of(0), ...of(1)]) lease.release();
  await pool.close();
});

test('resize refuses bounds that do not fit, and changes nothing then', async () => {
  const { pool } = setupPool({ maxResources: 3, minResources: 2 });
  expect(() => pool.resize({ maxResources: 1 })).toThrow('option minResources: got 2');
  expect(() => pool.resize({ maxResources: 0 })).toThrow('option maxResources: got 0');
  expect(pool.stats.maxResources).toBe(3);
  pool.resize({ minResources: 3 });
  await tick();
  expect(pool.stats.live).toBe(3);
  await pool.close();
  expect(() => pool.resize({ maxResources: 5 })).toThrow(expect.objectContaining({ code: 'ERR_CLOSED' }));
});

test('what is still being created when the pool shrinks ends when it comes, and only that', async () => {
  const { pool, factory, log } = setupPool({ maxResources: 3, maxConcurrentCreates: 3 });
  const gates: ReturnType<typeof deferred<Thing>>[] = [];
  factory.create = () => {
    const gate = deferred<Thing>();
    gates.push(gate);
    return gate.promise;
  };
  const waiting = [pool.acquire(), pool.acquire(), pool.acquire()];
  await tick();
  expect(gates).toHaveLength(3);
  pool.resize({ maxResources: 1 });
  for (const [id, gate] of gates.entries()) gate.resolve({ id });
  await tick();
  expect(log.reasons).toEqual(['resized', 'resized']);
  for (const each of waiting) (await each).release();
  expect(gates).toHaveLength(3);
  await pool.close();
});

test('retireWhere ends what the predicate names, by what it sees of each; if it throws, nothing', async () => {
  const { pool, clock, log } = setupPool({ maxResources: 3, parkAfterMs: 100, idleTimeoutMs: forever });
  const [a, b, c] = [await pool.acquire(), await pool.acquire(), await pool.acquire()];
  c.release();
  await clock.advance(200);
  const seen: unknown[] = [];
  const thrower = (thing: Thing, info: unknown): boolean => {
    seen.push([thing.id, info]);
    if (thing.id === 2) throw new Error('mine');
    return true;
  };
  expect(() => pool.retireWhere(thrower)).toThrow('mine');
  expect(seen).toEqual([
    [0, { state: 'live', leases: 1, ageMs: 200 }],
    [1, { state: 'live', leases: 1, ageMs: 200 }],
    [2, { state: 'parked', leases: 0, ageMs: 200 }],
  ]);
  expect(pool.stats).toMatchObject({ live: 2, parked: 1 });
  expect(pool.retireWhere(({ id }) => id !== 1, 'host is gone')).toBe(2);
  await tick();
  expect(log.reasons).toEqual(['host is gone']);
  a.release();
  await tick();
  expect(log.destroyed.map(({ id }) => id)).toEqual([2, 0]);
  b.release();
  expect(pool.stats).toMatchObject({ live: 1, parked: 0, free: 1 });
  await pool.close();
});

test('while suspended no lease begins and nothing is created; resume serves those who waited, in order', async () => {
  const { pool, clock, log } = setupPool({ maxResources: 2 });
  const held = await pool.acquire();
  pool.suspend();
  pool.suspend();
  const order: string[] = [];
  const ask = (name: string) =>
    pool.acquire().then((lease) => {
      order.push(name);
      return lease;
    });
  const waiting = [ask('a'), ask('b')];
  held.release();
  await tick();
  expect(pool.tryAcquire()).toBeUndefined();
  expect([order, log.created.length]).toEqual([[], 1]);
  expect(pool.stats).toMatchObject({ suspended: true, waiting: 2, inUse: 0, free: 1 });
  expect(pool.inspect().state).toBe('open');
  const late = outcome(pool.acquire({ acquireTimeoutMs: 20 }));
  await clock.advance(100);
  expect(await late).toMatchObject({ code: 'ERR_ACQUIRE_TIMEOUT' });
  pool.resume();
  pool.resume();
  for (const lease of await Promise.all(waiting)) lease.release();
  expect(order).toEqual(['a', 'b']);
  expect(pool.stats).toMatchObject({ suspended: false, waiting: 0, inUse: 0 });
  await pool.close();
});

test('a resource that came back while the pool was suspended is lent at resume, without another', async () => {
  const { pool, log } = setupPool({ maxResources: 1 });
  const held = await pool.acquire();
  pool.suspend();
  const waiting = pool.acquire();
  held.release();
  pool.resume();
  (await waiting).release();
  expect(log.created).toHaveLength(1);
  await pool.close();
});

test('what is created while the pool is suspended is lent at resume, not before', async () => {
  const { pool, factory } = setupPool({ maxResources: 1 });
  const gate = deferred<Thing>();
  factory.create = () => gate.promise;
  let served = false;
  const waiting = pool.acquire().then((lease) => {
    served = true;
    return lease;
  });
  await tick();
  pool.suspend();
  gate.resolve({ id: 3 });
  await tick();
  expect([served, pool.stats.live, pool.stats.waiting]).toEqual([false, 1, 1]);
  pool.resume();
  (await waiting).release();
  await pool.close();
});

test('a suspended pool closes, and refuses those who waited', async () => {
  const { pool, log } = setupPool({ maxResources: 1 });
  (await pool.acquire()).release();
  pool.suspend();
  const waiting = outcome(pool.acquire());
  await pool.close();
  expect(await waiting).toMatchObject({ code: 'ERR_CLOSED' });
  expect(log.destroyed).toHaveLength(1);
});

test('stats tell how long callers waited, how many were refused, and why resources ended', async () => {
  const { pool, clock } = setupPool({ maxResources: 1, parkAfterMs: forever });
  const first = await pool.acquire();
  const waits = [10, 20, 30, 40, 50, 60, 70, 80, 90, 1_000];
  let lease = first;
  for (const ms of waits) {
    const next = pool.acquire();
    await clock.advance(ms);
    lease.release();
    lease = await next;
  }
  expect(await outcome(pool.acquire({ acquireTimeoutMs: 0 }))).toMatchObject({ code: 'ERR_ACQUIRE_TIMEOUT' });
  const { waitMs, waited, timedOut, created } = pool.stats;
  // The first caller waited for the creation, which took no time.
  expect({ waited, timedOut, created }).toEqual({ waited: 11, timedOut: 1, created: 1 });
  expect(waitMs.p50).toBeCloseTo(50, 0);
  expect(Math.abs(waitMs.p90 - 90)).toBeLessThan(1);
  expect(Math.abs(waitMs.p99 - 1_000)).toBeLessThan(10);
  expect(Math.abs(waitMs.max - 1_000)).toBeLessThan(10);
  pool.retire(lease.resource, 'worn');
  lease.release();
  await tick();
  expect(pool.stats.endsByReason).toEqual({ worn: 1 });
  for (let i = 0; i < 40; i++) {
    const each = await pool.acquire();
    pool.retire(each.resource, `reason ${i}`);
    each.release();
    await tick();
  }
  const { endsByReason } = pool.stats;
  expect(Object.keys(endsByReason)).toHaveLength(33);
  expect(endsByReason).toMatchObject({ worn: 1, 'reason 30': 1, other: 9 });
  await pool.close();
});

test('traced waiters are timed too', async () => {
  const { pool, clock } = setupPool({ maxResources: 1, leakThresholdMs: forever });
  const held = await pool.acquire();
  const next = pool.acquire();
  await clock.advance(200);
  held.release();
  (await next).release();
  expect(pool.stats.waitMs.max).toBeGreaterThan(190);
  await pool.close();
});

test('inspect is one plain object: what the pool is, holds, waits for and has counted', async () => {
  const { pool, factory, clock } = setupPool({ name: 'db', maxResources: 2, minResources: 1, slotsPerResource: 2 });
  const lease = await pool.acquire();
  await clock.advance(100);
  factory.create = () => Promise.reject(new Error('refused'));
  take(pool);
  const waiting = outcome(pool.acquire());
  await tick();
  const shown = pool.inspect();
  expect(JSON.parse(JSON.stringify(shown))).toMatchObject({
    name: 'db',
    state: 'open',
    minResources: 1,
    maxResources: 2,
    slotsPerResource: 2,
    waiting: 1,
    inUse: 2,
    lastCreateError: 'db: create failed: refused',
    resources: [{ state: 'live', leases: 2, ageMs: 100 }],
  });
  lease.release();
  await waiting;
  const closing = pool.close({ graceMs: 0 });
  expect(pool.inspect().state).toBe('closing');
  await closing;
  expect(pool.inspect()).toMatchObject({ state: 'closed', resources: [], destroyed: 1 });
});
