import assert from 'node:assert/strict';
import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import { SharedTable } from '../../src/concurrent/SharedTable.js';
import { RUNS } from '../support/runs.js';

test('its entries are those that were set last, within the bound; what gives way is the oldest of the owner that has most', () =>
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 60 }),
      fc.array(
        fc.record({
          do: fc.constantFrom('set', 'set', 'set', 'use', 'delete'),
          key: fc.nat({ max: 30 }),
          owner: fc.constantFrom('a', 'b', 'c'),
          weight: fc.integer({ min: 1, max: 20 }),
        }),
        { maxLength: 120, size: 'max' },
      ),
      (maxWeight, steps) => {
        const gone: number[] = [];
        const table = new SharedTable<number, number, string>({ maxWeight, onGone: (value) => void gone.push(value) });
        /** Oldest first. */
        let model: { key: number; value: number; owner: string; weight: number }[] = [];
        const weightOf = (owner?: string): number =>
          model.reduce((sum, each) => sum + (owner === undefined || each.owner === owner ? each.weight : 0), 0);
        for (const [value, { do: what, key, owner, weight }] of steps.entries()) {
          const known = model.find((each) => each.key === key);
          if (what === 'delete') {
            table.delete(key);
            model = model.filter((each) => each !== known);
          } else if (what === 'use') {
            table.use(key);
            if (known !== undefined) model = [...model.filter((each) => each !== known), known];
          } else {
            table.set(key, value, owner, weight);
            model = [...model.filter((each) => each !== known), { key, value, owner, weight }];
            for (const left of gone.splice(0)) {
              const given = model.find((each) => each.value === left);
              const most = Math.max(...['a', 'b', 'c'].map(weightOf));
              expect(weightOf(given?.owner)).toBe(most);
              expect(model.find((each) => each.owner === given?.owner)).toBe(given);
              model = model.filter((each) => each !== given);
            }
          }
          // `assert`, which costs a hundredth of `expect`: there are 50,000 of them.
          assert.deepEqual(gone, []);
          assert.equal(table.weight, weightOf());
          assert(table.weight <= maxWeight);
        }
        for (let at = 0; at <= 30; at++) {
          const own = model.find((each) => each.key === at);
          expect([table.has(at), table.get(at), table.ownerOf(at)]).toEqual([
            own !== undefined,
            own?.value,
            own?.owner,
          ]);
        }
      },
    ),
    { numRuns: Math.ceil(RUNS / 2) },
  ));

test('to make room the owners are looked through once, however many have equally much', () => {
  const owners = 200;
  const table = new SharedTable<number, undefined, number>({ maxWeight: 100 * owners });
  for (let each = 0; each < 100 * owners; each++) table.set(each, undefined, each % owners, 1);
  const looks = vi.spyOn(Map.prototype, 'values');
  table.set(-1, undefined, 0, 1);
  const count = looks.mock.calls.length;
  looks.mockRestore();
  expect(count).toBe(1);
  expect(table.weight).toBe(98 * owners);
  // Each gave two, the one that brought one more three.
  for (let owner = 0; owner < owners; owner++) {
    const left = Array.from({ length: 100 }, (_, i) => table.has(owner + i * owners));
    expect(left.filter((has) => has)).toHaveLength(owner === 0 ? 97 : 98);
  }
});
