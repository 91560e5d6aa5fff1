import { packageVersion } from '../../core/version.js';
import type { McpPool, ServerState, ServerStats } from '../../pool/McpPool.js';
import type { GatewayFigures, LimiterFigures } from '../instrumentOptions.js';
import type { CallSeries } from './CallSeries.js';
import type { EventLoopDelay } from './EventLoopDelay.js';
import type { Histogram } from './Histogram.js';
import { METRICS, type MetricName } from './list/METRICS.js';
import type { Label, MetricSpec } from './list/MetricSpec.js';
import type { ProcessorTime } from './ProcessorTime.js';
import type { RequestSeries } from './RequestSeries.js';

export type Labels = Readonly<Partial<Record<Label, string>>>;

export interface Sample {
  readonly labels: Labels;
  /** Of a histogram, the histogram. */
  readonly value: number | Histogram;
}

/** One metric and its values. */
export interface MetricFamily {
  readonly spec: MetricSpec;
  readonly samples: readonly Sample[];
}

export interface Sources {
  readonly pool: McpPool;
  readonly servers: ReadonlyMap<string, CallSeries>;
  readonly requests: RequestSeries;
  readonly gateway: GatewayFigures | undefined;
  readonly limiter: LimiterFigures | undefined;
  readonly delay: EventLoopDelay;
  readonly processor: ProcessorTime;
  readonly label: (server: string) => string;
}

const STATES: readonly ServerState[] = ['idle', 'starting', 'ready', 'degraded', 'stopping', 'stopped', 'failed'];
const BREAKER_STATES: readonly ServerStats['breaker'][] = ['closed', 'open', 'half-open'];

/** Every metric at this moment, in the order of the list. */
export function collect(sources: Sources): MetricFamily[] {
  const found = new Map<MetricName, Sample[]>();
  const add = (name: MetricName, labels: Labels, value: number | Histogram | undefined): void => {
    if (value === undefined) return;
    const samples = found.get(name);
    if (samples === undefined) found.set(name, [{ labels, value }]);
    else samples.push({ labels, value });
  };
  calls(sources, add);
  servers(sources, add);
  gateway(sources, add);
  const { p50, p99, max } = sources.delay.ms;
  add('mcp_poolkit_event_loop_delay_seconds', { stat: 'p50' }, p50 / 1_000);
  add('mcp_poolkit_event_loop_delay_seconds', { stat: 'p99' }, p99 / 1_000);
  add('mcp_poolkit_event_loop_delay_seconds', { stat: 'max' }, max / 1_000);
  add('mcp_poolkit_info', { version: packageVersion() }, 1);
  return METRICS.map((spec) => ({ spec, samples: found.get(spec.name) ?? [] }));
}

type Add = (name: MetricName, labels: Labels, value: number | Histogram | undefined) => void;

function calls({ servers: all }: Sources, add: Add): void {
  for (const [server, series] of all) {
    add('mcp_poolkit_queue_duration_seconds', { server }, series.queue);
    add('mcp_poolkit_calls_in_flight', { server }, series.inFlight);
    add('mcp_poolkit_calls_waiting', { server }, series.waiting);
    add('mcp_poolkit_retries_total', { server }, series.retries);
    add('mcp_poolkit_sent_bytes_total', { server }, series.sentBytes);
    add('mcp_poolkit_received_bytes_total', { server }, series.receivedBytes);
    for (const [reason, count] of series.restarts) add('mcp_poolkit_restarts_total', { server, reason }, count);
    for (const { method, tool, principal, outcomes, duration } of series.all) {
      const labels = { server, method, tool, ...(principal !== undefined && { principal }) };
      if (duration.count > 0) add('mcp_poolkit_call_duration_seconds', labels, duration);
      for (const [outcome, count] of outcomes) add('mcp_poolkit_calls_total', { ...labels, outcome }, count);
    }
  }
}

function servers({ pool, limiter, processor, label }: Sources, add: Add): void {
  const all = pool.allStats();
  processor.keep(new Set(all.map(({ name }) => name)));
  for (const stats of all) {
    const server = label(stats.name);
    // Those beyond the bound share a label, and one value cannot stand for several.
    if (server !== stats.name) continue;
    for (const state of STATES) add('mcp_poolkit_server_state', { server, state }, Number(stats.state === state));
    for (const state of BREAKER_STATES) {
      add('mcp_poolkit_breaker_state', { server, state }, Number(stats.breaker === state));
    }
    add('mcp_poolkit_connections', { server }, stats.connections);
    add('mcp_poolkit_late_replies_total', { server }, stats.lateReplies);
    add('mcp_poolkit_garbage_lines_total', { server }, stats.garbageLines);
    add('mcp_poolkit_unsent_bytes', { server }, stats.unsentBytes);
    add('mcp_poolkit_process_memory_bytes', { server }, stats.memoryBytes);
    add('mcp_poolkit_process_cpu_seconds_total', { server }, processor.secondsOf(server, stats.pids));
    targets(stats, server, add);
    const limits = limitsOf(limiter, server);
    add('mcp_poolkit_limiter_waiting', { server }, limits?.blockedCount);
    add('mcp_poolkit_limiter_paused_seconds', { server }, seconds(limits?.pausedForMs));
  }
}

function targets({ targets: all = [], spread, limit }: ServerStats, server: string, add: Add): void {
  for (const { id: target, picked, ejected } of all) {
    add('mcp_poolkit_target_picks_total', { server, target }, picked);
    add('mcp_poolkit_target_ejected', { server, target }, Number(ejected));
  }
  add('mcp_poolkit_concurrency_limit', { server }, limit);
  if (spread === undefined) return;
  const { retries, hedges, refusedRetries, mirror, canary } = spread;
  const outcomes = (name: MetricName, counts: Readonly<Record<string, number>>): void => {
    for (const [outcome, count] of Object.entries(counts)) add(name, { server, outcome }, count);
  };
  outcomes('mcp_poolkit_target_retries_total', { retried: retries, hedged: hedges, refused: refusedRetries });
  if (mirror !== undefined) {
    const { same, different, failed, skipped } = mirror;
    outcomes('mcp_poolkit_mirrored_calls_total', { same, different, failed, skipped });
  }
  if (canary === undefined) return;
  outcomes('mcp_poolkit_canary_calls_total', { answered: canary.answered, replaced: canary.replaced });
}

/** A table that throws costs its own metrics alone. */
function limitsOf(limiter: LimiterFigures | undefined, server: string): ReturnType<LimiterFigures['stats']> {
  try {
    return limiter?.stats(server);
  } catch {
    return undefined;
  }
}

const seconds = (ms: number | undefined): number | undefined => (ms === undefined ? undefined : ms / 1_000);

function gateway({ gateway: figures, requests }: Sources, add: Add): void {
  for (const { count, ...labels } of requests.counts.values()) {
    add('mcp_poolkit_gateway_requests_total', labels, count);
  }
  for (const [method, duration] of requests.durations) {
    add('mcp_poolkit_gateway_request_duration_seconds', { method }, duration);
  }
  if (figures === undefined) return;
  add('mcp_poolkit_gateway_requests_in_flight', {}, figures.inFlight);
  add('mcp_poolkit_gateway_sessions', {}, figures.sessions);
  add('mcp_poolkit_gateway_streams', {}, figures.streams);
  add('mcp_poolkit_gateway_refused_total', {}, figures.refused);
  add('mcp_poolkit_gateway_dropped_notices_total', {}, figures.droppedNotices);
  for (const [reason, count] of Object.entries(figures.cutResponses ?? {})) {
    add('mcp_poolkit_gateway_cut_responses_total', { reason }, count);
  }
  add('mcp_poolkit_gateway_held_bytes', {}, figures.heldBytes);
}
