import { expect, test, vi } from 'vitest';
import { ReadingRoom } from '../../../src/connection/channel/large/ReadingRoom.js';
import { systemClock } from '../../../src/core/clock.js';
import { MEMORY, memoryPool, outcome } from '../../support/memoryPool.js';

/** As much as lists of the server may have in memory at once. */
async function fill(server: string): Promise<readonly ReadingRoom[]> {
  const rooms = Array.from({ length: 3 }, () => new ReadingRoom({ server, clock: systemClock }));
  for (const each of rooms) await each.take(Buffer.alloc(300_000), 60_000_000);
  return rooms;
}

test.each(['ERR_CLOSED', 'given up'])(
  'a list that waits for room waits on for none: where its pool closes, or it is given up (%s)',
  async (why) => {
    const { pool } = memoryPool();
    pool.addServer(MEMORY);
    const rooms = await fill('s');
    try {
      const page = Buffer.from(JSON.stringify({ tools: [{ name: 'x'.repeat(300_000) }] }));
      const asked = vi.spyOn(pool, 'request').mockResolvedValue(page);
      const control = new AbortController();
      const listing = pool.listAll('s', 'tools', { signal: control.signal });
      const ended = outcome(listing);
      await vi.waitFor(() => expect(asked).toHaveBeenCalledTimes(1));
      if (why === 'ERR_CLOSED') {
        void pool.close();
        expect(await ended).toBe(why);
      } else {
        control.abort(new Error(why));
        await expect(listing).rejects.toThrow(why);
      }
    } finally {
      for (const each of rooms) each.weighed(0);
    }
  },
);
