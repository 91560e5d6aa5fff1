import { OptionError } from '../../core/errors.js';
import { checkText } from '../../core/options.js';
import { type ClassResult, type StepResult, stepName } from '../report/results.js';

/** The figures that a criterion may name, each with how it is read off a class of calls. */
const FIGURES = {
  p50: (all: ClassResult) => all.latencyMs?.p50,
  p90: (all: ClassResult) => all.latencyMs?.p90,
  p95: (all: ClassResult) => all.latencyMs?.p95,
  p99: (all: ClassResult) => all.latencyMs?.p99,
  'p99.9': (all: ClassResult) => all.latencyMs?.p999,
  mean: (all: ClassResult) => all.latencyMs?.mean,
  max: (all: ClassResult) => all.latencyMs?.max,
  errors: (all: ClassResult) => all.errorRatio,
  rate: (all: ClassResult) => all.callsPerSec,
  dropped: (all: ClassResult) => all.dropped,
} as const;

export type FigureName = keyof typeof FIGURES;

/** One condition on a figure, absolute (`p99<200ms`) or against a base (`p99>+20%`). */
export interface Criterion {
  readonly text: string;
  readonly figure: FigureName;
  readonly relation: '<' | '<=' | '>' | '>=';
  /** Milliseconds, a share from 0 to 1, calls a second, or a count, as the figure has it. A share for a relative one. */
  readonly bound: number;
  readonly relative: boolean;
}

/** Figures for which more is better. */
export const MORE_IS_BETTER: ReadonlySet<FigureName> = new Set(['rate']);

const FORM =
  /^\s*(p50|p90|p95|p99\.9|p99|mean|max|errors|rate|dropped)\s*(<=|>=|<|>)\s*([+-]?)(\d+(?:\.\d+)?)\s*(us|µs|ms|s|%|\/s)?\s*$/;

/** Conditions separated by commas. @throws OptionError that shows what a condition looks like. */
export function parseCriteria(option: string, text: string): Criterion[] {
  return checkText(checkText('option', option), text)
    .split(',')
    .map((part) => {
      const hit = FORM.exec(part);
      if (hit === null) {
        throw new OptionError(
          option,
          part.trim(),
          `conditions such as 'p99<200ms', 'errors<0.1%', 'rate>500/s' or, against a base, 'p99>+20%'; figures: ${Object.keys(FIGURES).join(', ')}`,
        );
      }
      const [, figure, relation, sign, number, unit = ''] = hit as unknown as [
        string,
        FigureName,
        Criterion['relation'],
        string,
        string,
        string?,
      ];
      const relative = sign !== '';
      if (relative && unit !== '%')
        throw new OptionError(option, part.trim(), "a change in percent, such as 'p99>+20%'");
      return {
        text: part.trim(),
        figure,
        relation,
        relative,
        bound: boundOf(option, part.trim(), figure, Number(`${sign}${number}`), unit),
      };
    });
}

function boundOf(option: string, text: string, figure: FigureName, value: number, unit: string): number {
  if (unit === '%') return value / 100;
  const isTime = /^(p\d|mean|max)/.test(figure);
  if (isTime) {
    if (unit === 'us' || unit === 'µs') return value / 1_000;
    if (unit === 's') return value * 1_000;
    if (unit === 'ms') return value;
    throw new OptionError(option, text, `a time with its unit, such as '${figure}<200ms'`);
  }
  const wanted = figure === 'rate' ? '/s' : figure === 'errors' ? '%' : '';
  if (unit !== '' && unit !== wanted)
    throw new OptionError(option, text, `${figure} without a unit${wanted && ` or in ${wanted}`}`);
  return value;
}

export const figureOf = (figure: FigureName, result: ClassResult): number => FIGURES[figure](result) ?? Number.NaN;

export function holdsFor({ relation, bound }: Criterion, value: number): boolean {
  switch (relation) {
    case '<':
      return value < bound;
    case '<=':
      return value <= bound;
    case '>':
      return value > bound;
    default:
      return value >= bound;
  }
}

/** The first condition of an objective that a step does not keep, in words; a step without answers keeps none. */
export function firstBroken(criteria: readonly Criterion[], step: StepResult): string | undefined {
  if (step.all.calls === 0) return 'no call was answered';
  for (const criterion of criteria) {
    const value = figureOf(criterion.figure, step.all);
    if (!holdsFor(criterion, value)) return `${criterion.text} (${stepName(step)}: ${round(value)})`;
  }
  return undefined;
}

export const round = (value: number): string => (Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3));
