import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ConnectionLimit, type ConnectionPermit, type Evictable } from '../../src/concurrent/ConnectionLimit.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { RUNS, RUNS_TIMEOUT_MS } from '../support/runs.js';

function limit(max: number, candidates: () => Iterable<Evictable> = () => [], parent?: ConnectionLimit) {
  const clock = new FakeClock();
  const all = new ConnectionLimit({ max, clock, maxHoldMs: 1_000, candidates, ...(parent && { parent }) });
  return { all, clock };
}

/** A connection that may give way, and counts how often it was asked. */
function evictable(idle: boolean, lastUse: number, heldSinceMs = 0, group = 'old') {
  return {
    group,
    idle,
    lastUse,
    heldSinceMs,
    asked: 0,
    evict() {
      this.asked++;
      this.idle = false;
    },
  };
}
const never = new AbortController().signal;

test('principals that wait are served in turn, one permit each', async () => {
  const { all } = limit(1);
  let held = await all.take('first', never);
  const order: string[] = [];
  const line = ['a', 'a', 'a', 'b', 'c', 'b'];
  const served = line.map((group, i) =>
    all.take(group, never).then((permit) => {
      order.push(group + i);
      return permit;
    }),
  );
  for (let i = 0; i < line.length; i++) {
    held.release();
    held.release();
    await Promise.resolve();
    await Promise.resolve();
    held = await Promise.race(served.filter((_, at) => !order.slice(0, i).includes(line[at] + String(at))));
    expect(all.taken).toBe(1);
  }
  expect(order).toEqual(['a0', 'b3', 'c4', 'a1', 'b5', 'a2']);
  held.release();
  expect(all.taken).toBe(0);
});

test('waiters evict as many idle connections as they need, those used longest ago first, and no more', async () => {
  const idle = [3, 1, 2].map((lastUse) => evictable(true, lastUse));
  const { all } = limit(3, () => idle);
  const held = await Promise.all([1, 2, 3].map(() => all.take('old', never)));
  const first = all.take('a', never);
  expect(idle.map(({ asked }) => asked)).toEqual([0, 1, 0]);
  const second = all.take('b', never);
  expect(idle.map(({ asked }) => asked)).toEqual([0, 1, 1]);
  held[0]?.release();
  held[1]?.release();
  await Promise.all([first, second]);
  all.close();
});

test('starts that hang and hold most of a limit end none that is up, at once or later; those that come up make room again', async () => {
  const idle = [1, 2].map((lastUse) => evictable(true, lastUse, 0, ''));
  const clock = new FakeClock();
  const parent = new ConnectionLimit({ max: 4, clock, maxHoldMs: 1_000, candidates: () => idle, maxStarting: 3 });
  const { all } = limit(9, () => [], parent);
  const take = (): Promise<ConnectionPermit> => all.take('', never);
  const held = await Promise.all([take(), take(), take(), take()]);
  held[0]?.started();
  const waiting = [take(), take(), take()];
  await clock.advance(2_000);
  expect([parent.wants(''), ...idle.map(({ asked }) => asked)]).toEqual([false, 0, 0]);
  held[1]?.started();
  held[1]?.started();
  // One in place of the one that is up now, not one for each that waits.
  expect(idle.map(({ asked }) => asked)).toEqual([1, 0]);
  held[0]?.release();
  await waiting[0];
  await clock.advance(2_000);
  expect(idle.map(({ asked }) => asked)).toEqual([1, 0]);
  // A start that failed gives its place to the next that waits.
  held[2]?.release();
  held[2]?.release();
  await waiting[1];
  expect(idle.map(({ asked }) => asked)).toEqual([1, 0]);
  held[1]?.release();
  held[3]?.release();
  for (const each of waiting) (await each).release();
  expect([all.taken, parent.taken]).toEqual([0, 0]);
  parent.close();
});

test('after maxHoldMs the connection held longest is asked, and again for as long as a caller waits', async () => {
  const busy = [evictable(false, 1, 20), evictable(false, 2, 10)];
  const { all, clock } = limit(1, () => busy);
  const held = await all.take('old', never);
  const waiting = all.take('new', never);
  const asked = (): number[] => busy.map((each) => each.asked);
  await clock.advance(999);
  expect(asked()).toEqual([0, 0]);
  await clock.advance(1);
  expect(asked()).toEqual([0, 1]);
  await clock.advance(2_000);
  expect(asked()).toEqual([0, 3]);
  held.release();
  await waiting;
  await clock.advance(5_000);
  expect(asked()).toEqual([0, 3]);
  expect(clock.armedTimers).toBe(0);
});

test('a second waiter is not forgotten when the first one’s permit was all that was idle', async () => {
  const connections = [evictable(true, 1), evictable(false, 2)];
  const { all, clock } = limit(2, () => connections);
  const [one] = await Promise.all([all.take('x', never), all.take('y', never)]);
  const first = all.take('a', never);
  const second = all.take('b', never);
  one?.release();
  await first;
  await clock.advance(1_000);
  expect(connections[0]?.asked).toBe(2);
  expect(all.waiting).toBe(1);
  all.close();
  second.catch(() => undefined);
});

test('a permit under two limits is under both or none', async () => {
  const { all: total } = limit(1);
  const { all: own } = limit(2, undefined, total);
  const permit = own.tryTake('a');
  expect([own.taken, total.taken]).toEqual([1, 1]);
  expect(own.tryTake('a')).toBeUndefined();
  expect([own.taken, total.taken]).toEqual([1, 1]);
  const control = new AbortController();
  const waiting = own.take('a', control.signal).catch((error: unknown) => error);
  await Promise.resolve();
  expect(total.waiting).toBe(1);
  control.abort('no');
  expect(await waiting).toBe('no');
  expect([own.taken, total.taken]).toEqual([1, 1]);
  permit?.release();
  expect([own.taken, total.taken, total.waiting]).toEqual([0, 0, 0]);
});

test('one group takes three quarters of a limit and no more, so that others are not kept out', async () => {
  const { all } = limit(16);
  const permits = await Promise.all(Array.from({ length: 12 }, () => all.take('a', never)));
  const more = all.take('a', never);
  expect([all.tryTake('a'), all.waiting, all.kept]).toEqual([undefined, 1, 4]);
  expect(all.tryTake('b')?.group).toBe('b');
  await all.take('', never);
  permits[0]?.release();
  await Promise.resolve();
  // The place of the one that left is kept too: 11 are more than three times the 3 that are free.
  expect([all.taken, all.waiting]).toEqual([13, 1]);
  permits[1]?.release();
  permits[2]?.release();
  await more;
  expect([all.taken, all.waiting]).toEqual([12, 0]);
  all.close();
});

test('a group that may take no more has its own idle connections ended for it, and those of no other', async () => {
  const connections = [
    evictable(true, 1, 0, 'b'),
    evictable(true, 2, 9, 'a'),
    evictable(false, 3, 0, 'a'),
    evictable(false, 4, 0, 'b'),
  ];
  const { all, clock } = limit(8, () => connections);
  const permits = await Promise.all([...'aaaaaa', 'b'].map((group) => all.take(group, never)));
  const more = [all.take('a', never), all.take('a', never)];
  expect(all.wants('a')).toBe(true);
  expect(all.wants('b')).toBe(false);
  expect(connections.map(({ asked }) => asked)).toEqual([0, 1, 0, 0]);
  await clock.advance(1_000);
  expect(connections.map(({ asked }) => asked)).toEqual([0, 1, 1, 0]);
  for (const permit of permits) permit.release();
  await Promise.all(more);
  expect(clock.armedTimers).toBe(0);
});

for (const group of ['a', '@here']) {
  test(`a group that asks again and again (${group}) ends its own idle connections, and none of those that hold less`, async () => {
    const connections = new Set<Evictable>();
    const { all } = limit(8, () => connections);
    let uses = 0;
    const gone: string[] = [];
    const open = async (whose: string): Promise<void> => {
      const permit = await all.take(whose, never);
      const connection = {
        ...evictable(true, ++uses, 0, whose),
        evict: () => {
          connections.delete(connection);
          gone.push(whose);
          setImmediate(() => permit.release());
        },
      };
      connections.add(connection);
    };
    const others = group === 'a' ? ['b', '@there'] : ['', 'b', '@there'];
    for (const other of others) await open(other);
    for (let i = 0; i < 20; i++) await open(group);
    for (let round = 0; round < 3; round++) await Promise.all(Array.from({ length: 10 }, () => open(group)));
    expect(new Set(gone)).toEqual(new Set([group]));
    // One that holds none has a place made for it, by those who hold most.
    await open('c');
    await open('@new');
    expect(all.waiting).toBe(0);
    expect([...connections].map((each) => each.group)).toEqual(expect.arrayContaining(['c', '@new']));
    all.close();
  });
}

test(
  'permits are conserved, and no caller waits beside a free one, under any order of take, release and abort',
  () =>
    fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 6 }),
        fc.array(
          fc.record({
            do: fc.constantFrom('take', 'take', 'release', 'abort', 'tick', 'move'),
            group: fc.constantFrom('a', 'b', 'c'),
            which: fc.nat({ max: 9 }),
          }),
          { maxLength: 60 },
        ),
        async (max, steps) => {
          const { all, clock } = limit(max);
          const held: ConnectionPermit[] = [];
          const waiting = new Map<AbortController, string>();
          for (const { do: what, group, which } of steps) {
            if (what === 'take') {
              const control = new AbortController();
              waiting.set(control, group);
              all.take(group, control.signal).then(
                (permit) => {
                  waiting.delete(control);
                  held.push(permit);
                },
                () => waiting.delete(control),
              );
            } else if (what === 'release') held.splice(which % Math.max(1, held.length), 1)[0]?.release();
            else if (what === 'abort') [...waiting.keys()][which % Math.max(1, waiting.size)]?.abort('gone');
            else if (what === 'move') held[which % Math.max(1, held.length)]?.moveTo(group);
            else await clock.advance(600);
            await new Promise((resolve) => setImmediate(resolve));
            expect(all.taken).toBe(held.length);
            expect(all.waiting).toBe(waiting.size);
            expect(all.taken).toBeLessThanOrEqual(max);
            const kept = max - all.taken;
            for (const group of waiting.values())
              expect(held.filter((permit) => permit.group === group).length).toBeGreaterThanOrEqual(3 * kept);
            for (const group of ['a', 'b', 'c'])
              if (held.every((permit) => permit.group !== group) && ![...waiting.values()].includes(group))
                expect(all.mayTake(group)).toBe(kept > 0);
          }
          for (const control of [...waiting.keys()]) control.abort('end');
          await new Promise((resolve) => setImmediate(resolve));
          expect([all.waiting, clock.armedTimers]).toEqual([0, 0]);
        },
      ),
      { numRuns: Math.ceil(RUNS / 5) },
    ),
  RUNS_TIMEOUT_MS,
);
