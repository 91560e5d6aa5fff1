import { cpus } from 'node:os';
import { OptionError } from '../core/errors.js';
import { checkArray, checkCount, checkMs, checkOptions } from '../core/options.js';
import { packageVersion } from '../core/version.js';
import { BENCH_DEFAULTS, type BenchOptions, SWEEP_OPTIONS } from './BenchOptions.js';
import { compareReports, judge } from './judge/compare.js';
import { parseCriteria } from './judge/criteria.js';
import { findMax } from './judge/findMax.js';
import { generate, type StepPlan } from './load/generate.js';
import { type ClosedModel, describeModel, type Model } from './load/models.js';
import { type BenchReport, type MaxResult, RESULT_SCHEMA, type StepResult, stepName } from './report/results.js';
import { limitOf } from './sample/generator.js';
import { Target, type TargetSettings } from './target/Target.js';
import { describeWorkload, makeStreams, settingsFor, type Workload } from './workload/Workload.js';

/** One load at one target, before it runs. */
type Step = Omit<StepPlan, 'target'>;

/**
 * Measures one or more MCP servers or proxies, and says what was measured. Bad input is one `OptionError` before any
 * load: an unreachable target (`ERR_START_FAILED`), a tool that does not exist, arguments that its schema refuses.
 */
export async function runBench(options: BenchOptions): Promise<BenchReport> {
  const steps = stepsOf(options);
  const slo = options.slo === undefined ? undefined : parseCriteria('slo', options.slo);
  const failIf = options.failIf === undefined ? [] : parseCriteria('failIf', options.failIf);
  if (slo !== undefined && ((options.workloads?.length ?? 1) > 1 || options.sweep !== undefined)) {
    throw new OptionError('slo', options.slo, 'one workload and no sweep: a search is for one load at a time');
  }
  if (slo?.some(({ relative }) => relative)) throw new OptionError('slo', options.slo, 'absolute conditions');
  if (failIf.some(({ relative }) => relative) && options.base === undefined) {
    throw new OptionError('failIf', options.failIf, 'a base report to compare with (--compare)');
  }
  const startedAt = new Date().toISOString();
  const { results, max } =
    slo === undefined ? { results: await runAll(options, steps), max: [] } : await searchAll(options, steps, slo);
  const report: BenchReport = {
    schema: RESULT_SCHEMA,
    tool: `mcp-poolkit bench ${packageVersion()}`,
    startedAt,
    command: options.command ?? 'runBench()',
    machine: {
      cpu: cpus()[0]?.model ?? 'unknown CPU',
      cores: cpus().length,
      node: process.version,
      platform: `${process.platform} ${process.arch}`,
    },
    steps: results,
    max,
    verdicts: [],
    judgements: [],
    notes: notesOf(results, options),
    complete: options.signal?.aborted !== true,
  };
  const verdicts = options.base === undefined ? [] : compareReports(options.base, report);
  return { ...report, verdicts, judgements: judge(failIf, report, options.base) };
}

/** Every step of a run, checked. @throws OptionError */
function stepsOf(options: BenchOptions): Step[] {
  checkOptions('runBench', options);
  for (const each of checkArray('targets', options.targets, 'an array of targets, as parseTarget makes them'))
    checkOptions('targets', each);
  if (options.targets.length === 0) throw new OptionError('targets', options.targets, 'at least one target');
  const labels = options.targets.map(({ label }) => label);
  const twice = labels.find((label, i) => labels.indexOf(label) !== i);
  if (twice !== undefined) throw new OptionError('targets', twice, 'labels that differ');
  const time = {
    durationMs: checkMs('durationMs', options.durationMs ?? BENCH_DEFAULTS.durationMs, { min: 1 }),
    warmupMs: checkMs('warmupMs', options.warmupMs ?? BENCH_DEFAULTS.warmupMs),
    drainMs: checkMs('drainMs', options.drainMs ?? BENCH_DEFAULTS.drainMs),
    workers: checkCount('workers', options.workers ?? BENCH_DEFAULTS.workers, { min: 1, max: 64 }),
  };
  checkCount('turns', options.turns ?? BENCH_DEFAULTS.turns, { min: 1, max: 1_000 });
  const workloads = checkArray('workloads', options.workloads ?? [{ kind: 'tool' } satisfies Workload]);
  const settings = options.settings ?? {};
  return workloads.flatMap((workload) => {
    // A scenario names its models itself.
    const models = workload.kind === 'scenario' ? modelsOf(options).slice(0, 1) : modelsOf(options);
    return models.flatMap((model) => {
      if (options.sweep === undefined) return [{ settings, workload, model, ...time }];
      const { option, values } = options.sweep;
      if (!SWEEP_OPTIONS.includes(option)) throw new OptionError('sweep', option, `one of ${SWEEP_OPTIONS.join(', ')}`);
      return values.map((value) => ({
        settings: swept(settings, option, value),
        workload,
        model,
        queueWait: true,
        ...time,
      }));
    });
  });
}

function swept(settings: TargetSettings, option: (typeof SWEEP_OPTIONS)[number], value: number): TargetSettings {
  checkCount(option, value, { min: option === 'maxQueue' ? 0 : 1 });
  if (option === 'sessions') return { ...settings, sessions: value };
  return { ...settings, pool: { ...settings.pool, [option]: value } };
}

function modelsOf({
  rates,
  concurrency = BENCH_DEFAULTS.concurrency,
  thinkMs,
  idleMs,
  burstMs,
}: BenchOptions): Model[] {
  if (rates !== undefined) {
    for (const { ratePerSec, rampTo = 1 } of rates) {
      checkRate('rate', ratePerSec);
      checkRate('rampTo', rampTo);
    }
    return [...rates];
  }
  return concurrency.map((each): ClosedModel => {
    checkCount('concurrency', each, { min: 1, max: 100_000 });
    return {
      model: 'closed',
      concurrency: each,
      ...(thinkMs !== undefined && { thinkMs: checkMs('thinkMs', thinkMs) }),
      ...(idleMs !== undefined && { idleMs: checkMs('idleMs', idleMs) }),
      ...(burstMs !== undefined && { burstMs: checkMs('burstMs', burstMs, { min: 1 }) }),
    };
  });
}

function checkRate(option: string, value: number): void {
  if (!(value > 0 && value <= 1_000_000))
    throw new OptionError(option, value, 'calls a second, above 0 and up to 1000000');
}

/** Every step at every target, in turns A B A B; each target is opened anew for each, so that none inherits a state. */
async function runAll(options: BenchOptions, steps: readonly Step[]): Promise<StepResult[]> {
  const { targets, signal } = options;
  const turns = options.turns ?? (targets.length > 1 ? 3 : 1);
  await preflight(options, steps);
  const results: StepResult[] = [];
  const total = steps.length * turns * targets.length;
  for (const step of steps) {
    for (let turn = 0; turn < turns; turn++) {
      for (const target of targets) {
        if (signal?.aborted === true) return results;
        results.push(await runOne(options, { ...step, target }, results.length + 1, total));
      }
    }
  }
  return results;
}

/** Each target is tried once before any load, so that a mistake is one clear line and no half of a run. */
async function preflight({ targets, signal }: BenchOptions, steps: readonly Step[]): Promise<void> {
  for (const spec of targets) {
    const seen = new Set<string>();
    for (const step of steps) {
      const key = JSON.stringify([step.workload, step.settings.sessions]);
      if (seen.has(key)) continue;
      seen.add(key);
      await using target = await Target.open(spec, settingsFor(step.workload, step.settings), signal);
      await makeStreams(target, step.workload, step.model, signal);
    }
  }
}

async function searchAll(options: BenchOptions, steps: readonly Step[], criteria: ReturnType<typeof parseCriteria>) {
  const results: StepResult[] = [];
  const max: MaxResult[] = [];
  await preflight(options, steps);
  for (const step of steps.slice(0, 1)) {
    for (const target of options.targets) {
      const { model } = step;
      const found = await findMax({
        target: target.label,
        criteria,
        unit: model.model === 'closed' ? 'in flight' : '/s',
        from: model.model === 'closed' ? model.concurrency : model.ratePerSec,
        limit: BENCH_DEFAULTS.findMaxLimit,
        precision: BENCH_DEFAULTS.findMaxPrecision,
        stopping: options.signal,
        run: (size) => runOne(options, { ...step, target, model: sized(model, size) }, results.length + 1, undefined),
      });
      for (const each of found.steps) results.push(each);
      max.push(found.max);
    }
  }
  return { results, max };
}

/** The model at another size. A search holds each load, so that a ramp has no part in it. */
function sized(model: Model, size: number): Model {
  if (model.model === 'closed') return { ...model, concurrency: size };
  const { rampTo: _, ...steady } = model;
  return { ...steady, ratePerSec: size };
}

async function runOne(
  options: BenchOptions,
  plan: StepPlan,
  number: number,
  total: number | undefined,
): Promise<StepResult> {
  const result = await generate(plan, {
    stopping: options.signal,
    onTick: (all, elapsedMs) =>
      options.onProgress?.({
        target: plan.target.label,
        workload: describeWorkload(plan.workload),
        model: describeModel(plan.model),
        step: number,
        steps: total,
        elapsedMs,
        durationMs: plan.durationMs,
        all,
      }),
  });
  if (options.sweep === undefined) return result;
  const { option } = options.sweep;
  const value = option === 'sessions' ? plan.settings.sessions : plan.settings.pool?.[option];
  return { ...result, workload: `${result.workload}, ${option} ${value}` };
}

function notesOf(results: readonly StepResult[], { workers = 1 }: BenchOptions): string[] {
  const notes: string[] = [];
  const saturated = results.filter(({ generator }) => generator.saturated);
  if (saturated.length > 0) {
    const { what, remedy } = limitOf(
      saturated.map(({ generator }) => generator),
      workers,
    );
    notes.push(
      `the load generator itself was at its limit in ${saturated.length} of ${results.length} steps (${what}, first in: ${stepName(saturated[0] as StepResult)}): their figures are a lower bound of the target; ${remedy}`,
    );
  }
  const unchecked = results.filter(({ all }) => all.calls === 0);
  if (unchecked.length > 0) notes.push(`${unchecked.length} steps had no right answer at all`);
  if (results.some(({ model }) => model.startsWith('closed'))) {
    notes.push(
      'closed model: a stall of the target slows its callers down, so it shows as few samples; use --rate to see what users would',
    );
  }
  return notes;
}
