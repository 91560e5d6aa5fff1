import { expect, test } from 'vitest';
import { OptionError } from '../../../src/core/errors.js';
import { deferred, outcome, setupPool, type Thing } from './setupPool.js';

const tick = () => new Promise(setImmediate);

test('a create that rejects or throws reaches the waiters at once, with its cause', async () => {
  for (const fails of [
    () => Promise.reject(new Error('refused')),
    () => {
      throw new Error('refused');
    },
  ]) {
    const { pool, factory, events } = setupPool({ name: 'db' });
    factory.create = fails;
    const all = [outcome(pool.acquire()), outcome(pool.acquire())];
    for (const each of all) {
      expect(await each).toMatchObject({
        code: 'ERR_START_FAILED',
        retryable: true,
        message: 'db: create failed: refused',
        cause: { message: 'refused' },
      });
    }
    // Two creations began together, both failed.
    expect(events).toEqual(['createFailed', 'createFailed']);
    await pool.close();
  }
});

test("an error that is the toolkit's own stays as it is", async () => {
  const { pool, factory } = setupPool();
  const error = new OptionError('x', 1, 'y');
  factory.create = () => Promise.reject(error);
  expect(await outcome(pool.acquire())).toBe(error);
  await pool.close();
});

test('after a failure creation backs off, doubling, and who comes meanwhile waits for the next try', async () => {
  const { pool, factory, clock, make } = setupPool({ maxResources: 1, createBackoff: { initialMs: 100, maxMs: 300 } });
  let calls = 0;
  factory.create = () => {
    calls++;
    return Promise.reject(new Error(`no ${calls}`));
  };
  const waits: number[] = [];
  pool.on('createFailed', ({ retryInMs, failures }) => waits.push(retryInMs, failures));
  for (let failure = 1; failure <= 4; failure++) {
    expect(
      await outcome(
        pool
          .acquire({ acquireTimeoutMs: Number.POSITIVE_INFINITY })
          .finally(() => undefined)
          .catch((e) => e.message),
      ).then((message) => message),
    ).toBe(`ResourcePool: create failed: no ${failure}`);
    if (failure === 4) break;
    const pause = waits.at(-2) ?? 0;
    const next = outcome(pool.acquire());
    await clock.advance(pause - 1);
    expect(calls).toBe(failure);
    await clock.advance(1);
    expect(calls).toBe(failure + 1);
    await next;
    failure++;
    await clock.advance(waits.at(-2) ?? 0);
  }
  expect(waits.filter((_, i) => i % 2 === 0).slice(0, 3)).toEqual([100, 200, 300]);
  factory.create = make;
  await clock.advance(1_000);
  const lease = await pool.acquire();
  expect(pool.stats.lastCreateError).toBeUndefined();
  lease.release();
  await pool.close();
});

test('while something is live, a failed creation fails nobody: they are served by releases', async () => {
  const { pool, factory, make } = setupPool({ maxResources: 2 });
  const held = await pool.acquire();
  factory.create = () => Promise.reject(new Error('no more'));
  const waiting = pool.acquire();
  await tick();
  expect(pool.stats).toMatchObject({ waiting: 1, createFailed: 1, lastCreateError: { cause: { message: 'no more' } } });
  held.release();
  (await waiting).release();
  factory.create = make;
  await pool.close();
});

test('of several creations one that fails takes one waiter with it; the last takes all', async () => {
  const { pool, factory } = setupPool({ maxResources: 3, maxConcurrentCreates: 2 });
  const gates: ReturnType<typeof deferred<Thing>>[] = [];
  factory.create = () => {
    const gate = deferred<Thing>();
    gates.push(gate);
    return gate.promise;
  };
  const settled: number[] = [];
  const all = [0, 1, 2, 3].map((i) => outcome(pool.acquire()).then(() => settled.push(i)));
  await tick();
  gates[0]?.reject(new Error('first'));
  await tick();
  expect(settled).toEqual([0]);
  gates[1]?.reject(new Error('second'));
  await Promise.all(all);
  expect(settled).toEqual([0, 1, 2, 3]);
  await pool.close();
});

test('without a backoff a failing create is not called in a loop, and the next caller tries again', async () => {
  const { pool, factory, make } = setupPool({ maxResources: 2, createBackoff: { initialMs: 0 } });
  const held = await pool.acquire();
  let calls = 0;
  factory.create = () => {
    calls++;
    return Promise.reject(new Error('no'));
  };
  const waiting = pool.acquire();
  await tick();
  expect(calls).toBe(1);
  factory.create = make;
  const other = pool.acquire();
  (await waiting).release();
  held.release();
  (await other).release();
  await pool.close();
});

test('a create that hangs fails at its timeout, keeps its seat until it settles, and what it made is destroyed', async () => {
  const { pool, factory, clock, log } = setupPool({
    maxResources: 1,
    createTimeoutMs: 100,
    createBackoff: { initialMs: 0 },
  });
  const gate = deferred<Thing>();
  factory.create = (signal) => {
    log.signals.push(signal);
    return gate.promise;
  };
  const first = outcome(pool.acquire());
  await clock.advance(100);
  expect(await first).toMatchObject({
    code: 'ERR_START_FAILED',
    message: expect.stringContaining('longer than 100 ms'),
  });
  expect(log.signals[0]?.aborted).toBe(true);
  expect(pool.stats).toMatchObject({ live: 0, creating: 1, dying: 0 });
  const second = outcome(pool.acquire({ acquireTimeoutMs: 50 }));
  await clock.advance(100);
  expect(await second).toMatchObject({ code: 'ERR_ACQUIRE_TIMEOUT', detail: { creating: 1 } });
  expect(log.signals).toHaveLength(1);
  const third = pool.acquire();
  factory.create = () => ({ id: 7 });
  gate.resolve({ id: 6 });
  expect((await third).resource.id).toBe(7);
  expect(log.destroyed).toEqual([{ id: 6 }]);
  expect(log.reasons).toEqual(['late']);
  await pool.close({ graceMs: 0 });
});

test('a create that rejects late gives its seat back', async () => {
  const { pool, factory, clock, make } = setupPool({
    maxResources: 1,
    createTimeoutMs: 100,
    createBackoff: { initialMs: 0 },
  });
  const gate = deferred<Thing>();
  factory.create = () => gate.promise;
  const first = outcome(pool.acquire());
  await clock.advance(100);
  await first;
  const next = pool.acquire();
  factory.create = make;
  gate.reject(new Error('at last'));
  (await next).release();
  expect(pool.stats).toMatchObject({ creating: 0, live: 1, createFailed: 1 });
  await pool.close();
});

test('creations that were started together and fail together count as one failure', async () => {
  const { pool, factory, clock } = setupPool({ maxResources: 4, createBackoff: { initialMs: 100 } });
  const waits: number[] = [];
  pool.on('createFailed', ({ retryInMs }) => waits.push(retryInMs));
  factory.create = () => Promise.reject(new Error('no'));
  await Promise.all([1, 2, 3].map(() => outcome(pool.acquire())));
  expect(waits).toEqual([100, 100, 100]);
  await clock.advance(100);
  await outcome(pool.acquire());
  expect(waits.at(-1)).toBe(200);
  await pool.close();
});

test('jitter takes a random share off the wait', async () => {
  const { pool, factory } = setupPool({ random: () => 0.5, createBackoff: { initialMs: 100, jitterRatio: 0.5 } });
  const waits: number[] = [];
  pool.on('createFailed', ({ retryInMs }) => waits.push(retryInMs));
  factory.create = () => Promise.reject(new Error('no'));
  await outcome(pool.acquire());
  expect(waits).toEqual([75]);
  await pool.close();
});

test('a waiter who could wait on for a release is served by the next try, if that comes first', async () => {
  const { pool, factory, clock, make } = setupPool({ maxResources: 2, createBackoff: { initialMs: 100 } });
  const held = await pool.acquire();
  factory.create = () => Promise.reject(new Error('not now'));
  const waiting = pool.acquire();
  await tick();
  factory.create = make;
  await clock.advance(99);
  expect(pool.stats.waiting).toBe(1);
  await clock.advance(1);
  (await waiting).release();
  held.release();
  await pool.close();
});

test('a success ends the row of failures', async () => {
  const { pool, factory, clock, make } = setupPool({ maxResources: 1, createBackoff: { initialMs: 100 } });
  const waits: number[] = [];
  pool.on('createFailed', ({ retryInMs }) => waits.push(retryInMs));
  const fail = () => Promise.reject(new Error('no'));
  for (const create of [fail, fail, make, fail]) {
    factory.create = create;
    await outcome(pool.acquire().then((lease) => pool.retire(lease.resource) && lease.release()));
    await clock.advance(1_000);
  }
  expect(waits).toEqual([100, 200, 100]);
  await pool.close();
});

test('what replaces a retired one does not wait for its end, where there is a seat', async () => {
  const { pool, factory, log, clock } = setupPool({ minResources: 1, maxResources: 2, destroyTimeoutMs: 100 });
  await tick();
  factory.destroy = () => new Promise(() => undefined);
  pool.retire(log.created[0] as Thing);
  await tick();
  expect(pool.stats).toMatchObject({ live: 1, dying: 1 });
  const closing = outcome(pool.close());
  await clock.advance(100);
  await closing;
});

test('failed creations take up no place among those under way', async () => {
  const { pool, factory, clock, make } = setupPool({
    maxResources: 2,
    maxConcurrentCreates: 1,
    createBackoff: { initialMs: 10, maxMs: 10 },
  });
  factory.create = () => Promise.reject(new Error('no'));
  for (let i = 0; i < 3; i++) {
    const refused = outcome(pool.acquire());
    await clock.advance(10);
    expect(await refused).toMatchObject({ code: 'ERR_START_FAILED' });
  }
  factory.create = make;
  const served = pool.acquire();
  await clock.advance(10);
  (await served).release();
  await pool.close();
});

test('a success after a failure ends the backoff: the next creation begins at once', async () => {
  const { pool, factory, make } = setupPool({ maxResources: 3, maxConcurrentCreates: 2 });
  const gates: ReturnType<typeof deferred<Thing>>[] = [];
  factory.create = () => {
    const gate = deferred<Thing>();
    gates.push(gate);
    return gate.promise;
  };
  const [first, second] = [outcome(pool.acquire()), pool.acquire()];
  await tick();
  gates[0]?.reject(new Error('no'));
  expect(await first).toMatchObject({ code: 'ERR_START_FAILED' });
  gates[1]?.resolve({ id: 40 });
  const lease = await second;
  factory.create = make;
  (await pool.acquire()).release();
  lease.release();
  await pool.close();
});
