import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Permit, Semaphore } from '../../src/concurrent/Semaphore.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { RUNS } from '../support/runs.js';

const forever = Number.POSITIVE_INFINITY;

const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('acquire' as const),
      weight: fc.integer({ min: 1, max: 4 }),
      timeoutMs: fc.constantFrom(forever, forever, 30, 100),
      signal: fc.constantFrom(undefined, 0, 1),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('tryAcquire' as const), weight: fc.integer({ min: 1, max: 4 }) }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('release' as const), which: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('abort' as const), which: fc.constantFrom(0, 1) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('resize' as const), to: fc.integer({ min: 1, max: 5 }) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.constantFrom(5, 40, 150) }) },
);

interface Asked {
  readonly weight: number;
  readonly signal: number | undefined;
  readonly dueMs: number;
  state: 'waiting' | 'served' | 'refused';
}

test(
  'permits are conserved and strictly first in, first out, whatever is acquired, aborted, timed out and resized',
  () =>
    fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 4 }), fc.array(step, { maxLength: 40 }), async (permits, steps) => {
        const clock = new FakeClock();
        const semaphore = new Semaphore({ permits, clock });
        let total = permits;
        const held: Permit[] = [];
        const broken: string[] = [];
        const asked: Asked[] = [];
        const controllers = [new AbortController(), new AbortController()];
        const used = () => held.reduce((sum, permit) => sum + permit.weight, 0);
        const waiting = () => asked.filter((each) => each.state === 'waiting');
        for (const each of steps) {
          if (each.do === 'acquire') {
            const me: Asked = {
              weight: each.weight,
              signal: each.signal,
              dueMs: clock.now() + each.timeoutMs,
              state: 'waiting',
            };
            const before = asked.length;
            asked.push(me);
            const settle = (state: 'served' | 'refused') => {
              if (me.state !== 'waiting') broken.push('settled twice');
              me.state = state;
            };
            const signal = each.signal === undefined ? undefined : controllers[each.signal]?.signal;
            semaphore.acquire({ weight: each.weight, timeoutMs: each.timeoutMs, signal }).then(
              (permit) => {
                if (asked.slice(0, before).some((other) => other.state === 'waiting')) broken.push('overtaken');
                settle('served');
                held.push(permit);
                if (used() > total) broken.push('more out than there are');
              },
              () => settle('refused'),
            );
          } else if (each.do === 'tryAcquire') {
            if (each.weight > total) continue;
            const fits = waiting().length === 0 && used() + each.weight <= total;
            const permit = semaphore.tryAcquire(each.weight);
            assert.equal(permit !== undefined, fits);
            if (permit !== undefined) held.push(permit);
          } else if (each.do === 'release') {
            const [permit] = held.splice(each.which % Math.max(1, held.length), 1);
            permit?.release();
            permit?.release();
          } else if (each.do === 'abort') controllers[each.which]?.abort('enough');
          else if (each.do === 'resize') {
            total = each.to;
            semaphore.resize(total);
          } else await clock.advance(each.ms);
          await clock.advance(0);
          assert.deepEqual(broken, []);
          assert.equal(semaphore.waiting, waiting().length);
          assert.equal(semaphore.available, Math.max(0, total - used()));
          const first = waiting()[0];
          if (first !== undefined) {
            assert(used() + first.weight > total, 'nothing free while the first would fit');
            assert(first.weight <= total);
          }
          for (const { signal, dueMs } of waiting()) {
            expect(signal !== undefined && controllers[signal]?.signal.aborted, 'aborted ones are gone').not.toBe(true);
            assert(clock.now() < dueMs + 12, 'overdue ones are gone');
          }
        }
        const closing = semaphore.close();
        for (const permit of held.splice(0)) permit.release();
        await closing;
        assert.deepEqual(waiting(), []);
        assert.equal(clock.armedTimers, 0);
        for (const { signal } of controllers) expect(getEventListeners(signal, 'abort')).toHaveLength(0);
      }),
      { numRuns: RUNS },
    ),
  600_000,
);
