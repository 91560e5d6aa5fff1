import type { Clock } from '../../../core/clock.js';
import type { McpPool } from '../../../pool/McpPool.js';
import { POOL_DEFAULTS } from '../../../pool/server/options.js';

export interface MakingRoom {
  readonly pool: McpPool;
  readonly server: string;
  readonly clock: Clock;
  /** Ends a session whose client has left, if there is one. */
  readonly makeRoom: () => boolean;
}

/** How long a newcomer waits before another session makes room for it, and between two of them, in ms. */
const ROOM_MS = 250;

/**
 * While a newcomer of a `bound` server waits and every connection is a session's, those of clients that have left make room, one at
 * a time, until disposed. Should such a client come back, it is told by 404.
 */
export function makingRoom({ pool, server, clock, makeRoom }: MakingRoom): Disposable {
  let timer: { cancel(): void };
  const wait = (): void => {
    timer = clock.setTimer(() => {
      const max = pool.config(server)?.maxConnections ?? POOL_DEFAULTS.maxConnections;
      if (pool.hasServer(server) && pool.stats(server).connections >= max) makeRoom();
      wait();
    }, ROOM_MS);
  };
  wait();
  return { [Symbol.dispose]: () => timer.cancel() };
}

/** Whether callers of a server wait, and whether for what its calls have taken; undefined when none do. */
export function crowdingOf(pool: McpPool, server: string): { readonly full: boolean } | undefined {
  if (!pool.hasServer(server)) return undefined;
  const { queued, connections, inFlight } = pool.stats(server);
  if (queued === 0) return undefined;
  const { maxConnections = POOL_DEFAULTS.maxConnections, maxConcurrent } = pool.config(server) ?? {};
  const slots = typeof maxConcurrent === 'number' ? maxConcurrent : POOL_DEFAULTS.maxConcurrent;
  return { full: connections >= maxConnections || inFlight >= slots };
}
