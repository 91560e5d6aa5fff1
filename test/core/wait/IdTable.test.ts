import assert from 'node:assert/strict';
import fc from 'fast-check';
import { test } from 'vitest';
import { IdTable } from '../../../src/core/wait/IdTable.js';
import { RUNS } from '../../support/runs.js';

interface Thing {
  readonly id: number;
}

test('things that come and go in any order, some for long, are found like in a map', () =>
  fc.assert(
    fc.property(
      fc.array(fc.record({ add: fc.nat({ max: 300 }), keep: fc.nat({ max: 400 }), pick: fc.nat() }), { maxLength: 30 }),
      (steps) => {
        const table = new IdTable<Thing>();
        const model = new Map<number, Thing>();
        let id = 1;
        for (const { add, keep, pick } of steps) {
          for (let i = 0; i < add; i++) {
            const thing = { id: id++ };
            table.add(thing);
            model.set(thing.id, thing);
          }
          for (let at = pick; model.size > keep; at++) {
            const thing = [...model.values()][at % model.size] as Thing;
            assert.deepEqual([table.delete(thing), table.delete(thing)], [true, false]);
            model.delete(thing.id);
          }
          assert.equal(table.size, model.size);
          const values = [...model.values()];
          assert.deepEqual(
            table.values().filter((thing, at) => thing !== values[at]),
            [],
          );
          // One assertion for all: there are some hundred thousand of them.
          const wrong: number[] = [];
          for (let each = 0; each <= id; each++) if (table.get(each) !== model.get(each)) wrong.push(each);
          assert.deepEqual(wrong, []);
        }
      },
    ),
    { numRuns: Math.ceil(RUNS / 10) },
  ));
