import type { ServerStats } from '../McpPool.js';

/** The stats of a server that was never up. */
export function noStats(known: Pick<ServerStats, 'name' | 'state' | 'lastError' | 'backoffMs'>): ServerStats {
  return {
    calls: 0,
    errors: {},
    inFlight: 0,
    queued: 0,
    connections: 0,
    latencyMs: undefined,
    restarts: 0,
    breaker: 'closed',
    pids: [],
    memoryBytes: undefined,
    unsentBytes: 0,
    lateReplies: 0,
    garbageLines: 0,
    orphanRequests: 0,
    startedAt: undefined,
    ...known,
  };
}
