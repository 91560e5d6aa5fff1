import type { LatencySummary, Second } from '../load/Recorder.js';
import type { GeneratorFigures } from '../sample/generator.js';
import type { SideFigures } from '../sample/processes.js';

/** The form of `--json`. It changes only with its number. */
export const RESULT_SCHEMA = 'mcp-poolkit-bench/1';

/** One class of calls in one step: a stream, a kind of call in a mix, or a caller. */
export interface ClassResult {
  readonly name: string;
  /** Right answers. */
  readonly calls: number;
  readonly errors: Readonly<Record<string, number>>;
  /** Calls that failed, by the calls that ended: from 0 to 1. */
  readonly errorRatio: number;
  readonly callsPerSec: number;
  /** Of right answers, in ms; undefined when there were none. */
  readonly latencyMs: LatencySummary | undefined;
  /** Wait for a connection before the send, in ms, where it was measured. */
  readonly queueWaitMs: LatencySummary | undefined;
  /**
   * What calls took beyond the server's own time, in ms: the way there and back, and what stands between. Only where answers say how
   * long they were served, as those of the reference server do.
   */
  readonly beyondServiceMs: LatencySummary | undefined;
  /** Open model: sent more than 10 ms after their time. */
  readonly late: number;
  /** Open model: never sent, since the limit in flight was reached. */
  readonly dropped: number;
  /** Notifications that came with the calls, such as progress. */
  readonly events: number;
  /** The longest time from a failure to the next right answer, in ms; 0 where there was none. */
  readonly outageMs: number;
  /** The time from a failure that no right answer followed to the end, in ms; undefined where one followed each. */
  readonly failingMs?: number | undefined;
  readonly seconds: readonly Second[];
  readonly distribution: readonly { readonly percentile: number; readonly ms: number }[];
}

/** One measured step: one target under one load. */
export interface StepResult {
  readonly target: string;
  readonly workload: string;
  /** The model of each stream, in words. */
  readonly model: string;
  /** Calls in flight (closed) or calls a second (open) of the first stream: the axis of charts. */
  readonly size: number;
  /** Measured time in ms, without the warm-up. */
  readonly durationMs: number;
  readonly all: ClassResult;
  /** By stream and kind of call, when there is more than one. */
  readonly classes: readonly ClassResult[];
  /** Jain's fairness index over callers, from 1/n to 1 (even), for workloads that compare callers. */
  readonly fairness: number | undefined;
  /** CPU, memory, descriptors and children of every process of the target; undefined where it has none here. */
  readonly processes: SideFigures | undefined;
  /** CPU time of the target's processes by right answer, in µs. */
  readonly cpuPerCallUs: number | undefined;
  readonly generator: GeneratorFigures;
  /** False when it was interrupted: the figures are those of the time until then. */
  readonly complete: boolean;
}

/** The knee that `--find-max` found. */
export interface MaxResult {
  readonly target: string;
  readonly slo: string;
  /** The largest load that kept it; 0 when none did. */
  readonly best: number;
  /** What the load counts: calls a second, or calls in flight. */
  readonly unit: '/s' | 'in flight';
  readonly tried: readonly { readonly size: number; readonly kept: boolean; readonly broke: string | undefined }[];
}

/** One figure against a base: `cannot tell` when repeated turns differ by more than the two do, `same` when none differs at all. */
export interface Comparison {
  readonly step: string;
  readonly figure: string;
  readonly base: number;
  readonly now: number;
  /** now / base - 1. */
  readonly change: number;
  /** The noise of the figure over repeated turns, as a share. */
  readonly noise: number;
  readonly verdict: 'better' | 'worse' | 'same' | 'cannot tell';
}

/** A threshold that was asked for, and whether the run keeps it. */
export interface Judgement {
  readonly criterion: string;
  readonly step: string;
  readonly value: number;
  readonly kept: boolean;
}

export interface BenchReport {
  readonly schema: typeof RESULT_SCHEMA;
  readonly tool: string;
  /** ISO 8601. */
  readonly startedAt: string;
  readonly command: string;
  readonly machine: { readonly cpu: string; readonly cores: number; readonly node: string; readonly platform: string };
  readonly steps: readonly StepResult[];
  readonly max: readonly MaxResult[];
  readonly verdicts: readonly Comparison[];
  readonly judgements: readonly Judgement[];
  readonly notes: readonly string[];
  readonly complete: boolean;
}

/** The processes of a step. */
export type SideOf<T extends StepResult> = T['processes'];

/** What a step is called in tables and comparisons. */
export const stepName = ({ target, workload, model }: StepResult): string => `${target}, ${workload}, ${model}`;
