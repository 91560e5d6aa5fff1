import { expect, test } from 'vitest';
import { ReadingRoom } from '../../../../src/connection/channel/large/ReadingRoom.js';

const MOST = 60_000_000;
const PAGE = Buffer.alloc(8 * 1_024 * 1_024);

test('lists of very many values are read a few at a time, and one server leaves room for others', async () => {
  const never = (): void => undefined;
  const rooms = Array.from({ length: 4 }, () => new ReadingRoom('flood'));
  const taken: number[] = [];
  const all = rooms.map((room, at) => room.take(PAGE, MOST, never).then(() => void taken.push(at)));
  await Promise.all(all.slice(0, 3));
  const other = new ReadingRoom('other');
  await other.take(PAGE, MOST, never);
  expect(taken).toEqual([0, 1, 2]);
  // Short pages, and values, wait for nothing; what turns out to cost little makes room, and so does the end of the time.
  await rooms[3]?.take(Buffer.alloc(1_024), MOST, never);
  await rooms[3]?.take({}, MOST, never);
  for (const each of [rooms[0], other]) each?.weighed(0);
  await all[3];
  const late = new ReadingRoom('flood');
  const isLate = (): never => {
    throw new Error('late');
  };
  await expect(late.take(PAGE, MOST, isLate)).rejects.toThrow('late');
  for (const room of [...rooms, other, late]) room.weighed(0);
  for (const room of [...rooms, other, late]) room.end();
});
