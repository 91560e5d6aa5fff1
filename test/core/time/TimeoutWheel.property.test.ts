import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import fc from 'fast-check';
import { test } from 'vitest';
import { TimeoutWheel, WheelEntry } from '../../../src/core/time/TimeoutWheel.js';
import { FakeClock } from '../../../src/testing/FakeClock.js';
import { RUNS, RUNS_TIMEOUT_MS } from '../../support/runs.js';

const ENTRIES = 12;
/** At most a tick of 10 ms late, and 1 ms for a timer that aims past the tick's edge. */
const LATE_MS = 11;

const delayMs = fc.oneof(
  fc.nat(60),
  fc.nat(20_000),
  fc.double({ min: 0, max: 200, noNaN: true }),
  fc.constant(Number.POSITIVE_INFINITY),
);
const entry = fc.nat(ENTRIES - 1);

type Change =
  | { readonly do: 'add'; readonly entry: number; readonly delayMs: number }
  | { readonly do: 'remove'; readonly entry: number };

const change: fc.Arbitrary<Change> = fc.oneof(
  fc.record({ do: fc.constant('add' as const), entry, delayMs }),
  fc.record({ do: fc.constant('remove' as const), entry }),
);

type Step =
  | { readonly do: 'change'; readonly change: Change }
  | { readonly do: 'advance' | 'suspend'; readonly ms: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('change' as const), change }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('advance' as const), ms: delayMs.filter(Number.isFinite) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('suspend' as const), ms: fc.nat(12_000) }) },
);

test('never early, at most a tick late, under any adding, moving and removing, also from inside callbacks', {
  timeout: RUNS_TIMEOUT_MS,
}, async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 40 }),
      // What the callback of each entry does, at its first few firings.
      fc.array(fc.array(fc.array(change, { maxLength: 3 }), { maxLength: 3 }), {
        minLength: ENTRIES,
        maxLength: ENTRIES,
      }),
      async (steps, reactions) => {
        // Each run has a turn of the event loop, of which all wheels have one share.
        await setImmediate();
        const clock = new FakeClock();
        const wheel = new TimeoutWheel(clock);
        /** The model: who is in, and when it is due. */
        const due = new Map<number, number>();
        /** Time that was slept through: nothing could fire then. */
        let asleepUntilMs = 0;
        const latestMs = (dueMs: number): number => Math.max(dueMs, asleepUntilMs) + LATE_MS + 1e-6;

        class Entry extends WheelEntry {
          readonly #index: number;
          #times = 0;

          constructor(index: number) {
            super();
            this.#index = index;
          }

          override onTimeout(): void {
            const dueMs = due.get(this.#index);
            assert(dueMs !== undefined, 'it was in');
            due.delete(this.#index);
            assert(clock.now() >= dueMs, 'never early');
            assert(clock.now() < latestMs(dueMs), 'never late');
            for (const each of reactions[this.#index]?.[this.#times++] ?? []) apply(each);
          }
        }
        const entries = Array.from({ length: ENTRIES }, (_, i) => new Entry(i));

        const apply = (each: Change): void => {
          const changed = entries[each.entry] as Entry;
          due.delete(each.entry);
          if (each.do === 'remove') wheel.remove(changed);
          else {
            wheel.add(changed, each.delayMs);
            if (each.delayMs !== Number.POSITIVE_INFINITY) due.set(each.entry, clock.now() + each.delayMs);
          }
        };

        for (const each of steps) {
          if (each.do === 'change') apply(each.change);
          else if (each.do === 'suspend') {
            clock.suspend(each.ms);
            asleepUntilMs = clock.now();
          } else clock.advanceSync(each.ms);
          assert.equal(wheel.size, due.size);
          if (each.do === 'suspend') continue;
          for (const dueMs of due.values()) {
            assert(clock.now() < latestMs(dueMs), 'not overdue');
          }
          assert(clock.armedTimers <= 1);
          assert.equal(clock.refTimers, due.size > 0 ? 1 : 0);
        }
        // Whoever is still in comes out in the end.
        for (let i = 0; i < 100 && due.size > 0; i++) clock.advanceSync(20_011);
        assert.deepEqual([due.size, wheel.size], [0, 0]);
        wheel.close();
        assert.equal(clock.armedTimers, 0);
      },
    ),
    { numRuns: RUNS },
  );
});
