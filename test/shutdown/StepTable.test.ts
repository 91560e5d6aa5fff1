import { expect, test } from 'vitest';
import { type Step, StepTable } from '../../src/shutdown/plan/steps.js';

/** So many looks at its steps a table takes to be filled, in the order of `places`, and run; each step waits for what `after` says. */
function looks(places: readonly number[], after: (place: number) => readonly number[]): number {
  let count = 0;
  const table = new StepTable();
  const step = (place: number): Step =>
    new Proxy(
      {
        name: `${place}`,
        target: () => undefined,
        stage: 'close',
        timeoutMs: 1,
        graceMs: undefined,
        after: after(place).map(String),
        critical: true,
        state: 'waiting',
      } satisfies Step,
      {
        get: (target, key) => {
          count++;
          return target[key as keyof Step];
        },
      },
    );
  for (const place of places) table.add(step(place));
  const ran: string[] = [];
  for (let ready = table.ready('close'); ready.length > 0; ready = table.ready('close')) {
    for (const each of ready) table.begin(each);
    for (const each of ready) {
      table.keptBack(each);
      table.settle(each);
      ran.push(each.name);
    }
  }
  expect(new Set(ran).size).toBe(places.length);
  for (const [at, name] of ran.entries()) {
    for (const each of after(Number(name))) expect(ran.indexOf(String(each))).toBeLessThan(at);
  }
  return count;
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i);
const previous = (place: number): number[] => (place === 0 ? [] : [place - 1]);

test.each([
  ['a chain', upTo, previous],
  ['a chain that is added from its end', (count: number) => upTo(count).reverse(), previous],
  ['steps that wait for nothing', upTo, () => []],
  ['steps that wait for one', upTo, (place: number) => (place === 0 ? [] : [0])],
  [
    'steps in pairs of which each waits for both before',
    upTo,
    (place: number) => (place < 2 ? [] : [place - (place % 2) - 2, place - (place % 2) - 1]),
  ],
] as const)('%s costs no more for each step the more there are', (_, places, after) => {
  expect(looks(places(600), after)).toBeLessThan(2.5 * looks(places(300), after));
});

test('a chain may be longer than the stack is deep, and a circle through it is found', () => {
  const table = new StepTable();
  const step = (name: string, after: readonly string[]): Step => ({
    name,
    target: () => undefined,
    stage: 'close',
    timeoutMs: 1,
    graceMs: undefined,
    after,
    critical: true,
    state: 'waiting',
  });
  const count = 20_000;
  table.add(step('0', ['end']));
  for (let i = 1; i < count; i++) table.add(step(`${i}`, [`${i - 1}`]));
  expect(table.keptBack(table.ready('close')[0] as Step)).toBe(count - 1);
  expect(() => table.add(step('end', [`${count - 1}`]))).toThrow('there is one: end -> 19999 -> 19998 -> ');
  expect(() => table.add(step('self', ['self']))).toThrow('there is one: self -> self');
  // What was refused is not there.
  table.add(step('end', []));
  expect(table.ready('close').map(({ name }) => name)).toEqual(['end']);
});
