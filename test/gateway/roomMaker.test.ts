import { expect, test } from 'vitest';
import { isFullFor } from '../../src/gateway/session/callers/crowding.js';
import { RoomMaker } from '../../src/gateway/session/callers/RoomMaker.js';
import { UnifiedPool } from '../../src/pool/UnifiedPool.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { closeAfter } from '../support/closeAfter.js';

test('a thousand newcomers who wait for one server cost one look at it, and each has room made', async () => {
  const clock = new FakeClock();
  const pool = closeAfter(new UnifiedPool({ ledger: false }));
  pool.addServer({ name: 's', transport: 'http', url: 'http://127.0.0.1:9/mcp' });
  let looks = 0;
  let connections = 16;
  const stats = pool.stats('s');
  pool.stats = ((): unknown => {
    looks++;
    return { ...stats, connections };
  }) as never;
  let abandoned = 3;
  const asked: number[] = [];
  const rooms = new RoomMaker<number>({
    clock,
    isFull: (server) => isFullFor(pool, server, clock),
    makeRoom: (newcomer) => {
      asked.push(newcomer);
      return abandoned-- > 0;
    },
  });
  const waits = Array.from({ length: 1_000 }, (_, newcomer) => rooms.wait('s', newcomer));
  expect(clock.armedTimers).toBe(1);
  await clock.advance(10_000);
  expect(looks).toBeLessThanOrEqual(40);
  expect(asked.slice(0, 5)).toEqual([0, 1, 2, 3, 0]);
  // With room there is nothing to make.
  connections = 15;
  asked.length = 0;
  await clock.advance(1_000);
  expect(asked).toEqual([]);
  for (const each of waits) each[Symbol.dispose]();
  expect(clock.armedTimers).toBe(0);
  rooms.wait('gone', 1)[Symbol.dispose]();
  expect(clock.armedTimers).toBe(0);
});
