import type { Instrument } from '../../observe/Instrument.js';
import type { McpPool, ServerStats } from '../../pool/McpPool.js';
import type { TracedCall } from '../../pool/server/calls/trace.js';
import type { ServerConfig } from '../../registry/config/ServerConfig.js';
import { isSeveral } from '../../registry/config/targets/targetsOf.js';
import type { TargetStats } from '../../targets/stats/groupStats.js';
import type { ServerRow, StatusSnapshot, TargetRow } from './StatusData.js';
import type { StatusHistory } from './StatusHistory.js';

const MAX_OPEN = 100;
const MAX_ERROR_CHARS = 2_000;
const ANSWERS: ReadonlySet<string> = new Set(['ok', 'tool_error', 'ERR_RPC', 'ABORTED']);

export function serverRows(pool: McpPool, instrument: Instrument, history: StatusHistory): ServerRow[] {
  return pool.allStats().map((stats) => rowOf(pool, instrument, history, stats));
}

function rowOf(pool: McpPool, instrument: Instrument, history: StatusHistory, stats: ServerStats): ServerRow {
  const { name, latencyMs } = stats;
  const series = instrument.series(name);
  const info = pool.info(name);
  const newest = history.newest.get(name);
  let calls = 0;
  let errors = 0;
  for (const { outcomes } of series?.all ?? []) {
    for (const [outcome, count] of outcomes) {
      calls += count;
      if (!ANSWERS.has(outcome)) errors += count;
    }
  }
  return {
    name,
    state: stats.state,
    transport: transportOf(pool.config(name)),
    era: info?.era ?? null,
    protocolVersion: info?.protocolVersion ?? null,
    connections: stats.connections,
    inFlight: series?.inFlight ?? 0,
    waiting: series?.waiting ?? 0,
    calls,
    errors,
    retries: series?.retries ?? 0,
    p50: newest?.p50 ?? latencyMs?.p50 ?? null,
    p99: newest?.p99 ?? latencyMs?.p99 ?? null,
    restarts: stats.restarts,
    breaker: stats.breaker,
    memory: stats.memoryBytes ?? null,
    pids: stats.pids,
    lateReplies: stats.lateReplies,
    startedAt: stats.startedAt ?? null,
    backoffMs: stats.backoffMs ?? null,
    lastError: stats.lastError?.slice(0, MAX_ERROR_CHARS) ?? null,
    ...(stats.targets && { targets: stats.targets.map(targetRow) }),
  };
}

function transportOf(config: ServerConfig | undefined): string {
  if (config === undefined) return '';
  return isSeveral(config) ? `${config.targets.length} targets` : (config.transport ?? 'url');
}

function targetRow(target: TargetStats): TargetRow {
  const { id, role, state, zone, weight, picked, inFlight, backInMs, share, latencyMs, ewmaMs, breaker } = target;
  return {
    id,
    role,
    state,
    zone: zone ?? null,
    weight,
    picked,
    inFlight,
    backInMs,
    share,
    p50: latencyMs?.p50 ?? null,
    p99: latencyMs?.p99 ?? null,
    ewmaMs: ewmaMs ?? null,
    breaker,
  };
}

/** The oldest of the requests, each with where its calls are, and how many there are beside them: there may be a hundred thousand. */
export function openCalls(
  { openRequests, openCalls: all }: Instrument,
  nowMs: number,
): Pick<StatusSnapshot, 'open' | 'openMore'> {
  const oldest = openRequests.slice(0, MAX_OPEN);
  const calls = new Map<object | undefined, TracedCall[]>(oldest.map((request) => [request, []]));
  for (const call of all) calls.get(call.parent)?.push(call);
  const open = oldest.map((request) => ({
    id: request.id,
    method: request.method,
    target: request.target ?? null,
    era: request.era,
    ageMs: Math.max(0, nowMs - request.startedAt),
    at: (calls.get(request) ?? []).map(({ server, attempt }) => ({ server, sent: attempt > 0, attempt })),
  }));
  return { open, openMore: openRequests.length - open.length };
}
