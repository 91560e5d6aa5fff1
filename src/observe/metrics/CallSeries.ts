import { Latency } from '../../core/time/Latency.js';
import type { TracedCall } from '../../pool/server/calls/trace.js';
import { Histogram } from './Histogram.js';
import { type BoundedLabel, methodLabel, OTHER } from './Labels.js';

/** The series of one label set. */
export interface Series {
  readonly method: string;
  readonly tool: string;
  readonly principal: string | undefined;
  readonly outcomes: Map<string, number>;
  readonly duration: Histogram;
}

/** What came in since the last look. */
export interface Window {
  readonly calls: number;
  readonly errors: number;
  readonly p50Ms: number | undefined;
  readonly p99Ms: number | undefined;
}

/** Outcomes that are answers of the server. */
const ANSWERS: ReadonlySet<string> = new Set(['ok', 'tool_error', 'ERR_RPC']);

/** What the calls of one server came to. */
export class CallSeries {
  readonly queue = new Histogram();
  readonly restarts = new Map<string, number>();
  readonly #series = new Map<string, Series>();
  readonly #tools: BoundedLabel;
  readonly #principals: BoundedLabel | undefined;
  waiting = 0;
  inFlight = 0;
  retries = 0;
  sentBytes = 0;
  receivedBytes = 0;
  #latency = new Latency();
  #calls = 0;
  #errors = 0;
  /** Of the call before. */
  #method = '';
  #target: string | undefined;
  #principal: string | undefined;
  #newest: Series | undefined;

  constructor(tools: BoundedLabel, principals: BoundedLabel | undefined) {
    this.#tools = tools;
    this.#principals = principals;
  }

  get all(): Iterable<Series> {
    return this.#series.values();
  }

  ended(call: TracedCall): void {
    const outcome = call.outcome as string;
    const series = this.#of(call);
    series.outcomes.set(outcome, (series.outcomes.get(outcome) ?? 0) + 1);
    this.queue.recordMs(call.queuedMs);
    this.#calls++;
    if (!ANSWERS.has(outcome) && outcome !== 'ABORTED') this.#errors++;
    if (call.attempt === 0) return;
    series.duration.recordMs(call.callMs);
    this.#latency.record(call.callMs);
    this.sentBytes += call.sentBytes;
    this.receivedBytes += call.receivedBytes;
  }

  /** An attempt that failed: its bytes went out all the same. */
  retried(call: TracedCall): void {
    this.retries++;
    this.sentBytes += call.sentBytes;
    this.receivedBytes += call.receivedBytes;
  }

  restarted(reason: string): void {
    this.restarts.set(reason, (this.restarts.get(reason) ?? 0) + 1);
  }

  /** What came in since this was last asked. */
  takeWindow(): Window {
    const quantiles = this.#latency.quantiles;
    const window = { calls: this.#calls, errors: this.#errors, p50Ms: quantiles?.p50, p99Ms: quantiles?.p99 };
    if (quantiles !== undefined) this.#latency = new Latency();
    this.#calls = 0;
    this.#errors = 0;
    return window;
  }

  #of({ method, target, principal: given, outcome }: TracedCall): Series {
    const principal = this.#principals === undefined ? undefined : given;
    // Most calls are of the kind of the one before.
    const same = method === this.#method && target === this.#target && principal === this.#principal;
    // What had no label so far may have earned one.
    if (this.#newest !== undefined && same && this.#newest.tool !== OTHER) return this.#newest;
    const tool = method === 'tools/call' && target !== undefined ? this.#tools.of(target, outcome) : '';
    const series = this.#find(method, tool, principal);
    this.#method = method;
    this.#target = target;
    this.#principal = principal;
    this.#newest = series;
    return series;
  }

  #find(method: string, tool: string, principal: string | undefined): Series {
    const labels = {
      method: methodLabel(method),
      tool,
      principal: this.#principals?.of(principal ?? ''),
    };
    const key = JSON.stringify(Object.values(labels));
    const known = this.#series.get(key) ?? { ...labels, outcomes: new Map(), duration: new Histogram() };
    this.#series.set(key, known);
    return known;
  }
}
