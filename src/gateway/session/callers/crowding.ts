import { Shares } from '../../../concurrent/Shares.js';
import type { Clock } from '../../../core/clock.js';
import { AcquireTimeoutError, type PoolkitError, RequestTimeoutError, show } from '../../../core/errors.js';
import type { Caller, McpPool } from '../../../pool/McpPool.js';
import { POOL_DEFAULTS } from '../../../pool/server/options.js';

/** What is known of a server stands for so long, in ms: finding it out walks through all of its connections and callers. */
const STANDS_MS = 200;
/** Servers of which something is known. */
const MAX_KNOWN = 1_000;

interface Figures {
  readonly atMs: number;
  readonly queued: number;
  readonly connections: number;
  readonly inFlight: number;
}

const known = new WeakMap<McpPool, Map<string, Figures>>();

interface Bounds {
  readonly atMs: number;
  readonly maxConnections: number;
  readonly waiting: number;
}

const bounds = new WeakMap<McpPool, Bounds>();

/** The same of a whole pool: what one server may have at most, and how many starts wait for one of all its connections. */
function boundsOf(pool: McpPool, clock: Clock): Bounds {
  const nowMs = clock.now();
  const last = bounds.get(pool);
  if (last !== undefined && nowMs - last.atMs < STANDS_MS) return last;
  const { maxConnections, waitingForConnection: waiting } = pool.inspect();
  const found = { atMs: nowMs, maxConnections, waiting };
  bounds.set(pool, found);
  return found;
}

/** A server's figures as they were a moment ago, for all who look; undefined for one that is not there. */
export function figuresOf(pool: McpPool, server: string, clock: Clock): Figures | undefined {
  if (!pool.hasServer(server)) return undefined;
  const ofPool = known.get(pool) ?? new Map<string, Figures>();
  known.set(pool, ofPool);
  const nowMs = clock.now();
  const last = ofPool.get(server);
  if (last !== undefined && nowMs - last.atMs < STANDS_MS) return last;
  const { queued, connections, inFlight } = pool.stats(server);
  const figures = { atMs: nowMs, queued, connections, inFlight };
  if (ofPool.size >= MAX_KNOWN) ofPool.clear();
  ofPool.set(server, figures);
  return figures;
}

/** Whether callers of a server wait, and whether for what its calls have taken; undefined when none do. */
export function crowdingOf(pool: McpPool, server: string, clock: Clock): { readonly full: boolean } | undefined {
  const figures = figuresOf(pool, server, clock);
  if (figures === undefined || figures.queued === 0) return undefined;
  const { maxConnections = boundsOf(pool, clock).maxConnections, maxConcurrent } = pool.config(server) ?? {};
  const slots = typeof maxConcurrent === 'number' ? maxConcurrent : POOL_DEFAULTS.maxConcurrent;
  return { full: figures.connections >= maxConnections || figures.inFlight >= slots };
}

/** Whether a pool has no connection for one more session, of whichever server. */
export const isPoolFull = (pool: McpPool, clock: Clock): boolean => boundsOf(pool, clock).waiting > 0;

/** Whether a server has no connection for one more session; `own`: how many one principal's sessions have, of which it may not have all. */
export function isFullFor(pool: McpPool, server: string, clock: Clock, own?: (server: string) => number): boolean {
  const figures = figuresOf(pool, server, clock);
  if (figures === undefined) return false;
  if (isPoolFull(pool, clock)) return true;
  const shares = new Shares(pool.config(server)?.maxConnections ?? boundsOf(pool, clock).maxConnections);
  const mine = own?.(server) ?? 0;
  shares.add('others', Math.max(0, figures.connections - mine));
  shares.add('own', mine);
  return !shares.mayTake('own', 1, 0, own === undefined);
}

/** Why a server's answer did not come in time: its caller waited for a connection that others have, or for the server. */
export function lateFor(
  { pool, clock, caller }: { readonly pool: McpPool; readonly clock: Clock; readonly caller: Caller | undefined },
  server: string,
  method: string,
  timeoutMs: number,
): PoolkitError {
  const has = !pool.hasServer(server) || pool.info(server, caller) !== undefined;
  if (has || !isFullFor(pool, server, clock)) return new RequestTimeoutError(server, method, timeoutMs);
  const { connections: live = 0, queued: waiting = 0 } = figuresOf(pool, server, clock) ?? {};
  const slots = pool.config(server)?.maxConnections ?? boundsOf(pool, clock).maxConnections;
  const detail = { live, creating: 0, dying: 0, slots, inUse: live, waiting };
  return new AcquireTimeoutError(`a connection of server ${show(server)}`, timeoutMs, detail);
}
