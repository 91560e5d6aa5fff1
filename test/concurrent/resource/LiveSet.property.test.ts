import assert from 'node:assert/strict';
import fc from 'fast-check';
import { test } from 'vitest';
import { Entry, LiveSet } from '../../../src/concurrent/resource/LiveSet.js';
import { RUNS } from '../../support/runs.js';

/** The same by brute force: a list in the order in which each was last put somewhere. */
class Model {
  readonly entries: { entry: Entry<number>; load: number; at: number }[] = [];
  readonly #slots: number;
  readonly #pack: boolean;
  #at = 0;

  constructor(slots: number, pack: boolean) {
    this.#slots = slots;
    this.#pack = pack;
  }

  add(entry: Entry<number>): void {
    this.entries.push({ entry, load: 0, at: this.#at++ });
  }

  take(): Entry<number> | undefined {
    const free = this.entries.filter((each) => each.load < this.#slots);
    const sign = this.#pack ? -1 : 1;
    const best = free.sort((a, b) => sign * (a.load - b.load) || sign * (a.at - b.at))[0];
    if (best !== undefined) this.#move(best, 1);
    return best?.entry;
  }

  put(entry: Entry<number>): void {
    for (const each of this.entries) if (each.entry === entry) this.#move(each, -1);
  }

  remove(entry: Entry<number>): void {
    this.entries.splice(
      this.entries.findIndex((each) => each.entry === entry),
      1,
    );
  }

  get idle(): Entry<number>[] {
    return this.entries
      .filter((each) => each.load === 0)
      .sort((a, b) => a.at - b.at)
      .map((each) => each.entry);
  }

  #move(each: { load: number; at: number }, by: number): void {
    each.load += by;
    each.at = this.#at++;
  }
}

const step = fc.record({ do: fc.constantFrom('add', 'take', 'take', 'take', 'put', 'put', 'remove'), which: fc.nat() });

test('the live set gives what a search over all resources would', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 4 }),
      fc.constantFrom('pack' as const, 'spread' as const),
      fc.integer({ min: 0, max: 5 }),
      fc.array(step, { maxLength: 80 }),
      (slots, placement, atFirst, steps) => {
        const live = new LiveSet<number>(slots, placement);
        const model = new Model(slots, placement === 'pack');
        let count = 0;
        const first = Array.from({ length: atFirst }, () => ({ do: 'add', which: 0 }));
        for (const { do: what, which } of [...first, ...steps]) {
          const any = model.entries[which % Math.max(1, model.entries.length)];
          if (what === 'add') {
            const entry = new Entry(count++, 0, 0);
            live.add(entry);
            model.add(entry);
            assert.equal(entry.state, 'live');
          } else if (what === 'take') assert.equal(live.take(), model.take());
          else if (what === 'put' && any !== undefined && any.load > 0) {
            any.entry.idleSinceMs = 5;
            live.put(any.entry);
            model.put(any.entry);
            assert.equal(any.entry.idleSinceMs, any.load === 0 ? -1 : 5);
          } else if (what === 'remove' && any !== undefined) {
            live.remove(any.entry);
            model.remove(any.entry);
          }
          assert.equal(live.size, model.entries.length);
          for (const { entry, load } of model.entries) assert.equal(entry.load, load);
          // Not at every step: looking at the idle ones puts them in order.
          if (which % 3 > 0) continue;
          assert.equal(live.longestIdle, model.idle[0]);
          const idle: Entry<number>[] = [];
          for (let entry = live.latestIdle; entry !== undefined; entry = entry.below) idle.unshift(entry);
          assert.deepEqual(idle, model.idle);
        }
      },
    ),
    { numRuns: RUNS },
  );
});
