import type { BalancerInspection } from '../../concurrent/balance/Balancer.js';
import type { BalancePolicy } from '../../concurrent/balance/pick/policies.js';
import type { RouterCounts } from '../routes.js';
import type { CanaryCounts, MirrorCounts } from '../Shadow.js';
import type { ServerFigures } from './ServerFigures.js';

/** One target of a server at one moment. */
export interface TargetStats {
  /** Host and port, or the program's name, and a number where that is taken. */
  readonly id: string;
  /** `draining`: it was removed, and goes on for the calls and sessions that it has. */
  readonly role: 'target' | 'mirror' | 'canary' | 'draining';
  readonly state: string;
  readonly weight: number;
  readonly zone: string | undefined;
  /** Left alone for what its calls showed. */
  readonly ejected: boolean;
  /** Milliseconds until it gets calls again; 0 when it does. */
  readonly backInMs: number;
  /** Share of its weight that it gets, from 0 to 1: less than 1 while it is coming back. */
  readonly share: number;
  readonly ejections: number;
  /** Calls that it was chosen for. */
  readonly picked: number;
  readonly inFlight: number;
  /** Of answered calls, in ms from send to answer. Undefined while there were none. */
  readonly latencyMs: ServerFigures<string>['latencyMs'];
  /**
   * What the balance goes by, in ms: recent latency, quick to rise, slow to fall. A failure counts as an answer twice as slow as any before it, up
   * to a minute, however quick it was. Undefined before the first answer.
   */
  readonly ewmaMs: number | undefined;
  readonly connections: number;
  /** With `maxConcurrent: 'auto'`, how many calls it is found to take at a time. */
  readonly limit?: number;
  readonly breaker: 'closed' | 'open' | 'half-open';
  /** Failed attempts by error code: many of them were made good by another target. */
  readonly errors: Readonly<Record<string, number>>;
  readonly lastError: string | undefined;
}

/** How the calls of a server are spread over its targets. */
export interface SpreadStats extends RouterCounts {
  readonly balance: BalancePolicy;
  readonly mirror: MirrorCounts | undefined;
  readonly canary: CanaryCounts | undefined;
}

/** Of a server with several targets: the best that one of them is in, in this order. */
const STATES = ['ready', 'starting', 'degraded', 'idle', 'stopping', 'failed', 'stopped'];

export function groupState<T extends string>(states: readonly T[]): T {
  return [...states].sort((a, b) => STATES.indexOf(a) - STATES.indexOf(b))[0] as T;
}

/** One target, and what its own stats say. */
interface Source<T> {
  readonly id: string;
  readonly weight: number;
  readonly zone: string | undefined;
  readonly draining: boolean;
  readonly server: { stats(): T };
}

export interface GroupFigures<State extends string, T> {
  readonly name: string;
  readonly state: State;
  readonly targets: {
    readonly config: { readonly balance?: BalancePolicy };
    readonly all: readonly Source<T>[];
    readonly main: readonly Source<T>[];
    readonly mirror: Source<T> | undefined;
    readonly canary: Source<T> | undefined;
    readonly balancer: { inspect(): readonly BalancerInspection[] };
  };
  readonly router: {
    readonly counts: RouterCounts;
    readonly shadow: { readonly mirror: MirrorCounts; readonly canary: CanaryCounts };
  };
  /** Of calls as their callers see them. */
  readonly counters: {
    readonly errors: Readonly<Record<string, number>>;
    readonly lastError: string | undefined;
    readonly latency: { readonly quantiles: ServerFigures<string>['latencyMs'] };
  };
}

/** The stats of all targets as those of one server, and each target's. */
export function groupStats<State extends string, T extends ServerFigures<string>>({
  name,
  state,
  targets,
  router,
  counters,
}: GroupFigures<State, T>): T & {
  readonly targets: TargetStats[];
  readonly spread: SpreadStats;
} {
  const all = targets.all.map((target) => ({ target, stats: target.server.stats() }));
  const sum = (of: (stats: T) => number): number => all.reduce((total, { stats }) => total + of(stats), 0);
  const least = (of: (stats: T) => number | undefined): number | undefined => {
    const known = all.flatMap(({ stats }) => of(stats) ?? []);
    return known.length === 0 ? undefined : known.reduce((a, b) => Math.min(a, b));
  };
  const main = all.filter(({ target }) => targets.main.includes(target)).map(({ stats }) => stats);
  const limits = main.flatMap(({ limit }) => limit ?? []);
  const memory = all.flatMap(({ stats }) => stats.memoryBytes ?? []);
  const { counts, shadow } = router;
  const spread: SpreadStats = {
    balance: targets.config.balance ?? 'p2c-ewma',
    ...counts,
    mirror: targets.mirror && shadow.mirror,
    canary: targets.canary && shadow.canary,
  };
  const inspected = new Map(targets.balancer.inspect().map((each) => [each.id, each]));
  return {
    name,
    state,
    calls: sum(({ calls }) => calls),
    errors: counters.errors,
    inFlight: sum(({ inFlight }) => inFlight),
    queued: sum(({ queued }) => queued),
    connections: sum(({ connections }) => connections),
    latencyMs: counters.latency.quantiles,
    restarts: sum(({ restarts }) => restarts),
    // Backing off as a whole only when each of them does.
    backoffMs: main.every(({ backoffMs }) => backoffMs !== undefined) ? least(({ backoffMs }) => backoffMs) : undefined,
    breaker:
      (['closed', 'half-open', 'open'] as const).find((each) => main.some(({ breaker }) => breaker === each)) ??
      'closed',
    lastError: counters.lastError ?? main.find(({ lastError }) => lastError !== undefined)?.lastError,
    pids: all.flatMap(({ stats }) => stats.pids),
    memoryBytes: memory.length === 0 ? undefined : memory.reduce((total, bytes) => total + bytes, 0),
    unsentBytes: sum(({ unsentBytes }) => unsentBytes),
    lateReplies: sum(({ lateReplies }) => lateReplies),
    garbageLines: sum(({ garbageLines }) => garbageLines),
    orphanRequests: sum(({ orphanRequests }) => orphanRequests),
    startedAt: least(({ startedAt }) => startedAt),
    ...(limits.length > 0 && { limit: limits.reduce((total, limit) => total + limit, 0) }),
    targets: all.map(({ target, stats }) => targetStats(targets, target, stats, inspected.get(target.id))),
    spread,
  } as unknown as T & { readonly targets: TargetStats[]; readonly spread: SpreadStats };
}

function targetStats<T>(
  { mirror, canary }: GroupFigures<string, T>['targets'],
  target: Source<T>,
  { state, connections, breaker, errors, lastError, inFlight, latencyMs, limit }: ServerFigures<string>,
  seen: BalancerInspection | undefined,
): TargetStats {
  const { id, draining, weight, zone } = target;
  const role = draining ? 'draining' : target === mirror ? 'mirror' : target === canary ? 'canary' : 'target';
  const { ejected = false, backInMs = 0, share = 1, ejections = 0 } = seen?.health ?? {};
  const { picked = 0, ewmaMs } = seen ?? {};
  return {
    id,
    role,
    state,
    weight,
    zone,
    ejected,
    backInMs,
    share,
    ejections,
    picked,
    inFlight,
    latencyMs,
    ewmaMs,
    connections,
    ...(limit !== undefined && { limit }),
    breaker,
    errors,
    lastError,
  };
}
