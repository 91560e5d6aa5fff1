import { expect, test } from 'vitest';
import { Semaphore } from '../../src/concurrent/Semaphore.js';
import { OptionError } from '../../src/core/errors.js';
import { FakeClock } from '../../src/testing/FakeClock.js';

const caught = (promise: Promise<unknown>) =>
  promise.then(
    () => 'fine',
    (error: unknown) => error,
  );

test('as many as there are permits, then nobody until one comes back', async () => {
  const semaphore = new Semaphore({ permits: 2 });
  const [a, b] = [semaphore.tryAcquire(), semaphore.tryAcquire()];
  expect([semaphore.available, semaphore.permits, a?.weight]).toEqual([0, 2, 1]);
  expect(semaphore.tryAcquire()).toBeUndefined();
  const c = semaphore.acquire();
  expect(semaphore.waiting).toBe(1);
  a?.release();
  a?.release();
  expect(semaphore.available).toBe(0);
  (await c).release();
  b?.[Symbol.dispose]();
  expect([semaphore.available, semaphore.waiting]).toEqual([2, 0]);
  await semaphore.close();
});

test('a heavy caller at the head is overtaken by nobody, not even by tryAcquire', async () => {
  const semaphore = new Semaphore({ permits: 3 });
  const held = semaphore.tryAcquire(2);
  const order: string[] = [];
  const heavy = semaphore.acquire({ weight: 3 }).then((permit) => {
    order.push('heavy');
    permit.release();
  });
  const light = semaphore.acquire().then((permit) => {
    order.push('light');
    permit.release();
  });
  expect(semaphore.available).toBe(1);
  expect(semaphore.tryAcquire()).toBeUndefined();
  held?.release();
  await Promise.all([heavy, light]);
  expect(order).toEqual(['heavy', 'light']);
  await semaphore.close();
});

test('when a heavy waiter leaves, those behind him that fit are served', async () => {
  const clock = new FakeClock();
  const semaphore = new Semaphore({ permits: 2, clock });
  const held = semaphore.tryAcquire();
  const controller = new AbortController();
  const heavy = caught(semaphore.acquire({ weight: 2, signal: controller.signal }));
  const light = semaphore.acquire();
  controller.abort('never mind');
  expect(await heavy).toBe('never mind');
  (await light).release();
  const late = caught(semaphore.acquire({ weight: 2, timeoutMs: 20 }));
  const lighter = semaphore.acquire();
  await clock.advance(50);
  expect(await late).toMatchObject({
    code: 'ERR_ACQUIRE_TIMEOUT',
    timeoutMs: 20,
    detail: { slots: 2, inUse: 1, waiting: 1 },
  });
  (await lighter).release();
  held?.release();
  expect(semaphore.available).toBe(2);
  await semaphore.close();
  expect(clock.armedTimers).toBe(0);
});

test('one who asks in the very moment in which a heavy waiter is aborted makes nobody else wait for ever', async () => {
  const semaphore = new Semaphore({ permits: 3 });
  const held = semaphore.tryAcquire(2);
  const controller = new AbortController();
  let asked: unknown;
  controller.signal.addEventListener(
    'abort',
    () => {
      asked = semaphore.tryAcquire();
    },
    { once: true },
  );
  const heavy = caught(semaphore.acquire({ weight: 3, signal: controller.signal }));
  const light = semaphore.acquire();
  controller.abort('stop');
  (await light).release();
  expect([asked, await heavy]).toEqual([undefined, 'stop']);
  held?.release();
  await semaphore.close();
});

test('the wait is finite by default', async () => {
  const clock = new FakeClock();
  const semaphore = new Semaphore({ permits: 1, acquireTimeoutMs: 100, clock, name: 'doors' });
  const held = semaphore.tryAcquire();
  const late = caught(semaphore.acquire());
  await clock.advance(150);
  expect(await late).toMatchObject({ code: 'ERR_ACQUIRE_TIMEOUT', what: 'doors', timeoutMs: 100 });
  expect(await caught(semaphore.acquire({ timeoutMs: 0 }))).toMatchObject({ timeoutMs: 0 });
  held?.release();
  await semaphore.close();
});

test('a bounded queue refuses the one too many', async () => {
  const semaphore = new Semaphore({ permits: 1, maxQueue: 0 });
  const held = semaphore.tryAcquire();
  expect(await caught(semaphore.acquire())).toMatchObject({ code: 'ERR_QUEUE_FULL', what: 'Semaphore', max: 0 });
  held?.release();
  await semaphore.close();
});

test('an aborted signal takes no permit, even with some free', async () => {
  const semaphore = new Semaphore({ permits: 1 });
  expect(await caught(semaphore.acquire({ signal: AbortSignal.abort('no') }))).toBe('no');
  expect(semaphore.available).toBe(1);
  await semaphore.close();
});

test('run gives the permit back when the function returns, throws or rejects', async () => {
  const semaphore = new Semaphore({ permits: 1 });
  expect(await semaphore.run(() => semaphore.available)).toBe(0);
  const boom = new Error('boom');
  expect(
    await caught(
      semaphore.run(() => {
        throw boom;
      }),
    ),
  ).toBe(boom);
  expect(await caught(semaphore.run(() => Promise.reject(boom)))).toBe(boom);
  expect(semaphore.available).toBe(1);
  await semaphore.close();
});

test('resized larger it serves who waits; smaller, nobody until enough came back', async () => {
  const semaphore = new Semaphore({ permits: 1 });
  const first = semaphore.tryAcquire();
  const second = semaphore.acquire();
  const third = semaphore.acquire();
  semaphore.resize(2);
  const permit = await second;
  semaphore.resize(1);
  expect(semaphore.available).toBe(0);
  first?.release();
  expect([semaphore.available, semaphore.waiting]).toEqual([0, 1]);
  permit.release();
  const last = await third;
  expect(semaphore.waiting).toBe(0);
  last.release();
  await semaphore.close();
});

test('a waiter heavier than what is left after a resize is told at his turn', async () => {
  const semaphore = new Semaphore({ permits: 4 });
  const held = semaphore.tryAcquire(4);
  const heavy = caught(semaphore.acquire({ weight: 3 }));
  const light = semaphore.acquire({ weight: 2 });
  semaphore.resize(2);
  expect(await heavy).toMatchObject({ code: 'ERR_OPTION', option: 'weight', value: 3 });
  expect(semaphore.waiting).toBe(1);
  held?.release();
  (await light).release();
  await semaphore.close();
});

test('close refuses at once, waits for permits that are out, and is one promise', async () => {
  const clock = new FakeClock();
  const semaphore = new Semaphore({ permits: 1, clock });
  const held = semaphore.tryAcquire();
  const waiter = caught(semaphore.acquire());
  const closing = semaphore.close();
  expect(semaphore.close()).toBe(closing);
  expect(await waiter).toMatchObject({ code: 'ERR_CLOSED' });
  expect(() => semaphore.tryAcquire()).toThrow(expect.objectContaining({ code: 'ERR_CLOSED' }));
  expect(await caught(semaphore.acquire())).toMatchObject({ code: 'ERR_CLOSED' });
  let closed = false;
  void closing.then(() => {
    closed = true;
  });
  await clock.advance(100);
  expect(closed).toBe(false);
  held?.release();
  await closing;
  expect(clock.armedTimers).toBe(0);
});

test('a permit kept past the deadline does not hold the close; a function does not either, and is named', async () => {
  const clock = new FakeClock();
  const semaphore = new Semaphore({ permits: 2, clock });
  const held = semaphore.tryAcquire();
  const never = async function stuck() {
    await new Promise(() => undefined);
  };
  const running = caught(semaphore.run(never));
  await clock.advance(0);
  const closing = caught(semaphore.close({ graceMs: 200 }));
  await clock.advance(200);
  expect(await running).toMatchObject({ code: 'ERR_SHUTDOWN_TIMEOUT', what: 'Semaphore: stuck', timeoutMs: 200 });
  expect(await closing).toMatchObject({ errors: [{ code: 'ERR_SHUTDOWN_TIMEOUT', what: 'Semaphore: stuck' }] });
  held?.release();
  expect(clock.armedTimers).toBe(0);
});

test('a function whose turn came as the deadline passed does not run', async () => {
  const clock = new FakeClock();
  const semaphore = new Semaphore({ permits: 1, clock });
  let ran = false;
  const running = caught(
    semaphore.run(() => {
      ran = true;
    }),
  );
  const closing = semaphore.close({ graceMs: 0 });
  const outcome = await running;
  await closing;
  expect(ran).toBe(false);
  expect(outcome).toMatchObject({ code: 'ERR_CLOSED' });
});

test('bad options and weights are named', async () => {
  for (const permits of [0, -1, 1.5, Number.NaN]) expect(() => new Semaphore({ permits })).toThrow(OptionError);
  expect(() => new Semaphore({ permits: 1, maxQueue: -1 })).toThrow('option maxQueue');
  expect(() => new Semaphore({ permits: 1, acquireTimeoutMs: -1 })).toThrow('option acquireTimeoutMs');
  const semaphore = new Semaphore({ permits: 2 });
  expect(() => semaphore.tryAcquire(3)).toThrow('option weight: got 3, expected a whole number from 1 to 2');
  expect(() => semaphore.tryAcquire(0)).toThrow('option weight');
  expect(await caught(semaphore.acquire({ weight: 1.5 }))).toBeInstanceOf(OptionError);
  expect(await caught(semaphore.acquire({ timeoutMs: -1 }))).toBeInstanceOf(OptionError);
  expect(() => semaphore.resize(0)).toThrow('option permits');
  await semaphore[Symbol.asyncDispose]();
});
