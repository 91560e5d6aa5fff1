import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Call } from '../../../src/connection/channel/Call.js';
import { CallTable } from '../../../src/connection/channel/CallTable.js';
import { RUNS } from '../../support/runs.js';

const nothing = (): undefined => undefined;
const callOf = (id: number): Call => new Call(id, 'm', undefined, {}, nothing, nothing, nothing);

test('calls that come and go in any order, some for long, are found like in a map', () =>
  fc.assert(
    fc.property(
      fc.array(fc.record({ add: fc.nat({ max: 300 }), keep: fc.nat({ max: 400 }), pick: fc.nat() }), { maxLength: 30 }),
      (steps) => {
        const table = new CallTable();
        const model = new Map<number, Call>();
        let id = 1;
        for (const { add, keep, pick } of steps) {
          for (let i = 0; i < add; i++) {
            const call = callOf(id++);
            table.add(call);
            model.set(call.id, call);
          }
          for (let at = pick; model.size > keep; at++) {
            const call = [...model.values()][at % model.size] as Call;
            table.delete(call);
            table.delete(call);
            model.delete(call.id);
          }
          expect(table.size).toBe(model.size);
          const values = [...model.values()];
          expect(table.values().filter((call, at) => call !== values[at])).toEqual([]);
          // One assertion for all: there are some hundred thousand of them.
          const wrong: number[] = [];
          for (let each = 0; each <= id; each++) if (table.get(each) !== model.get(each)) wrong.push(each);
          expect(wrong).toEqual([]);
        }
      },
    ),
    { numRuns: Math.ceil(RUNS / 10) },
  ));
