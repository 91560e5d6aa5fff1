import { expect, test, vi } from 'vitest';
import { ReadingRoom } from '../../../../src/connection/channel/large/ReadingRoom.js';
import { systemClock } from '../../../../src/core/clock.js';

const MOST = 60_000_000;
const PAGE = Buffer.alloc(8 * 1_024 * 1_024);
const reading = (server: string): ReadingRoom => new ReadingRoom({ server, clock: systemClock });

test('lists of very many values are read a few at a time, and one server leaves room for others', async () => {
  const rooms = Array.from({ length: 4 }, () => reading('flood'));
  const taken: number[] = [];
  const all = rooms.map((room, at) => room.take(PAGE, MOST).then(() => void taken.push(at)));
  await Promise.all(all.slice(0, 3));
  const other = reading('other');
  await other.take(PAGE, MOST);
  expect(taken).toEqual([0, 1, 2]);
  // Short pages, and values, wait for nothing; what turns out to cost little makes room, and so does the end of the time.
  await rooms[3]?.take(Buffer.alloc(1_024), MOST);
  await rooms[3]?.take({}, MOST);
  for (const each of [rooms[0], other]) each?.weighed(0);
  await all[3];
  const late = reading('flood');
  await expect(late.take(PAGE, MOST, 1, () => new Error('late'))).rejects.toThrow('late');
  for (const room of [...rooms, other, late]) room.weighed(0);
  for (const room of [...rooms, other, late]) room.end();
});

test('a list of few values has room beside lists that have nearly all of it', async () => {
  const rooms = Array.from({ length: 4 }, (_, at) => reading(`large ${at}`));
  for (const room of rooms) {
    await room.take(PAGE, MOST);
    room.weighed(MOST - 1_000_000);
  }
  const other = reading('other');
  await other.take(Buffer.from(JSON.stringify(['x'.repeat(100_000)])), MOST, 1, () => new Error('late'));
  for (const room of [...rooms, other]) room.weighed(0);
  for (const room of [...rooms, other]) room.end();
});

test('a list that waits ends by each of its signals, none of which keeps anything of it', async () => {
  const any = vi.spyOn(AbortSignal, 'any');
  const held = reading('first');
  await held.take(PAGE, 4 * MOST);
  const [pool, caller, other] = [new AbortController(), new AbortController(), new AbortController()];
  const waits = [caller, other].map(({ signal }) => {
    const room = new ReadingRoom({ server: 'second', clock: systemClock, signals: [pool.signal, signal, undefined] });
    return room.take(PAGE, MOST).finally(() => room.end());
  });
  caller.abort(new Error('its caller left'));
  await expect(waits[0]).rejects.toThrow('its caller left');
  pool.abort(new Error('the pool closes'));
  await expect(waits[1]).rejects.toThrow('the pool closes');
  // That is a list of all that ever waited under the signal of a pool.
  expect(any).not.toHaveBeenCalled();
  held.weighed(0);
  held.end();
});
