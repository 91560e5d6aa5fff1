import { getEventListeners } from 'node:events';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { WaitQueue } from '../../src/concurrent/queue/WaitQueue.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { countTurns } from '../support/countTurns.js';

let clock: FakeClock;
let left: number;
let queue: WaitQueue<string>;

beforeEach(() => {
  clock = new FakeClock();
  left = 0;
  queue = new WaitQueue({
    what: 'desk',
    maxQueue: 5,
    clock,
    timeoutError: (timeoutMs) => new Error(`over after ${timeoutMs} with ${queue.size} waiting`),
    onLeave: () => {
      left++;
    },
  });
});

afterEach(() => {
  queue.rejectAll(new Error('end of test'));
  expect(clock.armedTimers).toBe(0);
});

const forever = Number.POSITIVE_INFINITY;
const wait = (options: { timeoutMs?: number; signal?: AbortSignal; weight?: number } = {}) => {
  const promise = queue.wait({ timeoutMs: forever, ...options });
  promise.catch(() => undefined);
  return promise;
};

test('waiters are served in the order they came', async () => {
  const all = [wait(), wait(), wait()];
  for (const name of ['a', 'b', 'c']) queue.shift()?.resolve(name);
  expect(await Promise.all(all)).toEqual(['a', 'b', 'c']);
  expect(queue.size).toBe(0);
  expect(queue.shift()).toBeUndefined();
  expect(queue.peek()).toBe(0);
});

test('peek tells the weight of the oldest and leaves him in place', async () => {
  const first = wait({ weight: 7 });
  void wait();
  expect([queue.peek(), queue.peek(), queue.size]).toEqual([7, 7, 2]);
  queue.shift()?.resolve('heavy');
  expect(await first).toBe('heavy');
  expect(queue.peek()).toBe(1);
});

test('a full queue refuses with its figures', async () => {
  for (let i = 0; i < 5; i++) void wait();
  await expect(wait()).rejects.toMatchObject({ code: 'ERR_QUEUE_FULL', what: 'desk', waiting: 5, max: 5 });
  queue.shift()?.resolve('x');
  void wait();
  expect(queue.size).toBe(5);
});

test.each([0, 1, 2])(
  'of three, the one at place %i leaves when its signal aborts; the others keep their order',
  async (place) => {
    const controller = new AbortController();
    const all = [0, 1, 2].map((i) => wait(i === place ? { signal: controller.signal } : {}));
    controller.abort(new Error('gone'));
    expect(queue.size).toBe(2);
    expect(left).toBe(1);
    await expect(all[place]).rejects.toThrow('gone');
    queue.shift()?.resolve('first');
    queue.shift()?.resolve('second');
    expect(await Promise.all(all.filter((_, i) => i !== place))).toEqual(['first', 'second']);
  },
);

test('a signal that is already aborted takes no place', async () => {
  await expect(wait({ signal: AbortSignal.abort('before') })).rejects.toBe('before');
  expect(queue.size).toBe(0);
});

test('many waiters under one signal cost it one listener, which is gone when the last is', async () => {
  const { signal } = new AbortController();
  for (let i = 0; i < 5; i++) void wait({ signal });
  expect(getEventListeners(signal, 'abort')).toHaveLength(1);
  for (let i = 0; i < 4; i++) queue.shift()?.resolve('x');
  expect(getEventListeners(signal, 'abort')).toHaveLength(1);
  queue.shift()?.resolve('x');
  expect(getEventListeners(signal, 'abort')).toHaveLength(0);
});

test('a signal aborted an instant ago, its listener still to come, gets nothing: the next one does', async () => {
  const controller = new AbortController();
  // Registered before the queue's own listener, so it runs first.
  controller.signal.addEventListener('abort', () => queue.shift()?.resolve('slot'), { once: true });
  const aborted = wait({ signal: controller.signal });
  const served = wait();
  controller.abort('stop');
  expect(await served).toBe('slot');
  await expect(aborted).rejects.toBe('stop');
});

test('peek passes over those whose signal has aborted', async () => {
  const controller = new AbortController();
  const seen: number[] = [];
  controller.signal.addEventListener('abort', () => seen.push(queue.peek(), queue.size), { once: true });
  const aborted = wait({ signal: controller.signal, weight: 9 });
  void wait({ weight: 2 });
  controller.abort('stop');
  expect(seen).toEqual([2, 1]);
  await expect(aborted).rejects.toBe('stop');
});

test('peek passes over all who are aborted at once, and tells the owner', async () => {
  const controller = new AbortController();
  const seen: number[] = [];
  controller.signal.addEventListener('abort', () => seen.push(queue.peek(), queue.size, left), { once: true });
  const aborted = [wait({ signal: controller.signal }), wait({ signal: controller.signal, weight: 2 })];
  void wait({ weight: 3 });
  controller.abort('stop');
  expect(seen).toEqual([3, 1, 1]);
  for (const each of aborted) await expect(each).rejects.toBe('stop');
});

test('a waiter leaves when its time is over, never before, under one timer for all', async () => {
  const all = [wait({ timeoutMs: 50 }), wait({ timeoutMs: 100 }), wait()];
  expect(clock.armedTimers).toBe(1);
  await clock.advance(49);
  expect(queue.size).toBe(3);
  await clock.advance(20);
  expect([queue.size, left]).toEqual([2, 1]);
  await expect(all[0]).rejects.toThrow('over after 50 with 2 waiting');
  await clock.advance(60);
  await expect(all[1]).rejects.toThrow('over after 100 with 1 waiting');
  queue.shift()?.resolve('patient');
  expect(await all[2]).toBe('patient');
});

test('one who was served is not timed out later', async () => {
  const served = wait({ timeoutMs: 50 });
  queue.shift()?.resolve('x');
  await clock.advance(1_000);
  expect(await served).toBe('x');
  expect(left).toBe(0);
});

test('zero does not wait', async () => {
  await expect(wait({ timeoutMs: 0 })).rejects.toThrow('over after 0');
  expect(queue.size).toBe(0);
});

test('rejectAll rejects everybody, oldest first, and leaves no timer or listener', async () => {
  const { signal } = new AbortController();
  const order: number[] = [];
  const all = [wait({ signal }), wait({ timeoutMs: 1_000 }), wait()].map((each, i) => each.catch(() => order.push(i)));
  queue.rejectAll(new Error('closed'));
  await Promise.all(all);
  expect(order).toEqual([0, 1, 2]);
  expect([queue.size, clock.armedTimers, left]).toEqual([0, 0, 0]);
  expect(getEventListeners(signal, 'abort')).toHaveLength(0);
});

test.each(['from the front', 'from the back'])(
  'however many leave out of turn, %s, the order of the others holds',
  async (end) => {
    const queue = new WaitQueue<number>({ what: 'big', maxQueue: 2_000, timeoutError: () => new Error('over') });
    const controllers = Array.from({ length: 1_000 }, () => new AbortController());
    const served: number[] = [];
    const all = controllers.map(({ signal }, i) =>
      queue.wait({ signal, timeoutMs: forever, weight: i + 1 }).then(
        () => served.push(i),
        () => undefined,
      ),
    );
    const stays = (i: number) => i % 10 === 3;
    const leaving = controllers.filter((_, i) => !stays(i));
    for (const controller of end === 'from the back' ? leaving.reverse() : leaving) controller.abort();
    expect(queue.size).toBe(100);
    const kept = controllers.map((_, i) => i).filter(stays);
    expect([...queue.weights()]).toEqual(kept.map((i) => i + 1));
    expect(queue.weight).toBe(kept.reduce((sum, i) => sum + i + 1, 0));
    const last = queue.wait({ timeoutMs: forever, weight: 5 });
    for (let i = 0; i < 100; i++) queue.shift()?.resolve(i);
    expect([queue.size, queue.peek()]).toEqual([1, 5]);
    queue.shift()?.resolve(7);
    expect(await last).toBe(7);
    await Promise.all(all);
    expect(served).toEqual(kept);
    expect([queue.size, queue.weight, queue.peek()]).toEqual([0, 0, 0]);
  },
);

test.each([
  ['one timeout', {}],
  ['signals', { signal: new AbortController().signal }],
])(
  'hundreds whose time is over at one instant are told so in turns of the event loop, in their order (%s)',
  async (_, of) => {
    const timeoutError = (): Error => new Error('over');
    const many = new WaitQueue<string>({ what: 'desk', maxQueue: 1_000, clock, timeoutError });
    using turns = countTurns();
    const told: number[] = [];
    const inTurnOf = new Map<number, number>();
    const waits = Array.from({ length: 1_000 }, (_, i) =>
      many.wait({ timeoutMs: 10, ...of }).catch(() => {
        told.push(i);
        inTurnOf.set(turns.count, (inTurnOf.get(turns.count) ?? 0) + 1);
      }),
    );
    await clock.advance(11);
    await Promise.all(waits);
    expect(told).toEqual(waits.map((_, i) => i));
    expect(Math.max(...inTurnOf.values())).toBeLessThan(300);
    expect(many.size).toBe(0);
    many.rejectAll(undefined);
  },
);
