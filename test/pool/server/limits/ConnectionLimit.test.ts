import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Room } from '../../../../src/pool/server/partitions/Room.js';
import { type Seat, Seats } from '../../../../src/pool/server/partitions/Seats.js';
import { FakeClock } from '../../../../src/testing/FakeClock.js';
import { RUNS, RUNS_TIMEOUT_MS } from '../../../support/runs.js';

function seats(max: number, options: { idle?: () => boolean; oldest?: () => void } = {}) {
  const clock = new FakeClock();
  const all = new Seats({
    max,
    clock,
    quantumMs: 1_000,
    evictIdle: options.idle ?? (() => false),
    evictOldest: options.oldest ?? (() => undefined),
  });
  return { all, clock };
}
const never = new AbortController().signal;

test('principals that wait are served in turn, one seat each', async () => {
  const { all } = seats(1);
  let held = await all.take('first', never);
  const order: string[] = [];
  const line = ['a', 'a', 'a', 'b', 'c', 'b'];
  const served = line.map((group, i) =>
    all.take(group, never).then((seat) => {
      order.push(group + i);
      return seat;
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

test('who waits has as many leave as are needed, and no more', async () => {
  let idle = 5;
  const { all } = seats(5, { idle: () => idle-- > 0 });
  const held = await Promise.all([1, 2, 3, 4, 5].map(() => all.take('old', never)));
  const first = all.take('a', never);
  const second = all.take('b', never);
  expect(idle).toBe(3);
  held[0]?.release();
  held[1]?.release();
  await Promise.all([first, second]);
  all.close();
});

test('after a quantum the one that sat longest is asked, and again for as long as somebody waits', async () => {
  let asked = 0;
  const { all, clock } = seats(1, { oldest: () => asked++ });
  const held = await all.take('old', never);
  const waiting = all.take('new', never);
  await clock.advance(999);
  expect(asked).toBe(0);
  await clock.advance(1);
  expect(asked).toBe(1);
  await clock.advance(2_000);
  expect(asked).toBe(3);
  held.release();
  await waiting;
  await clock.advance(5_000);
  expect(asked).toBe(3);
  expect(clock.armedTimers).toBe(0);
});

test('a second waiter is not forgotten when the first one’s seat was all that was idle', async () => {
  let idle = 1;
  let asked = 0;
  const { all, clock } = seats(2, { idle: () => idle-- > 0, oldest: () => asked++ });
  const [one] = await Promise.all([all.take('x', never), all.take('y', never)]);
  const first = all.take('a', never);
  const second = all.take('b', never);
  one?.release();
  await first;
  await clock.advance(1_000);
  expect(asked).toBe(1);
  expect(all.waiting).toBe(1);
  all.close();
  second.catch(() => undefined);
});

test('a seat under two bounds is under both or none', async () => {
  const { all: own } = seats(2);
  const { all: total } = seats(1);
  const room = new Room([own, total]);
  const seat = room.tryTake();
  expect([own.taken, total.taken]).toEqual([1, 1]);
  expect(room.tryTake()).toBeUndefined();
  expect([own.taken, total.taken]).toEqual([1, 1]);
  const control = new AbortController();
  const waiting = room.take('a', control.signal).catch((error: unknown) => error);
  await Promise.resolve();
  expect(room.crowded).toBe(true);
  control.abort('no');
  expect(await waiting).toBe('no');
  expect([own.taken, total.taken]).toEqual([1, 1]);
  seat?.release();
  expect([own.taken, total.taken, room.crowded]).toEqual([0, 0, false]);
});

test(
  'seats are conserved, and nobody waits beside a free one, under any order of take, release and abort',
  () =>
    fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 3 }),
        fc.array(
          fc.record({
            do: fc.constantFrom('take', 'take', 'release', 'abort', 'tick'),
            group: fc.constantFrom('a', 'b', 'c'),
            which: fc.nat({ max: 9 }),
          }),
          { maxLength: 60 },
        ),
        async (max, steps) => {
          const { all, clock } = seats(max);
          const held: Seat[] = [];
          const waiting = new Set<AbortController>();
          for (const { do: what, group, which } of steps) {
            if (what === 'take') {
              const control = new AbortController();
              waiting.add(control);
              all.take(group, control.signal).then(
                (seat) => {
                  waiting.delete(control);
                  held.push(seat);
                },
                () => waiting.delete(control),
              );
            } else if (what === 'release') held.splice(which % Math.max(1, held.length), 1)[0]?.release();
            else if (what === 'abort') [...waiting][which % Math.max(1, waiting.size)]?.abort('gone');
            else await clock.advance(600);
            await new Promise((resolve) => setImmediate(resolve));
            expect(all.taken).toBe(held.length);
            expect(all.waiting).toBe(waiting.size);
            expect(all.taken <= max && (all.waiting === 0 || all.taken === max)).toBe(true);
          }
          for (const control of [...waiting]) control.abort('end');
          await new Promise((resolve) => setImmediate(resolve));
          expect([all.waiting, clock.armedTimers]).toEqual([0, 0]);
        },
      ),
      { numRuns: Math.ceil(RUNS / 5) },
    ),
  RUNS_TIMEOUT_MS,
);
