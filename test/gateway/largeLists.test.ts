import { afterEach, expect, test, vi } from 'vitest';
import { sameItems } from '../../src/gateway/aggregate/lists/sameItems.js';
import { validItems } from '../../src/gateway/aggregate/lists/validItems.js';
import { listAll } from '../../src/pool/listAll.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { countTurns } from '../support/countTurns.js';

const ITEMS = 18;
const zeros = new Array(99_000).fill(0);
const tools = Array.from({ length: ITEMS }, (_, i) => ({
  name: `t${i}`,
  inputSchema: { type: 'object' as const, 'x-z': zeros },
}));
const page = async (): Promise<unknown> => ({ tools });

/** Each look at the clock finds it 2 ms later: what is done between is counted, not timed. */
function stepsTakeTwoMs(): void {
  let nowMs = 0;
  vi.spyOn(performance, 'now').mockImplementation(() => (nowMs += 2));
}

afterEach(() => vi.restoreAllMocks());

test('a list of many values is weighed, looked through and compared in turns of the event loop', async () => {
  stepsTakeTwoMs();
  const works = [
    () => listAll({ server: 's', request: page, clock: new FakeClock() }, 'tools'),
    () => validItems('tools', tools),
    () => sameItems(tools, [...tools]),
  ];
  for (const work of works) {
    using turns = countTurns();
    await work();
    // In 5 ms there are three looks.
    expect(turns.count).toBeGreaterThanOrEqual(Math.floor(ITEMS / 3) - 1);
  }
});

test('looked through in turns, a list is what it was, and the same bounds hold', async () => {
  stepsTakeTwoMs();
  const source = { server: 's', request: page, clock: new FakeClock() };
  expect((await listAll(source, 'tools')).items).toEqual(tools);
  await expect(listAll(source, 'tools', { maxBytes: 1_000_000 })).rejects.toThrow('has more than 1000000 bytes');
  const more = { ...source, request: async () => ({ tools: [...tools, ...tools] }) };
  await expect(listAll(more, 'tools')).rejects.toThrow('has too many values');
  const { items, problems } = await validItems('tools', [...tools, { ...(tools[0] as (typeof tools)[0]) }]);
  expect(items).toEqual(tools);
  expect(problems).toEqual(['tools[18] "t0": its name is there already']);
  const last = { ...(tools[17] as (typeof tools)[0]), description: 'other' };
  expect(await sameItems(tools, [...tools])).toBe(true);
  expect(await sameItems(tools, [...tools.slice(0, -1), last])).toBe(false);
  expect(await sameItems(tools, tools.slice(1))).toBe(false);
});
