import type { ClassResult, StepResult } from '../report/results.js';
import { busiest } from '../sample/generator.js';
import { Recorder, type RecorderData } from './Recorder.js';
import type { Measured } from './runStep.js';

/** What a step was, beside what was measured. */
export interface StepTitle {
  readonly target: string;
  readonly workload: string;
  readonly model: string;
  readonly size: number;
}

/** The measurements of one step by one or more generators as one result. */
export function toResult(title: StepTitle, parts: readonly Measured[]): StepResult {
  const durationMs = parts.reduce((most, part) => Math.max(most, part.durationMs), Number.NEGATIVE_INFINITY);
  const all = classResult(mergedOf(parts.map((part) => part.all)), durationMs);
  const classes = byName(parts.flatMap((part) => part.classes)).map((each) => classResult(each, durationMs));
  const callers = byName(parts.flatMap((part) => part.callers));
  const processes = parts.find((part) => part.processes !== undefined)?.processes;
  return {
    ...title,
    durationMs,
    all,
    classes: classes.length > 1 ? classes : [],
    fairness: callers.length > 0 ? jain(callers.map((each) => each.calls)) : undefined,
    processes,
    cpuPerCallUs: processes === undefined || all.calls === 0 ? undefined : (processes.cpuMs * 1_000) / all.calls,
    generator: busiest(parts.map((part) => part.generator)),
    complete: parts.every((part) => part.complete),
  };
}

/** Jain's fairness index: (Σx)² / (n Σx²). */
export function jain(values: readonly number[]): number {
  const sum = values.reduce((a, b) => a + b, 0);
  const squares = values.reduce((a, b) => a + b * b, 0);
  return squares === 0 ? 1 : (sum * sum) / (values.length * squares);
}

export function mergedOf(data: readonly RecorderData[]): Recorder {
  const recorder = new Recorder(data[0]?.name ?? 'all');
  for (const each of data) recorder.merge(each);
  return recorder;
}

function byName(data: readonly RecorderData[]): Recorder[] {
  const names = [...new Set(data.map(({ name }) => name))];
  return names.map((name) => mergedOf(data.filter((each) => each.name === name)));
}

function classResult(recorder: Recorder, durationMs: number): ClassResult {
  const { name, calls, failures } = recorder;
  return {
    name,
    calls,
    errors: Object.fromEntries(recorder.errors),
    errorRatio: calls + failures === 0 ? 0 : failures / (calls + failures),
    callsPerSec: calls / (durationMs / 1_000),
    latencyMs: recorder.latency,
    queueWaitMs: recorder.queueWait,
    beyondServiceMs: recorder.beyond,
    late: recorder.late,
    dropped: recorder.dropped,
    events: recorder.events,
    outageMs: recorder.outageMs,
    failingMs: recorder.failingMs(durationMs),
    seconds: recorder.seconds,
    distribution: recorder.distribution(),
  };
}
