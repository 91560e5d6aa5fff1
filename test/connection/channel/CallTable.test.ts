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
          expect(table.values()).toEqual([...model.values()]);
          for (let each = 0; each <= id; each++) expect(table.get(each)).toBe(model.get(each));
        }
      },
    ),
    { numRuns: Math.ceil(RUNS / 10) },
  ));
