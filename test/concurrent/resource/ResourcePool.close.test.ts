import { expect, test } from 'vitest';
import { deferred, outcome, setupPool, type Thing, take } from './setupPool.js';

const tick = () => new Promise(setImmediate);

test('close is one promise, refuses at once, waits for leases, and nothing lives after it', async () => {
  const { pool, clock, log } = setupPool({ maxResources: 2, slotsPerResource: 2 });
  const held = await pool.acquire();
  const [b, c] = [take(pool), await pool.acquire()];
  c.release();
  const full = [take(pool), take(pool)];
  expect(pool.tryAcquire()).toBeUndefined();
  const waiter = outcome(pool.acquire());
  const closing = pool.close();
  expect(pool.close()).toBe(closing);
  expect(pool[Symbol.asyncDispose]()).toBe(closing);
  expect(await waiter).toMatchObject({ code: 'ERR_CLOSED' });
  expect(await outcome(pool.acquire())).toMatchObject({ code: 'ERR_CLOSED' });
  expect(() => pool.tryAcquire()).toThrow(expect.objectContaining({ code: 'ERR_CLOSED' }));
  let closed = false;
  void closing.then(() => {
    closed = true;
  });
  await clock.advance(1_000);
  expect(closed).toBe(false);
  for (const lease of [held, b, ...full]) lease.release();
  await closing;
  expect(log.destroyed).toHaveLength(2);
  expect(log.reasons).toEqual(['closed', 'closed']);
  expect(held.revoked).toBe(false);
  expect(clock.armedTimers).toBe(0);
  expect(pool.stats).toMatchObject({ live: 0, parked: 0, creating: 0, dying: 0, inUse: 0, destroyed: 2 });
});

test('what is idle is ended at once, not after the grace', async () => {
  const { pool, log } = setupPool({ maxResources: 2 });
  const [a, b] = [await pool.acquire(), await pool.acquire()];
  b.release();
  const closing = pool.close();
  await tick();
  expect(log.destroyed).toEqual([b.resource]);
  a.release();
  await closing;
});

test('a lease kept past the deadline is revoked and told; its release is a no-op', async () => {
  const { pool, clock, log } = setupPool({ maxResources: 2, slotsPerResource: 2 });
  const [told, silent, late] = [await pool.acquire(), await pool.acquire(), await pool.acquire()];
  const { signal } = told;
  expect([signal.aborted, told.revoked]).toEqual([false, false]);
  const closing = pool.close({ graceMs: 100 });
  await clock.advance(99);
  expect(signal.aborted).toBe(false);
  await clock.advance(1);
  await closing;
  expect(signal.aborted).toBe(true);
  expect(signal.reason).toMatchObject({ code: 'ERR_CLOSED' });
  expect([told.revoked, silent.revoked, late.revoked]).toEqual([true, true, true]);
  expect(silent.signal.aborted).toBe(true);
  told.release();
  silent.release();
  late.release();
  late.release();
  expect([told.revoked, silent.revoked, late.revoked]).toEqual([true, true, true]);
  expect(late.signal.reason).toMatchObject({ code: 'ERR_CLOSED' });
  expect(log.destroyed).toHaveLength(2);
  expect(pool.stats).toMatchObject({ inUse: 0, live: 0, slots: 0, free: 0 });
});

test('the signal of a lease that was given back never aborts', async () => {
  const { pool } = setupPool();
  const lease = await pool.acquire();
  const { signal } = lease;
  lease.release();
  await pool.close({ graceMs: 0 });
  expect([signal.aborted, lease.revoked, lease.signal.aborted]).toEqual([false, false, false]);
});

test('use may close the pool: the lease is revoked at the deadline, and the function is named', async () => {
  const { pool, clock, log } = setupPool({ name: 'db' });
  let inside: AbortSignal | undefined;
  const using = outcome(
    pool.use(async function migrate(_thing, lease) {
      inside = lease.signal;
      await pool.close({ graceMs: 50 });
    }),
  );
  await clock.advance(50);
  expect(await using).toMatchObject({ code: 'ERR_SHUTDOWN_TIMEOUT', what: 'db: migrate', timeoutMs: 50 });
  expect(inside?.aborted).toBe(true);
  expect(await outcome(pool.close())).toMatchObject({ errors: [{ what: 'db: migrate' }] });
  expect(log.destroyed).toHaveLength(1);
  expect(pool.stats.inUse).toBe(0);
});

test('use may begin to close the pool without waiting for it', async () => {
  const { pool, log } = setupPool();
  let closing: Promise<void> | undefined;
  const value = await pool.use(() => {
    closing = pool.close();
    return 'done';
  });
  await closing;
  expect(value).toBe('done');
  expect(log.destroyed).toHaveLength(1);
});

test('a function whose lease was revoked before its turn does not run', async () => {
  const { pool } = setupPool();
  (await pool.acquire()).release();
  let ran = false;
  const using = outcome(
    pool.use(() => {
      ran = true;
    }),
  );
  await pool.close({ graceMs: 0 });
  expect(await using).toMatchObject({ code: 'ERR_CLOSED' });
  expect(ran).toBe(false);
});

test('a destroy that rejects or throws is reported, and the close ends and names it', async () => {
  for (const fails of [
    () => Promise.reject(new Error('stuck door')),
    () => {
      throw new Error('stuck door');
    },
  ]) {
    const { pool, factory, log } = setupPool({ maxResources: 2 });
    const errors: unknown[] = [];
    pool.on('destroyed', ({ error }) => errors.push(error));
    const [a, b] = [await pool.acquire(), await pool.acquire()];
    factory.destroy = fails;
    a.release();
    b.release();
    expect(await outcome(pool.close())).toMatchObject({
      errors: [{ message: 'stuck door' }, { message: 'stuck door' }],
    });
    expect(errors).toHaveLength(2);
    expect(log.destroyed).toHaveLength(2);
  }
});

test('a destroy that hangs is bounded, reported, and its seat is free then', async () => {
  const { pool, factory, clock, log } = setupPool({ maxResources: 1, destroyTimeoutMs: 80 });
  const lease = await pool.acquire();
  factory.destroy = () => new Promise(() => undefined);
  const errors: unknown[] = [];
  pool.on('destroyed', ({ error }) => errors.push(error));
  pool.retire(lease.resource);
  lease.release();
  const next = pool.acquire();
  await clock.advance(79);
  expect(pool.stats).toMatchObject({ live: 0, dying: 1, creating: 0, waiting: 1 });
  await clock.advance(1);
  (await next).release();
  expect(errors).toMatchObject([{ code: 'ERR_SHUTDOWN_TIMEOUT', what: 'ResourcePool: destroy', timeoutMs: 80 }]);
  const closing = outcome(pool.close());
  await clock.advance(80);
  expect(await closing).toMatchObject({ errors: [{ what: 'ResourcePool: destroy' }] });
  expect(log.destroyed).toHaveLength(2);
  expect(clock.armedTimers).toBe(0);
});

test('a destroy that fails after its bound goes to the logger', async () => {
  const lines: string[] = [];
  const log = (_fields: unknown, message?: string) => void lines.push(message ?? '');
  const logger = { trace: log, debug: log, info: log, warn: log, error: log };
  const { pool, factory, clock } = setupPool({ destroyTimeoutMs: 10, logger });
  const gate = deferred<void>();
  (await pool.acquire()).release();
  factory.destroy = () => gate.promise;
  const closing = outcome(pool.close());
  await clock.advance(10);
  await closing;
  gate.reject(new Error('too late'));
  await tick();
  expect(lines).toContain('a destroy that took too long has failed in the end');
});

test('a creation under way is given up by close: aborted, waited for, and what it made is destroyed', async () => {
  const { pool, factory, log, clock } = setupPool();
  const gate = deferred<Thing>();
  factory.create = (signal) => {
    log.signals.push(signal);
    return gate.promise;
  };
  const waiter = outcome(pool.acquire());
  await tick();
  const closing = pool.close({ graceMs: 0 });
  expect(await waiter).toMatchObject({ code: 'ERR_CLOSED' });
  expect(log.signals[0]?.aborted).toBe(true);
  await clock.advance(1_000);
  gate.resolve({ id: 5 });
  await closing;
  expect(log.destroyed).toEqual([{ id: 5 }]);
  expect(log.reasons).toEqual(['closed']);
  expect(clock.armedTimers).toBe(0);
});

test('a creation that never settles does not hold the close for ever; if it does settle, it is still destroyed', async () => {
  const { pool, factory, log, clock } = setupPool({ destroyTimeoutMs: 100 });
  const gate = deferred<Thing>();
  factory.create = () => gate.promise;
  void outcome(pool.acquire());
  await tick();
  const closing = outcome(pool.close({ graceMs: 0 }));
  await clock.advance(100);
  expect(await closing).toMatchObject({ errors: [{ code: 'ERR_SHUTDOWN_TIMEOUT', what: 'ResourcePool: create' }] });
  expect(clock.armedTimers).toBe(0);
  gate.resolve({ id: 9 });
  await tick();
  expect(log.destroyed).toEqual([{ id: 9 }]);
  expect(clock.armedTimers).toBe(0);
});

test('a pool that was never used closes', async () => {
  const { pool, clock } = setupPool();
  await pool.close();
  expect(clock.armedTimers).toBe(0);
});

test('resources whose warm-up is on its way when the pool closes are destroyed', async () => {
  const { pool, log } = setupPool({ minResources: 3 });
  await pool.close();
  expect(log.destroyed.length).toBe(log.created.length);
});

test('a creation that was wanted a moment before the close is not begun', async () => {
  const { pool, log } = setupPool();
  const waiter = outcome(pool.acquire());
  await pool.close();
  expect(await waiter).toMatchObject({ code: 'ERR_CLOSED' });
  expect(log.signals).toHaveLength(0);
});
