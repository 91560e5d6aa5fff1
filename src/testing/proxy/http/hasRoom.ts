import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { setImmediate } from 'node:timers/promises';

/**
 * Waits until a response takes more, or is over: a client that reads slowly slows its server, as without a proxy. At least until
 * the next turn of the event loop, so that one server that never pauses leaves the others theirs.
 */
export async function hasRoom(res: ServerResponse): Promise<void> {
  if (!res.writableNeedDrain || res.destroyed) {
    await setImmediate();
    return;
  }
  const over = new AbortController();
  const { signal } = over;
  const ends = [once(res, 'drain', { signal }), once(res, 'close', { signal })];
  await Promise.race(ends).finally(() => over.abort());
}
