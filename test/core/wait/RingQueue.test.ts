import fc from 'fast-check';
import { expect, test } from 'vitest';
import { RingQueue } from '../../../src/core/wait/RingQueue.js';
import { RUNS, RUNS_TIMEOUT_MS } from '../../support/runs.js';

test('the oldest comes out first, across growth and the ring’s seam', () => {
  const queue = new RingQueue<number>();
  for (let i = 0; i < 10; i++) queue.push(i);
  for (let i = 0; i < 10; i++) expect(queue.shift()).toBe(i);
  for (let i = 0; i < 1_000; i++) queue.push(i);
  expect(queue.peek()).toBe(0);
  for (let i = 0; i < 1_000; i++) expect(queue.shift()).toBe(i);
  expect([queue.size, queue.shift(), queue.peek()]).toEqual([0, undefined, undefined]);
});

test('it behaves as an array does', { timeout: RUNS_TIMEOUT_MS }, () => {
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.record({ push: fc.nat() }) },
    { weight: 3, arbitrary: fc.constant('shift' as const) },
    fc.constant('clear' as const),
    fc.record({ many: fc.integer({ min: 10, max: 40 }) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      const queue = new RingQueue<number>();
      let model: number[] = [];
      for (const each of steps) {
        if (each === 'shift') expect(queue.shift()).toBe(model.shift());
        else if (each === 'clear') {
          queue.clear();
          model = [];
        } else {
          const items = 'push' in each ? [each.push] : Array.from({ length: each.many }, (_, i) => i);
          for (const item of items) queue.push(item);
          model.push(...items);
        }
        expect([queue.size, queue.peek()]).toEqual([model.length, model[0]]);
        expect([...queue]).toEqual(model);
      }
    }),
    { numRuns: RUNS },
  );
});
