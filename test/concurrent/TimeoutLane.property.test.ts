import assert from 'node:assert/strict';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { WaitQueue } from '../../src/concurrent/queue/WaitQueue.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { RUNS, RUNS_TIMEOUT_MS } from '../support/runs.js';

const forever = Number.POSITIVE_INFINITY;
const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('wait' as const),
      timeoutMs: fc.constantFrom(200, 200, 200, 70, forever),
      abortable: fc.boolean(),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('serve' as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('abort' as const), which: fc.nat() }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.constantFrom(0, 7, 60, 150, 400) }) },
);

interface Caller {
  readonly sinceMs: number;
  readonly timeoutMs: number;
  readonly controller: AbortController | undefined;
  state: 'waiting' | 'served' | 'aborted' | 'timedOut';
  endedMs: number;
}

test(
  'timeouts of any mix are never early and at most two ticks late, and nobody is passed over or left',
  () =>
    fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60, size: 'max' }), async (steps) => {
        const clock = new FakeClock();
        const timedOut = new Error('over');
        const queue = new WaitQueue<number>({ what: 'lane', maxQueue: 1_000, clock, timeoutError: () => timedOut });
        const callers: Caller[] = [];
        const still = () => callers.filter(({ state }) => state === 'waiting');
        for (const each of steps) {
          if (each.do === 'wait') {
            const controller = each.abortable ? new AbortController() : undefined;
            const caller: Caller = {
              sinceMs: clock.now(),
              timeoutMs: each.timeoutMs,
              controller,
              state: 'waiting',
              endedMs: 0,
            };
            callers.push(caller);
            queue.wait({ timeoutMs: each.timeoutMs, signal: controller?.signal }).then(
              () => undefined,
              (error: unknown) => {
                caller.state = error === timedOut ? 'timedOut' : 'aborted';
                caller.endedMs = clock.now();
              },
            );
          } else if (each.do === 'serve') {
            const oldest = still()[0];
            const waiter = queue.shift();
            assert.equal(waiter === undefined, oldest === undefined);
            if (oldest !== undefined) oldest.state = 'served';
            waiter?.resolve(0);
          } else if (each.do === 'abort') {
            const abortable = still().filter(({ controller }) => controller !== undefined);
            abortable[each.which % Math.max(1, abortable.length)]?.controller?.abort('stop');
            await Promise.resolve();
          } else {
            for (let left = each.ms; left >= 0; left -= 10) await clock.advance(Math.min(10, left));
          }
          // `assert`, which costs a hundredth of `expect`: there are 100,000 of them.
          assert.equal(queue.size, still().length);
          for (const { sinceMs, timeoutMs, state, endedMs } of callers) {
            if (state === 'timedOut') {
              assert(endedMs - sinceMs >= timeoutMs);
              assert(endedMs - sinceMs <= timeoutMs + 21);
            }
            if (state === 'waiting') assert(clock.now() - sinceMs <= timeoutMs + 21);
          }
        }
        queue.rejectAll('closed');
        expect([queue.size, queue.weight, clock.armedTimers]).toEqual([0, 0, 0]);
      }),
      { numRuns: RUNS },
    ),
  RUNS_TIMEOUT_MS,
);

test('waiters of one timeout run out in order although others stand between and before them', async () => {
  const clock = new FakeClock();
  const queue = new WaitQueue<string>({ what: 'lane', maxQueue: 100, clock, timeoutError: () => new Error('over') });
  const ended: string[] = [];
  const wait = (name: string, timeoutMs: number) =>
    void queue.wait({ timeoutMs }).then(
      () => ended.push(`${name} served`),
      () => ended.push(`${name} over`),
    );
  wait('patient', forever);
  wait('a', 100);
  wait('other', 350);
  wait('b', 100);
  await clock.advance(50);
  wait('c', 100);
  expect(clock.armedTimers).toBe(1);
  await clock.advance(99);
  expect(ended).toEqual(['a over', 'b over']);
  await clock.advance(12);
  expect(ended).toEqual(['a over', 'b over', 'c over']);
  wait('d', 500);
  queue.shift()?.resolve('slot');
  await clock.advance(250);
  expect(ended.slice(3)).toEqual(['patient served', 'other over']);
  await clock.advance(280);
  expect(ended.at(-1)).toBe('d over');
  expect([queue.size, queue.weight]).toEqual([0, 0]);
  queue.rejectAll('closed');
  expect(clock.armedTimers).toBe(0);
});

test('a turn that lasts long makes its timeouts late by that turn, never early', async () => {
  const clock = new FakeClock();
  const queue = new WaitQueue<string>({ what: 'lane', maxQueue: 100, clock, timeoutError: () => new Error('over') });
  const ended: string[] = [];
  const wait = (name: string) => void queue.wait({ timeoutMs: 100 }).catch(() => ended.push(name));
  wait('first');
  wait('second');
  clock.suspend(40);
  await clock.advance(60);
  await clock.advance(15);
  expect(ended).toEqual(['first']);
  await clock.advance(40);
  expect(ended).toEqual(['first', 'second']);
  queue.rejectAll('closed');
});

test('one that comes in the turn in which the lane was emptied runs out too; an empty lane holds no process', async () => {
  const clock = new FakeClock();
  const queue = new WaitQueue<string>({ what: 'lane', maxQueue: 100, clock, timeoutError: () => new Error('over') });
  const ended: string[] = [];
  const wait = (name: string, timeoutMs: number) =>
    void queue.wait({ timeoutMs }).then(
      () => ended.push(`${name} served`),
      () => ended.push(`${name} over`),
    );
  wait('a', 100);
  wait('b', 100);
  queue.shift()?.resolve('slot');
  queue.shift()?.resolve('slot');
  expect(clock.refTimers).toBe(0);
  wait('c', 300);
  wait('d', 300);
  expect(clock.refTimers).toBe(1);
  await clock.advance(290);
  expect(ended).toEqual(['a served', 'b served']);
  await clock.advance(30);
  expect(ended.slice(2)).toEqual(['c over', 'd over']);
  expect(clock.refTimers).toBe(0);
  queue.rejectAll('closed');
});
