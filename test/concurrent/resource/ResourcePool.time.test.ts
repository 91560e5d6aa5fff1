import { afterEach, expect, test, vi } from 'vitest';
import { deferred, outcome, setupPool, take } from './setupPool.js';

const tick = () => new Promise(setImmediate);
const forever = Number.POSITIVE_INFINITY;

/** generic-pool reads `Date.now` and global timers: its clock is moved along with ours. */
async function pass(clock: { advance(ms: number): Promise<void> }, ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 50) {
    vi.advanceTimersByTime(Math.min(50, left));
    await clock.advance(Math.min(50, left));
  }
}

const fake = () => vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] });
afterEach(() => void vi.useRealTimers());

test('a resource without leases is parked after parkAfterMs, never before, and taken up again before another is made', async () => {
  const { pool, clock, log, events } = setupPool({ parkAfterMs: 400, idleTimeoutMs: forever });
  const lease = await pool.acquire();
  await clock.advance(2_000);
  expect(pool.stats.parked).toBe(0);
  lease.release();
  await clock.advance(399);
  expect(pool.stats).toMatchObject({ live: 1, parked: 0 });
  await clock.advance(201);
  expect(pool.stats).toMatchObject({ live: 0, parked: 1, free: 0, slots: 0 });
  expect(events).toContain('parked');
  expect(pool.tryAcquire()).toBeUndefined();
  const again = await pool.acquire();
  expect(again.resource).toBe(lease.resource);
  expect(log.created).toHaveLength(1);
  expect(pool.stats).toMatchObject({ live: 1, parked: 0 });
  again.release();
  await pool.close();
  expect(log.destroyed).toHaveLength(1);
});

test('with pack the spare ones park and the used ones stay; minResources stay live', async () => {
  const { pool, clock } = setupPool({ parkAfterMs: 200, idleTimeoutMs: forever, minResources: 1, maxResources: 4 });
  const all = await Promise.all([1, 2, 3, 4].map(() => pool.acquire()));
  for (const lease of all) lease.release();
  for (let i = 0; i < 20; i++) {
    take(pool).release();
    await clock.advance(50);
  }
  expect(pool.stats).toMatchObject({ live: 1, parked: 3 });
  await clock.advance(2_000);
  expect(pool.stats).toMatchObject({ live: 1, parked: 3 });
  await pool.close();
});

test('a parked resource ends after idleTimeoutMs', async () => {
  fake();
  const { pool, clock, log } = setupPool({ parkAfterMs: 100, idleTimeoutMs: 1_000, acquireTimeoutMs: forever });
  (await pool.acquire()).release();
  await pass(clock, 300);
  expect(pool.stats.parked).toBe(1);
  await pass(clock, 700);
  expect(log.destroyed).toHaveLength(0);
  await pass(clock, 900);
  expect(log.reasons).toEqual(['idle']);
  expect(pool.stats).toMatchObject({ parked: 0, live: 0, dying: 0 });
  await pass(clock, 300);
  expect(clock.armedTimers).toBe(0);
  await pool.close();
});

test('idleTimeoutMs 0 destroys instead of parking', async () => {
  const { pool, clock, log, events } = setupPool({ parkAfterMs: 100, idleTimeoutMs: 0 });
  (await pool.acquire()).release();
  await clock.advance(300);
  expect(log.reasons).toEqual(['idle']);
  expect(events).not.toContain('parked');
  expect(pool.stats).toMatchObject({ live: 0, parked: 0 });
  await pool.close();
});

test('a parked resource that is not valid any more is destroyed and another taken, or made', async () => {
  for (const verdict of [
    () => false,
    () => Promise.reject(new Error('cut')),
    () => Promise.resolve(0 as never),
    () => 'yes' as never,
  ]) {
    const { pool, clock, factory, log } = setupPool({ parkAfterMs: 100, idleTimeoutMs: forever });
    (await pool.acquire()).release();
    await clock.advance(300);
    factory.validate = verdict;
    const lease = await pool.acquire();
    expect([lease.resource.id, log.reasons]).toEqual([1, ['invalid']]);
    lease.release();
    await pool.close();
  }
});

test('a validate that hangs counts as no after validateTimeoutMs; meanwhile the seat is taken', async () => {
  const { pool, clock, factory, log } = setupPool({
    maxResources: 1,
    parkAfterMs: 100,
    idleTimeoutMs: forever,
    validateTimeoutMs: 70,
  });
  (await pool.acquire()).release();
  await clock.advance(300);
  factory.validate = () => new Promise(() => undefined);
  const waiting = pool.acquire();
  await clock.advance(69);
  expect(pool.stats).toMatchObject({ creating: 1, live: 0, parked: 0, waiting: 1 });
  await clock.advance(1);
  expect((await waiting).resource.id).toBe(1);
  expect(log.reasons).toEqual(['invalid']);
  await pool.close({ graceMs: 0 });
});

test('validateParked false takes parked ones up unasked', async () => {
  const { pool, clock, factory } = setupPool({ parkAfterMs: 100, idleTimeoutMs: forever, validateParked: false });
  (await pool.acquire()).release();
  await clock.advance(300);
  factory.validate = () => false;
  expect((await pool.acquire()).resource.id).toBe(0);
  await pool.close({ graceMs: 0 });
});

test('nothing is parked while something is on its way in', async () => {
  const { pool, clock, factory } = setupPool({
    parkAfterMs: 100,
    idleTimeoutMs: forever,
    maxResources: 3,
    createTimeoutMs: 10_000,
  });
  const [a, b] = [await pool.acquire(), await pool.acquire()];
  const gate = deferred<{ id: number }>();
  factory.create = () => gate.promise;
  const controller = new AbortController();
  const waiting = outcome(pool.acquire({ signal: controller.signal }));
  controller.abort('changed my mind');
  await waiting;
  a.release();
  b.release();
  await clock.advance(1_000);
  expect(pool.stats).toMatchObject({ live: 2, parked: 0, creating: 1 });
  gate.resolve({ id: 50 });
  await clock.advance(1_000);
  expect(pool.stats).toMatchObject({ live: 0, parked: 3, creating: 0 });
  await pool.close();
});

test('a parked one that is retired is destroyed at once; what lies around it on the shelf is still found', async () => {
  fake();
  const { pool, clock, log } = setupPool({ parkAfterMs: 100, idleTimeoutMs: 600, maxResources: 3 });
  const leases = [await pool.acquire(), await pool.acquire(), await pool.acquire()];
  for (const lease of leases) lease.release();
  await pass(clock, 250);
  expect(pool.stats.parked).toBe(3);
  expect(pool.retire(leases[0]?.resource as never, 'gone bad')).toBe(true);
  expect(pool.retire(leases[2]?.resource as never, 'gone bad')).toBe(true);
  await tick();
  expect(log.reasons).toEqual(['gone bad', 'gone bad']);
  expect(pool.stats).toMatchObject({ parked: 1, dying: 0 });
  const kept = await pool.acquire();
  expect(kept.resource).toBe(leases[1]?.resource);
  const fresh = await pool.acquire();
  expect(fresh.resource.id).toBe(3);
  kept.release();
  fresh.release();
  await pass(clock, 2_000);
  expect(pool.stats).toMatchObject({ parked: 0, live: 0 });
  expect(log.destroyed).toHaveLength(4);
  const after = await pool.acquire();
  expect(after.resource.id).toBe(4);
  after.release();
  await pool.close();
});

test('a resource retired while it is validated is not lent', async () => {
  const { pool, clock, factory, log } = setupPool({ parkAfterMs: 100, idleTimeoutMs: forever });
  const first = await pool.acquire();
  first.release();
  await clock.advance(300);
  const gate = deferred<boolean>();
  factory.validate = () => gate.promise;
  const waiting = pool.acquire();
  await tick();
  expect(pool.retire(first.resource, 'suspect')).toBe(true);
  gate.resolve(true);
  expect((await waiting).resource.id).toBe(1);
  expect(log.reasons).toEqual(['suspect']);
  await pool.close({ graceMs: 0 });
});

test('maxLifetimeMs ends idle, busy and parked ones alike, each with its own jitter', async () => {
  let draw = 0;
  const { pool, clock, log } = setupPool({
    maxResources: 3,
    maxLifetimeMs: 1_000,
    lifetimeJitterRatio: 0.5,
    random: () => draw++ / 2,
    parkAfterMs: forever,
  });
  const [busy, idle] = [await pool.acquire(), await pool.acquire()];
  idle.release();
  await clock.advance(749);
  expect(log.destroyed).toHaveLength(0);
  await clock.advance(2);
  expect(log.destroyed).toEqual([idle.resource]);
  await clock.advance(250);
  expect(log.reasons).toEqual(['lifetime']);
  await clock.advance(500);
  expect(pool.stats).toMatchObject({ live: 1, free: 0, inUse: 1 });
  busy.release();
  await tick();
  expect(log.reasons).toEqual(['lifetime', 'lifetime']);
  await pool.close();
});

test('a parked one that is too old is ended by the sweep', async () => {
  const { pool, clock, log } = setupPool({
    maxLifetimeMs: 1_000,
    lifetimeJitterRatio: 0,
    parkAfterMs: 100,
    idleTimeoutMs: forever,
  });
  (await pool.acquire()).release();
  await clock.advance(500);
  expect(pool.stats.parked).toBe(1);
  await clock.advance(600);
  expect(log.reasons).toEqual(['lifetime']);
  expect(pool.stats).toMatchObject({ parked: 0 });
  await pool.close();
});

test('a leak is reported once, with how long and the stack that took it, waiters too', async () => {
  const { pool, clock } = setupPool({ maxResources: 1, leakThresholdMs: 1_000 });
  const reports: { heldMs: number; stack: string | undefined; resource: unknown }[] = [];
  pool.on('leaked', (report) => reports.push(report));
  const takeIt = async function leakyCaller() {
    return pool.acquire();
  };
  const first = await takeIt();
  const waiting = (async function patientCaller() {
    return pool.acquire();
  })();
  await clock.advance(999);
  expect(reports).toEqual([]);
  await clock.advance(500);
  expect(reports).toHaveLength(1);
  expect(reports[0]).toMatchObject({ resource: first.resource, stack: expect.stringContaining('leakyCaller') });
  expect(reports[0]?.heldMs).toBeGreaterThanOrEqual(1_000);
  expect(pool.stats.oldestLeaseStack).toContain('leakyCaller');
  await clock.advance(3_000);
  expect(pool.stats.leaked).toBe(1);
  first.release();
  await waiting;
  await clock.advance(1_500);
  expect(reports[1]?.stack).toContain('patientCaller');
  await pool.close({ graceMs: 0 });
});

test('leakThresholdMs Infinity takes stacks and reports nothing', async () => {
  const { pool, clock } = setupPool({ leakThresholdMs: forever });
  const lease = (function taker() {
    return pool.acquire();
  })();
  await lease;
  await clock.advance(100_000);
  expect(pool.stats).toMatchObject({ leaked: 0 });
  (await lease).release();
  const again = (function taker() {
    return take(pool);
  })();
  expect(pool.stats.oldestLeaseStack).toContain('taker');
  again.release();
  await pool.close();
});

test('without listeners, background trouble goes to the logger', async () => {
  const lines: string[] = [];
  const log = (_fields: unknown, message?: string) => void lines.push(message ?? '');
  const logger = { trace: log, debug: log, info: log, warn: log, error: log };
  const { ResourcePool } = await import('../../../src/pool/index.js');
  const { FakeClock } = await import('../../../src/testing/FakeClock.js');
  const clock = new FakeClock();
  let fail = false;
  const pool = new ResourcePool<object>(
    {
      create: () => {
        if (fail) throw new Error('no');
        return {};
      },
      destroy: () => Promise.reject(new Error('no')),
    },
    { clock, logger, leakThresholdMs: 100 },
  );
  const lease = await pool.acquire();
  await clock.advance(300);
  fail = true;
  pool.retire(lease.resource);
  await outcome(pool.acquire());
  lease.release();
  await tick();
  expect(lines).toEqual(['a lease has been out for too long', 'a creation failed', 'a destroy failed']);
  await pool.close();
});

test('a parked one whose life ended since the last sweep is not lent', async () => {
  const { pool, clock, log } = setupPool({
    maxLifetimeMs: 4_000,
    lifetimeJitterRatio: 0,
    parkAfterMs: 800,
    idleTimeoutMs: forever,
  });
  (await pool.acquire()).release();
  await clock.advance(3_999);
  expect(pool.stats.parked).toBe(1);
  clock.suspend(500);
  const lease = await pool.acquire();
  expect([lease.resource.id, log.reasons]).toEqual([1, ['lifetime']]);
  lease.release();
  await pool.close();
});

test('one taken from the shelf for a caller who left counts as idle from then on', async () => {
  const { pool, clock, factory } = setupPool({ parkAfterMs: 1_000, idleTimeoutMs: forever });
  (await pool.acquire()).release();
  await clock.advance(1_600);
  expect(pool.stats.parked).toBe(1);
  const gate = deferred<boolean>();
  factory.validate = () => gate.promise;
  const controller = new AbortController();
  const leaving = outcome(pool.acquire({ signal: controller.signal }));
  await tick();
  controller.abort();
  await leaving;
  gate.resolve(true);
  await clock.advance(900);
  expect(pool.stats).toMatchObject({ live: 1, parked: 0 });
  await clock.advance(700);
  expect(pool.stats).toMatchObject({ live: 0, parked: 1 });
  await pool.close();
});
