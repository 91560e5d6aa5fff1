import { expect, test } from 'vitest';
import { Entry, LiveSet } from '../../../src/concurrent/resource/LiveSet.js';

const filled = (slots: number, resources: number): LiveSet<number> => {
  const live = new LiveSet<number>(slots, 'pack');
  for (let i = 0; i < resources; i++) live.add(new Entry(i, 0, 0));
  return live;
};

test('a full one that gets a slot back is the fullest again, above those with fewer leases', () => {
  const live = filled(3, 2);
  const [a, , , b] = [live.take(), live.take(), live.take(), live.take()] as [
    Entry<number>,
    unknown,
    unknown,
    Entry<number>,
  ];
  expect([a.load, b.load]).toEqual([3, 1]);
  live.put(a);
  expect(live.take()).toBe(a);
  expect(live.take()).toBe(b);
});

test('the one given back last is seen among the idle ones, also when it is the only one', () => {
  const live = filled(1, 1);
  const entry = live.take() as Entry<number>;
  expect(live.longestIdle).toBeUndefined();
  live.put(entry);
  expect(live.longestIdle).toBe(entry);
  expect(live.take()).toBe(entry);
  live.put(entry);
  expect(live.latestIdle).toBe(entry);
  live.remove(entry);
  expect(live.take()).toBeUndefined();
});
