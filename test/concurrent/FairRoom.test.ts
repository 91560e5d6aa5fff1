import fc from 'fast-check';
import { afterEach, expect, test, vi } from 'vitest';
import { FairRoom, type Place } from '../../src/concurrent/FairRoom.js';
import { Shares } from '../../src/concurrent/Shares.js';

afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
});

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

interface Taking extends Place {
  readonly id: number;
  /** Ends its wait. */
  readonly leave: () => void;
  held: Place | undefined;
  over: boolean;
}

const MAX = 20;
const step = fc.record({
  what: fc.constantFrom('take', 'take', 'take', 'release', 'releaseTwice', 'leave', 'throw', 'resize'),
  group: fc.constantFrom('a', 'b', 'c'),
  owner: fc.constantFrom('x', 'y', undefined),
  amount: fc.integer({ min: 1, max: MAX }),
  pick: fc.nat(),
});

test.each([true, false])(
  'room is conserved, and no owner is passed by its own, in any order of taking, leaving and releasing (first first: %s)',
  (firstGoesFirst) =>
    fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const room = new FairRoom({ max: MAX, firstGoesFirst });
        const all: Taking[] = [];
        const begun: Taking[] = [];
        const alive = (): Taking[] => all.filter(({ over }) => !over);
        const held = (): number => alive().reduce((sum, { held }) => sum + (held?.amount ?? 0), 0);
        const take = ({ group, owner, amount }: Omit<Place, 'owner'> & { owner: string | undefined }): void => {
          let leave = (): void => undefined;
          const left = new Promise<never>((_, reject) => {
            leave = () => reject(new Error('left'));
          });
          left.catch(() => undefined);
          const taking: Taking = { id: all.length, group, owner, amount, leave, held: undefined, over: false };
          all.push(taking);
          const took = room.take({ group, owner, amount }, (turn) => Promise.race([turn, left]));
          took.then(
            (place) => {
              taking.held = place;
              begun.push(taking);
            },
            () => undefined,
          );
        };
        const end = (taking: Taking | undefined, times: number): void => {
          if (taking?.held === undefined) return;
          taking.over = true;
          for (let time = 0; time < times; time++) room.release(taking.held);
        };
        for (const { what, pick, ...wanted } of steps) {
          const some = alive()[pick % Math.max(1, alive().length)];
          if (what === 'take') take(wanted);
          else if (what === 'release') end(some, 1);
          else if (what === 'releaseTwice') end(some, 2);
          else if (what === 'resize' && some?.held !== undefined && wanted.amount < some.held.amount)
            room.resize(some.held, wanted.amount);
          else if (what === 'leave' && some !== undefined && some.held === undefined) {
            some.leave();
            some.over = true;
          } else if (what === 'throw') {
            // Its turn comes as it leaves.
            const waiting = alive().find((each) => each.held === undefined);
            end(some, 1);
            if (waiting === undefined) continue;
            waiting.leave();
            await settled();
            waiting.over = waiting.held === undefined;
          }
          await settled();
          expect(held()).toBeLessThanOrEqual(MAX);
        }
        // Of one owner the older begins first.
        for (const [at, later] of begun.entries()) {
          const older = begun.slice(at + 1).filter(({ id }) => id < later.id);
          expect(older.filter(({ group, owner }) => group === later.group && owner === later.owner)).toEqual([]);
        }
        // All get their turn, and then all of it is free.
        for (let left = alive(); left.length > 0; left = alive()) {
          const some = left.find(({ held }) => held !== undefined);
          expect(some).toBeDefined();
          end(some, 1);
          await settled();
        }
        expect((await room.take({ group: 'last', amount: MAX })).amount).toBe(MAX);
      }),
    ),
);

test('groups take turns, and in each its owners: one with many that wait holds up the others by one each time', async () => {
  const room = new FairRoom({ max: 1, firstGoesFirst: true });
  const order: string[] = [];
  const run = async (group: string, owner: string): Promise<void> => {
    const place = await room.take({ group, owner, amount: 1 });
    order.push(group + owner);
    room.release(place);
  };
  const first = await room.take({ group: 'b', owner: 'z', amount: 1 });
  const all = ['ax', 'ax', 'ax', 'ay', 'bx', 'bx'].map(([group = '', owner = '']) => run(group, owner));
  room.release(first);
  await Promise.all(all);
  expect(order).toEqual(['ax', 'bx', 'ay', 'bx', 'ax', 'ax']);
});

test('of 8,000 that come at one instant each is looked at a few times, whoever they are of, and each leaves at once', async () => {
  const room = new FairRoom({ max: 100, firstGoesFirst: true });
  const looks = vi.spyOn(Shares.prototype, 'mayTake');
  const held = await room.take({ group: 's', amount: 100 });
  const all = Array.from({ length: 8_000 }, async (_, at) => {
    const place = await room.take({ group: `s${at % 20}`, owner: `o${at}`, amount: 10 });
    room.release(place);
  });
  room.release(held);
  await Promise.all(all);
  expect(looks.mock.calls.length).toBeLessThan(4 * all.length);
  const again = await room.take({ group: 's', amount: 100 });
  const leaving = Array.from({ length: 8_000 }, () =>
    room.take({ group: 's', amount: 10 }, () => Promise.reject(new Error('left'))).catch(() => 'left'),
  );
  expect(new Set(await Promise.all(leaving))).toEqual(new Set(['left']));
  expect(looks.mock.calls.length).toBeLessThan(8 * all.length);
  room.release(again);
});

test('what lingers is given back in its time, by a timer that is armed only while something waits: nothing is looked at in between', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  const room = new FairRoom({ max: 10, lingerMs: 1_000 });
  for (const group of ['a', 'c']) room.release(await room.take({ group, amount: 5 }));
  expect(vi.getTimerCount()).toBe(0);
  let begun = 0;
  const wait = (): Promise<void> => room.take({ group: 'b', amount: 10 }).then(() => void begun++);
  const left = room.take({ group: 'b', amount: 10 }, () => Promise.reject(new Error('left')));
  await expect(left).rejects.toThrow('left');
  expect(vi.getTimerCount()).toBe(0);
  const waiting = wait();
  expect(vi.getTimerCount()).toBe(1);
  const looks = vi.spyOn(Shares.prototype, 'mayTake');
  await vi.advanceTimersByTimeAsync(999);
  expect(looks).not.toHaveBeenCalled();
  await vi.advanceTimersByTimeAsync(2);
  await waiting;
  expect(begun).toBe(1);
  expect(vi.getTimerCount()).toBe(0);
});
