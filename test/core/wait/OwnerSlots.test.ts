import { expect, test } from 'vitest';
import { OwnerSlots } from '../../../src/core/wait/OwnerSlots.js';
import { FakeClock } from '../../../src/testing/FakeClock.js';

const NEVER = new AbortController().signal;

test('each owner has so many slots at a time; its others wait in their order, and leave when they abort', async () => {
  const slots = new OwnerSlots({ max: 2, holdMs: 1_000, clock: new FakeClock() });
  const [first, second] = [await slots.take('a', NEVER), slots.tryTake('a')];
  expect(slots.tryTake('a')).toBeUndefined();
  const got: string[] = [];
  const leaving = new AbortController();
  const take = async (name: string, signal = NEVER): Promise<Disposable> => {
    const slot = await slots.take('a', signal);
    got.push(name);
    return slot;
  };
  const [third, gone, fourth] = [take('third'), take('gone', leaving.signal), take('fourth')];
  slots.tryTake('b')?.[Symbol.dispose]();
  leaving.abort('left');
  await expect(gone).rejects.toBe('left');
  await expect(slots.take('a', leaving.signal)).rejects.toBe('left');
  expect(got).toEqual([]);
  first[Symbol.dispose]();
  first[Symbol.dispose]();
  // What waits goes before what comes.
  expect(slots.tryTake('a')).toBeUndefined();
  (await third)[Symbol.dispose]();
  expect(got).toEqual(['third']);
  const last = await fourth;
  for (const slot of [second, last]) slot?.[Symbol.dispose]();
  for (const slot of [await slots.take('a', NEVER), await slots.take('a', NEVER)]) slot[Symbol.dispose]();
});

test('a slot counts for so long at most', async () => {
  const clock = new FakeClock();
  const slots = new OwnerSlots({ max: 1, holdMs: 1_000, clock });
  const slow = await slots.take('a', NEVER);
  const next = slots.take('a', NEVER);
  await clock.advance(1_000);
  const held = await next;
  slow[Symbol.dispose]();
  expect(slots.tryTake('a')).toBeUndefined();
  held[Symbol.dispose]();
  slots.tryTake('a')?.[Symbol.dispose]();
});
