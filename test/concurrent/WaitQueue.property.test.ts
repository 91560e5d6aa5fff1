import assert from 'node:assert/strict';
import fc from 'fast-check';
import { test } from 'vitest';
import { WaitQueue } from '../../src/concurrent/queue/WaitQueue.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { RUNS, RUNS_TIMEOUT_MS } from '../support/runs.js';

const forever = Number.POSITIVE_INFINITY;
const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('wait' as const),
      times: fc.constantFrom(1, 1, 3, 40),
      timeoutMs: fc.constantFrom(forever, 100, 100, 250),
      weight: fc.constantFrom(1, 1, 1, 2),
      signal: fc.constantFrom(undefined, undefined, 0, 1),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('shift' as const), times: fc.constantFrom(1, 2, 30) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('abort' as const), signal: fc.constantFrom(0, 1) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.constantFrom(0, 60, 130) }) },
);

interface Waiting {
  readonly number: number;
  readonly weight: number;
  readonly signal: number | undefined;
  readonly dueMs: number;
}

test(
  'whatever waits, leaves and is served, the queue is the list of those who wait, in their order',
  async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60, size: 'max' }), async (steps) => {
        const clock = new FakeClock();
        const queue = new WaitQueue<number>({
          what: 'queue',
          maxQueue: forever,
          clock,
          timeoutError: (timeoutMs, weight) => new Error(`late ${timeoutMs} ${weight}`),
        });
        const controllers = [new AbortController(), new AbortController()];
        const ends = new Map<number, string>();
        const expected = new Map<number, string>();
        let model: Waiting[] = [];
        let asked = 0;
        const leave = (which: (waiting: Waiting) => boolean, how: string): void => {
          for (const each of model.filter(which)) expected.set(each.number, how);
          model = model.filter((each) => !which(each));
        };
        for (const each of steps) {
          if (each.do === 'wait') {
            for (let i = 0; i < each.times; i++) {
              const number = asked++;
              const { timeoutMs, weight } = each;
              const signal =
                each.signal === undefined ? undefined : (controllers[each.signal] as AbortController).signal;
              queue.wait({ timeoutMs, weight, signal, tag: number }).then(
                (value) => void ends.set(number, `served ${value}`),
                (error: unknown) => void ends.set(number, error instanceof Error ? 'late' : String(error)),
              );
              model.push({ number, weight, signal: each.signal, dueMs: clock.now() + timeoutMs });
            }
          } else if (each.do === 'shift') {
            for (let i = 0; i < each.times; i++) {
              assert.equal(queue.peek(), model[0]?.weight ?? 0);
              const waiter = queue.shift();
              const first = model.shift();
              assert.equal(waiter?.tag, first?.number);
              assert.equal(waiter?.weight, first?.weight);
              if (first === undefined) break;
              waiter?.resolve(first.number);
              expected.set(first.number, `served ${first.number}`);
            }
          } else if (each.do === 'abort') {
            controllers[each.signal]?.abort('aborted');
            controllers[each.signal] = new AbortController();
            leave(({ signal }) => signal === each.signal, 'aborted');
          } else {
            await clock.advance(each.ms);
            const nowMs = clock.now();
            leave(({ dueMs, number }) => dueMs <= nowMs && ends.has(number), 'late');
            // The wheel's tick is 10 ms.
            assert.deepEqual(
              model.filter(({ dueMs }) => dueMs < nowMs - 20),
              [],
            );
          }
          assert.equal(queue.size, model.length);
          assert.deepEqual(
            [...queue.weights()],
            model.map(({ weight }) => weight),
          );
          assert.equal(
            queue.weight,
            model.reduce((sum, { weight }) => sum + weight, 0),
          );
        }
        queue.rejectAll('closed');
        for (const { number } of model) expected.set(number, 'closed');
        await clock.advance(0);
        assert.deepEqual(Object.fromEntries(ends), Object.fromEntries(expected));
        assert.deepEqual([queue.size, queue.weight, clock.armedTimers], [0, 0, 0]);
      }),
      { numRuns: Math.ceil(RUNS / 5) },
    );
  },
  RUNS_TIMEOUT_MS,
);
