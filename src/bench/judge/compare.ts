import { checkArray } from '../../core/options.js';
import { checkReport } from '../report/checkReport.js';
import { type BenchReport, type Comparison, type Judgement, type StepResult, stepName } from '../report/results.js';
import { type Criterion, type FigureName, figureOf, holdsFor, MORE_IS_BETTER } from './criteria.js';

/** Figures that are compared with a base report. */
const COMPARED: readonly FigureName[] = ['rate', 'p50', 'p99', 'errors'];

/** What two turns of one machine differ by at the least, when there was only one turn to learn it from. */
const ASSUMED_NOISE = 0.1;

/** Steps of the same target, workload and model, by name. */
export function groupSteps(steps: readonly StepResult[]): Map<string, StepResult[]> {
  const groups = new Map<string, StepResult[]>();
  for (const step of steps) {
    const name = stepName(step);
    groups.set(name, [...(groups.get(name) ?? []), step]);
  }
  return groups;
}

/**
 * Each figure of each step against the base. It is better or worse only when the medians differ by more than the noise:
 * half the spread of repeated turns on both sides together, or a tenth when neither was repeated.
 */
export function compareReports(base: BenchReport, now: BenchReport): Comparison[] {
  const bases = groupSteps(checkReport('base', base).steps);
  return [...groupSteps(checkReport('now', now).steps)].flatMap(([step, turns]) => {
    const before = bases.get(step);
    return before === undefined ? [] : COMPARED.flatMap((figure) => compareFigure(step, figure, before, turns));
  });
}

function compareFigure(
  step: string,
  figure: FigureName,
  before: readonly StepResult[],
  after: readonly StepResult[],
): Comparison[] {
  const bases = before.map((each) => figureOf(figure, each.all)).filter(Number.isFinite);
  const values = after.map((each) => figureOf(figure, each.all)).filter(Number.isFinite);
  if (bases.length === 0 || values.length === 0) return [];
  const [base, now] = [medianOf(bases), medianOf(values)];
  const change = base === 0 ? (now === 0 ? 0 : Number.POSITIVE_INFINITY) : now / base - 1;
  const noise = bases.length + values.length > 2 ? spreadOf(bases) / 2 + spreadOf(values) / 2 : ASSUMED_NOISE;
  const up = MORE_IS_BETTER.has(figure);
  const told = Math.abs(change) <= noise ? 'cannot tell' : change > 0 === up ? 'better' : 'worse';
  const verdict = [...bases, ...values].every((each) => each === base) ? 'same' : told;
  return [{ step, figure, base, now, change, noise, verdict }];
}

/** `--fail-if`: a condition that must not hold; a relative one is held against the base, and not within the noise. */
export function judge(criteria: readonly Criterion[], report: BenchReport, base: BenchReport | undefined): Judgement[] {
  const bases = groupSteps(base === undefined ? [] : checkReport('base', base).steps);
  checkArray('criteria', criteria, 'criteria, as parseCriteria makes them');
  return [...groupSteps(checkReport('report', report).steps)].flatMap(([step, turns]) =>
    criteria.flatMap((criterion) => {
      const values = turns.map((each) => figureOf(criterion.figure, each.all)).filter(Number.isFinite);
      // A run without any answer fails whatever was asked.
      if (values.length === 0) return [{ criterion: criterion.text, step, value: Number.NaN, kept: false }];
      if (!criterion.relative) {
        const value = medianOf(values);
        return [{ criterion: criterion.text, step, value, kept: !holdsFor(criterion, value) }];
      }
      const [compared] = compareFigure(step, criterion.figure, bases.get(step) ?? [], turns);
      if (compared === undefined) return [];
      const kept = ['cannot tell', 'same'].includes(compared.verdict) || !holdsFor(criterion, compared.change);
      return [{ criterion: criterion.text, step, value: compared.change, kept }];
    }),
  );
}

export function medianOf(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

/** Largest less smallest, as a share of the median. */
function spreadOf(values: readonly number[]): number {
  const median = medianOf(values);
  const most = values.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const least = values.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
  return median === 0 ? 0 : (most - least) / median;
}
