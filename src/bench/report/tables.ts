import { medianOf } from '../judge/compare.js';
import { bytes, count, ms, percent, perSec, times } from './format.js';
import { type BenchReport, type ClassResult, type SideOf, type StepResult, stepName } from './results.js';

/** A table as data: text, Markdown and HTML print the same one. */
export interface Table {
  /** `verdicts`: what is said of the figures. @defaultValue figures of the load */
  readonly kind?: 'processes' | 'verdicts';
  readonly title: string;
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** Every table of a report, in reading order. */
export function tablesOf(report: BenchReport): Table[] {
  const tables = [
    stepsTable(report.steps),
    overheadTable(report.steps),
    classesTable(report.steps),
    processTable(report.steps),
  ];
  return [...tables, maxTable(report), verdictTable(report), judgementTable(report)].filter(
    ({ rows }) => rows.length > 0,
  );
}

const errorsText = ({ errors }: ClassResult): string =>
  Object.entries(errors)
    .map(([code, number]) => `${code} ${number}`)
    .join(', ') || '0';

const recoveryText = ({ errorRatio, outageMs, failingMs = 0 }: ClassResult): string => {
  if (errorRatio === 0) return '-';
  return failingMs > outageMs ? `none in ${ms(failingMs)}` : ms(outageMs);
};

function stepsTable(steps: readonly StepResult[]): Table {
  const open = steps.some(({ all }) => all.late + all.dropped > 0);
  const queue = steps.some(({ all }) => all.queueWaitMs !== undefined);
  const served = steps.some(({ all }) => all.beyondServiceMs !== undefined);
  const failing = steps.some(({ all }) => all.errorRatio > 0);
  const events = steps.some(({ all }) => all.events > 0);
  return {
    title: 'Load and latency',
    head: [
      'target',
      'workload',
      'model',
      'rate',
      'p50',
      'p95',
      'p99',
      'p99.9',
      'max',
      ...(queue ? ['queue p50', 'queue p99'] : []),
      ...(served ? ['beyond service p50', 'p99'] : []),
      ...(events ? ['events'] : []),
      ...(open ? ['late', 'dropped'] : []),
      'errors',
      ...(failing ? ['recovery'] : []),
    ],
    rows: steps.map(({ target, workload, model, all, generator, complete }) => [
      target,
      workload,
      `${model}${complete ? '' : ' (interrupted)'}${generator.saturated ? ' (generator saturated)' : ''}`,
      perSec(all.callsPerSec),
      ms(all.latencyMs?.p50),
      ms(all.latencyMs?.p95),
      ms(all.latencyMs?.p99),
      ms(all.latencyMs?.p999),
      ms(all.latencyMs?.max),
      ...(queue ? [ms(all.queueWaitMs?.p50), ms(all.queueWaitMs?.p99)] : []),
      ...(served ? [ms(all.beyondServiceMs?.p50), ms(all.beyondServiceMs?.p99)] : []),
      ...(events ? [count(all.events)] : []),
      ...(open ? [count(all.late), count(all.dropped)] : []),
      errorsText(all),
      ...(failing ? [recoveryText(all)] : []),
    ]),
  };
}

/** The same load at several targets: medians over turns, and what each costs against the first. */
function overheadTable(steps: readonly StepResult[]): Table {
  const targets = [...new Set(steps.map(({ target }) => target))];
  const loads = [...new Set(steps.map(({ workload, model }) => `${workload}, ${model}`))];
  const served = steps.some(({ all }) => all.beyondServiceMs !== undefined);
  const rows =
    targets.length < 2
      ? []
      : loads.flatMap((load) => {
          const of = (target: string): StepResult[] =>
            steps.filter((step) => step.target === target && `${step.workload}, ${step.model}` === load);
          const figure = (target: string, read: (step: StepResult) => number | undefined): number =>
            medianOf(of(target).flatMap((step) => read(step) ?? []));
          const base = targets[0] as string;
          return targets
            .filter((target) => of(target).length > 0)
            .map((target) => {
              const rate = figure(target, ({ all }) => all.callsPerSec);
              const cells = (
                [(l) => l.p50, (l) => l.p95, (l) => l.p99, (l) => l.p999] as ((
                  l: NonNullable<ClassResult['latencyMs']>,
                ) => number)[]
              ).map((read) =>
                ms(figure(target, ({ all }) => (all.latencyMs === undefined ? undefined : read(all.latencyMs)))),
              );
              return [
                load,
                target,
                String(of(target).length),
                perSec(rate),
                times(rate / figure(base, ({ all }) => all.callsPerSec)),
                ...cells,
                ...(served ? [ms(figure(target, ({ all }) => all.beyondServiceMs?.p50))] : []),
                cpu(figure(target, ({ cpuPerCallUs }) => cpuPerCallUs)),
                bytes(figure(target, ({ processes }) => processes?.rssPeak)),
                count(figure(target, ({ processes }) => processes?.processes.length)),
              ];
            });
        });
  return {
    title: 'Overhead: the same load straight and through, in turns',
    head: [
      'load',
      'target',
      'turns',
      'rate',
      'of direct',
      'p50',
      'p95',
      'p99',
      'p99.9',
      ...(served ? ['beyond service p50'] : []),
      'CPU a call',
      'RSS peak',
      'processes',
    ],
    rows,
  };
}

const cpu = (us: number): string => ms(us / 1_000);

function classesTable(steps: readonly StepResult[]): Table {
  return {
    title: 'By stream and kind of call',
    head: ['step', 'calls of', 'rate', 'p50', 'p99', 'max', 'errors', 'fairness (Jain)'],
    rows: steps.flatMap((step) =>
      step.classes.map((each, i) => [
        i === 0 ? stepName(step) : '',
        each.name,
        perSec(each.callsPerSec),
        ms(each.latencyMs?.p50),
        ms(each.latencyMs?.p99),
        ms(each.latencyMs?.max),
        errorsText(each),
        i === 0 && step.fairness !== undefined ? step.fairness.toFixed(3) : '',
      ]),
    ),
  };
}

function processTable(steps: readonly StepResult[]): Table {
  return {
    kind: 'processes',
    title: 'Every process of each side, over its step',
    head: [
      'step',
      'pid',
      'process',
      'CPU',
      'CPU a call',
      'RSS before',
      'peak',
      'after',
      'fds before',
      'peak',
      'after',
      'children',
      'zombies',
    ],
    rows: steps.flatMap((step) =>
      (step.processes?.processes ?? []).map((each, i) => [
        i === 0 ? stepName(step) : '',
        String(each.pid),
        shortCommand(each.command),
        ms(each.cpuMs),
        cpu((each.cpuMs * 1_000) / step.all.calls),
        bytes(each.rssBefore),
        bytes(each.rssPeak),
        bytes(each.rssAfter),
        String(each.fdsBefore),
        String(each.fdsPeak),
        String(each.fdsAfter),
        ...childrenOf(step.processes, i),
      ]),
    ),
  };
}

function childrenOf(side: SideOf<StepResult>, row: number): string[] {
  if (row > 0 || side === undefined) return ['', ''];
  return [`${side.childrenBefore} / ${side.childrenPeak} / ${side.childrenAfter}`, String(side.zombiesPeak)];
}

/** The program and the file it runs, without folders. */
export function shortCommand(command: string): string {
  const words = command.split(' ').map((word) => word.split('/').at(-1) ?? word);
  const text = words.join(' ');
  return text.length > 48 ? `${text.slice(0, 47)}…` : text;
}

function maxTable({ max }: BenchReport): Table {
  return {
    kind: 'verdicts',
    title: 'The knee: the largest load that keeps the objective',
    head: ['target', 'objective', 'largest', 'tried'],
    rows: max.map(({ target, slo, best, unit, tried }) => [
      target,
      slo,
      best === 0 ? 'none' : `${count(best)} ${unit}`,
      tried.map(({ size, kept }) => `${size}${kept ? '' : '!'}`).join(' '),
    ]),
  };
}

function verdictTable({ verdicts }: BenchReport): Table {
  return {
    kind: 'verdicts',
    title: 'Against the base',
    head: ['step', 'figure', 'base', 'now', 'change', 'noise', 'verdict'],
    rows: verdicts.map(({ step, figure, base, now, change, noise, verdict }) => {
      const show = figure === 'rate' ? perSec : figure === 'errors' ? percent : ms;
      return [
        step,
        figure,
        show(base),
        show(now),
        `${change > 0 ? '+' : ''}${percent(change)}`,
        percent(noise),
        verdict,
      ];
    }),
  };
}

function judgementTable({ judgements }: BenchReport): Table {
  return {
    kind: 'verdicts',
    title: 'Thresholds (--fail-if)',
    head: ['fails if', 'step', 'value', 'verdict'],
    rows: judgements.map(({ criterion, step, value, kept }) => [
      criterion,
      step,
      criterion.includes('+') || criterion.includes('-') ? percent(value) : String(Number(value.toPrecision(4))),
      kept ? 'passed' : 'FAILED',
    ]),
  };
}
