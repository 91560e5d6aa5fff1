import type { OpenModel } from './load/models.js';
import type { Recorder } from './load/Recorder.js';
import type { BenchReport } from './report/results.js';
import type { TargetSettings } from './target/Target.js';
import type { TargetSpec } from './target/TargetSpec.js';
import type { Workload } from './workload/Workload.js';

/** What a workload may do again and again. */
export const WORKLOAD_KINDS = [
  'tool',
  'payload',
  'progress',
  'lists',
  'sessions',
  'cold',
  'head-of-line',
  'fairness',
  'scenario',
] as const;

/** The defaults of `runBench` and of the command. */
export const BENCH_DEFAULTS = Object.freeze({
  concurrency: Object.freeze([1, 16, 64]) as readonly number[],
  durationMs: 10_000,
  warmupMs: 1_000,
  drainMs: 10_000,
  turns: 1,
  workers: 1,
  findMaxLimit: 100_000,
  findMaxPrecision: 0.05,
});

export interface BenchOptions {
  /** What is measured, one or more: each load runs at every target, in turns A B A B. */
  readonly targets: readonly TargetSpec[];
  /** What is called. @defaultValue one tool: `echo`, or the first whose arguments can be made up */
  readonly workloads?: readonly Workload[];
  /** Closed model: one step for each of these numbers of calls in flight, from 1. @defaultValue [1, 16, 64] */
  readonly concurrency?: readonly number[];
  /** Closed model: pause of each caller between calls in ms, from 0. @defaultValue 0 */
  readonly thinkMs?: number;
  /** Closed model: callers are idle together this long in ms, then call for `burstMs`. @defaultValue never idle */
  readonly idleMs?: number;
  /** Closed model: how long callers call between idle times, in ms, from 1. @defaultValue without end */
  readonly burstMs?: number;
  /** Open model instead of `concurrency`: one step for each. @defaultValue the closed model */
  readonly rates?: readonly OpenModel[];
  /** Pool options to try, one step for each value; the wait in the queue is measured apart from the call. @defaultValue none */
  readonly sweep?: { readonly option: SweepOption; readonly values: readonly number[] };
  /** Find the largest load that keeps this objective, for example `'p99<200ms,errors<0.1%'`, by halving. @defaultValue no search */
  readonly slo?: string;
  /** Measured time of each step in ms, from 1. @defaultValue 10000 */
  readonly durationMs?: number;
  /** Load before measuring in ms, from 0. @defaultValue 1000 */
  readonly warmupMs?: number;
  /** How long calls in flight may still take at the end of a step in ms, from 0; then they count as `UNFINISHED`. @defaultValue 10000 */
  readonly drainMs?: number;
  /** How often each step runs at each target, from 1: repeated turns tell the noise. @defaultValue 1, 3 with several targets */
  readonly turns?: number;
  /** Processes that generate load, from 1. @defaultValue 1 */
  readonly workers?: number;
  /** Sessions, timeouts, faults and pool options of every target. @defaultValue those of a target */
  readonly settings?: TargetSettings;
  /** Conditions that fail the run, absolute or against `base`. @defaultValue none */
  readonly failIf?: string;
  /** An earlier report to compare with. @defaultValue none */
  readonly base?: BenchReport;
  /** Shown in reports as what made them. @defaultValue 'runBench()' */
  readonly command?: string;
  /** Aborting ends the run early and cleanly: the report has what was measured so far. @defaultValue none */
  readonly signal?: AbortSignal;
  /** Told twice a second what is running and what it measured so far. @defaultValue none */
  readonly onProgress?: (progress: BenchProgress) => void;
}

/** What a step is doing, twice a second. */
export interface BenchProgress {
  readonly target: string;
  readonly workload: string;
  readonly model: string;
  readonly step: number;
  /** Steps in all; undefined while a search decides. */
  readonly steps: number | undefined;
  readonly elapsedMs: number;
  readonly durationMs: number;
  readonly all: Recorder;
}

/** Pool options that a sweep may try. */
export const SWEEP_OPTIONS = ['maxConnections', 'maxConcurrent', 'maxQueue', 'sessions'] as const;
export type SweepOption = (typeof SWEEP_OPTIONS)[number];
