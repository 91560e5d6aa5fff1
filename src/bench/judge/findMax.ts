import type { MaxResult, StepResult } from '../report/results.js';
import { type Criterion, firstBroken } from './criteria.js';

export interface FindMaxOptions {
  readonly target: string;
  readonly criteria: readonly Criterion[];
  readonly unit: MaxResult['unit'];
  /** The first load tried, from 1. */
  readonly from: number;
  /** No load above this is tried. */
  readonly limit: number;
  /** The search ends when the knee is known to this share of it. */
  readonly precision: number;
  readonly run: (size: number) => Promise<StepResult>;
  readonly stopping?: AbortSignal | undefined;
}

/** The largest load that keeps an objective: doubled until it breaks, then halved in between. */
export async function findMax(
  options: FindMaxOptions,
): Promise<{ readonly max: MaxResult; readonly steps: StepResult[] }> {
  const { criteria, from, limit, precision, run, stopping } = options;
  const steps: StepResult[] = [];
  const tried: { size: number; kept: boolean; broke: string | undefined }[] = [];
  const keeps = async (size: number): Promise<boolean> => {
    const step = await run(size);
    steps.push(step);
    // A generator that cannot send what it should says nothing of the target.
    const broke =
      firstBroken(criteria, step) ?? (step.all.dropped > 0 ? `${step.all.dropped} calls were dropped` : undefined);
    tried.push({ size, kept: broke === undefined, broke });
    return broke === undefined;
  };
  let [good, bad] = [0, Number.POSITIVE_INFINITY];
  for (let size = from; stopping?.aborted !== true; size = Math.min(limit, size * 2)) {
    if (await keeps(size)) good = size;
    else bad = size;
    if (bad !== Number.POSITIVE_INFINITY || good >= limit) break;
  }
  while (bad !== Number.POSITIVE_INFINITY && bad - good > Math.max(1, good * precision) && stopping?.aborted !== true) {
    const middle = Math.round((good + bad) / 2);
    if (await keeps(middle)) good = middle;
    else bad = middle;
  }
  const slo = criteria.map(({ text }) => text).join(', ');
  return { max: { target: options.target, slo, best: good, unit: options.unit, tried }, steps };
}
