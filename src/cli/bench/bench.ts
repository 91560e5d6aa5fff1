import { access, constants } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { type BenchProgress, SWEEP_OPTIONS, type SweepOption } from '../../bench/BenchOptions.js';
import type { OpenModel } from '../../bench/load/models.js';
import { ms, perSec } from '../../bench/report/format.js';
import { htmlReport } from '../../bench/report/html.js';
import { type BenchReport, RESULT_SCHEMA, type StepResult } from '../../bench/report/results.js';
import { junitReport, markdownReport, textReport } from '../../bench/report/text.js';
import { runBench } from '../../bench/runBench.js';
import { parseTarget, type TargetSpec } from '../../bench/target/TargetSpec.js';
import { readScenario } from '../../bench/workload/Scenario.js';
import type { ToolChoice, Workload } from '../../bench/workload/Workload.js';
import { onStopSignals } from '../../core/close/onStopSignals.js';
import { messageOf, OptionError } from '../../core/errors.js';
import { readWhole } from '../../core/files/readWhole.js';
import { writeWhole } from '../../core/files/writeWhole.js';
import { withoutSecrets } from '../../core/text/withoutSecrets.js';
import type { Era } from '../../registry/config/ServerConfig.js';
import { FaultPlan, type FaultPlanOptions } from '../../testing/faults/FaultPlan.js';
import { sendable } from '../arguments.js';
import { complain } from '../output/complain.js';
import { writeOut } from '../output/showResult.js';
import { shownCommand } from './shownCommand.js';

export interface BenchCommandOptions {
  readonly concurrency: readonly number[];
  readonly rate?: readonly OpenModel[];
  readonly arrivals?: 'uniform' | 'poisson';
  readonly duration: number;
  readonly warmup: number;
  readonly think?: number;
  readonly burst?: number;
  readonly idle?: number;
  readonly findMax?: boolean;
  readonly slo?: string;
  readonly config?: string;
  readonly server?: string;
  readonly header?: Readonly<Record<string, string>>;
  readonly transport?: 'http' | 'sse';
  readonly era?: Era;
  readonly tool?: string;
  readonly args?: string;
  readonly workload: Workload['kind'];
  readonly payload?: readonly number[];
  readonly slowTool?: string;
  readonly slowArgs?: string;
  readonly slow: number;
  readonly light: number;
  readonly scenario?: string;
  readonly faults?: string;
  readonly sessions?: number;
  readonly workers: number;
  readonly turns?: number;
  readonly direct?: string;
  readonly via?: readonly string[];
  readonly viaStart?: readonly string[];
  readonly sweep?: string;
  readonly timeout: number;
  readonly compare?: string;
  readonly failIf?: string;
  readonly json?: string | true;
  readonly markdown?: string | true;
  readonly html?: string;
  readonly junit?: string;
  readonly quiet?: boolean;
}

const FAILED_CALLS = 2;
const WRONG = 'WRONG_ANSWER';
const THRESHOLD = 3;
const INTERRUPTED = 130;

/** `mcp-poolkit bench`: prints the report and sets the exit code that its help tells. */
export async function bench(target: string | undefined, options: BenchCommandOptions): Promise<void> {
  const stopping = new AbortController();
  onStopSignals(() => stopping.abort(new Error('interrupted')));
  const live = options.quiet === true ? undefined : new LiveLine();
  try {
    await checkFiles(options);
    const base = options.compare === undefined ? undefined : await readReport(options.compare);
    const report = await runBench({
      targets: await targetsOf(target, options),
      workloads: await workloadsOf(options),
      concurrency: options.concurrency,
      durationMs: options.duration,
      warmupMs: options.warmup,
      workers: options.workers,
      settings: {
        timeoutMs: options.timeout,
        ...(options.faults !== undefined && { faults: await readFaults(options.faults) }),
        ...(options.sessions !== undefined && { sessions: options.sessions }),
      },
      command: shownCommand(process.argv.slice(2)),
      signal: stopping.signal,
      ...modelOf(options),
      ...(options.turns !== undefined && { turns: options.turns }),
      ...(options.sweep !== undefined && { sweep: sweepOf(options.sweep) }),
      ...(options.failIf !== undefined && { failIf: options.failIf }),
      ...(base !== undefined && { base }),
      ...(live !== undefined && { onProgress: (progress) => live.show(progress) }),
    });
    live?.clear();
    await write(report, options);
    const code = exitCodeOf(report, options.faults !== undefined);
    // A report that could not be written has set it already.
    if (code !== 0) process.exitCode = code;
  } catch (error) {
    live?.clear();
    complain(stopping.signal.aborted ? 'interrupted before anything was measured' : messageOf(error));
    process.exitCode = stopping.signal.aborted ? INTERRUPTED : 1;
  }
}

function exitCodeOf(report: BenchReport, faults: boolean): number {
  if (!report.complete) return INTERRUPTED;
  if (report.judgements.some(({ kept }) => !kept)) return THRESHOLD;
  // A search loads more than is borne. A fault plan breaks calls on purpose, and of a bound on errors they may be.
  const mayFail = faults || report.judgements.some(({ criterion }) => criterion.startsWith('errors'));
  const failed = ({ all }: StepResult): boolean =>
    all.calls === 0 || (mayFail ? all.errors[WRONG] !== undefined : all.errorRatio > 0);
  return report.max.length === 0 && report.steps.some(failed) ? FAILED_CALLS : 0;
}

function modelOf({ rate, arrivals, think, burst, idle, findMax, slo }: BenchCommandOptions) {
  if (findMax === true && slo === undefined)
    throw new OptionError('--slo', slo, "an objective, such as 'p99<200ms,errors<0.1%'");
  if (findMax !== true && slo !== undefined)
    throw new OptionError('--find-max', findMax, '--find-max together with --slo');
  return {
    ...(slo !== undefined && { slo }),
    ...(rate !== undefined && {
      rates: rate.map((each) => ({ ...each, ...(arrivals !== undefined && { arrivals }) })),
    }),
    ...(think !== undefined && { thinkMs: think }),
    ...(burst !== undefined && { burstMs: burst }),
    ...(idle !== undefined && { idleMs: idle }),
  };
}

async function targetsOf(target: string | undefined, options: BenchCommandOptions): Promise<TargetSpec[]> {
  const { config, transport, era, direct, header: headers, via = [], viaStart = [] } = options;
  const common = {
    ...(config !== undefined && { config }),
    ...(transport !== undefined && { transport }),
    ...(era !== undefined && { era }),
    ...(headers !== undefined && { headers }),
  };
  const one = target ?? options.server;
  if (one !== undefined && (direct !== undefined || via.length > 0)) {
    throw new OptionError('target', withoutSecrets(one), 'either a target, or --direct and --via');
  }
  if (direct !== undefined || via.length > 0) {
    if (direct === undefined)
      throw new OptionError('--direct', direct, 'the server reached straight, to compare --via with');
    if (viaStart.length > via.length)
      throw new OptionError('--via-start', withoutSecrets(viaStart.at(-1) ?? ''), 'one for each --via');
    const shown = via.map((each) => `via: ${withoutSecrets(each)}`);
    // What told them apart may be what is not shown.
    const labels = shown.map((each, i) => {
      const before = shown.slice(0, i).filter((other) => other === each).length;
      return before === 0 ? each : `${each} (${before + 1})`;
    });
    return Promise.all([
      parseTarget(direct, { ...common, label: `direct: ${withoutSecrets(direct)}` }),
      ...via.map((each, i) => {
        const start = viaStart[i];
        return parseTarget(each, { ...common, label: labels[i] ?? each, ...(start !== undefined && { start }) });
      }),
    ]);
  }
  if (one === undefined) throw new OptionError('target', one, 'a URL, a server of --config, or a command line');
  return [await parseTarget(one, common)];
}

async function workloadsOf(options: BenchCommandOptions): Promise<Workload[]> {
  const { workload, payload, scenario, slow, light } = options;
  const choice = toolChoice(options.tool, '--args', options.args);
  if (scenario !== undefined) return [{ kind: 'scenario', scenario: await readScenario(scenario) }];
  if (payload !== undefined) return payload.map((bytes) => ({ kind: 'payload', bytes, ...choice }));
  switch (workload) {
    case 'scenario':
      throw new OptionError('--scenario', scenario, 'a scenario file');
    case 'payload':
      return [1_024, 2 ** 20].map((bytes) => ({ kind: 'payload', bytes, ...choice }));
    case 'lists':
      return [{ kind: 'lists' }];
    case 'head-of-line': {
      if (options.slowTool === undefined) throw new OptionError('--slow-tool', undefined, 'the name of a slow tool');
      const slowChoice = toolChoice(options.slowTool, '--slow-args', options.slowArgs);
      return [0, slow].map((slowInFlight) => ({ kind: 'head-of-line', fast: choice, slow: slowChoice, slowInFlight }));
    }
    case 'fairness':
      return [{ kind: 'fairness', light, ...choice }];
    default:
      return [{ kind: workload, ...choice }];
  }
}

function toolChoice(tool: string | undefined, option: string, json: string | undefined): ToolChoice {
  return { ...(tool !== undefined && { tool }), ...(json !== undefined && { args: parseArguments(option, json) }) };
}

function parseArguments(option: string, json: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = sendable(JSON.parse(json));
  } catch (error) {
    throw new OptionError(option, json, `a JSON object (${messageOf(error)})`, error);
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new OptionError(option, json, 'a JSON object');
}

function sweepOf(text: string): { option: SweepOption; values: number[] } {
  const [option = '', values = ''] = text.split('=');
  const numbers = values.split(',').map(Number);
  if (!SWEEP_OPTIONS.some((each) => each === option))
    throw new OptionError('--sweep', option, `one of ${SWEEP_OPTIONS.join(', ')}`);
  if (values === '' || !numbers.every(Number.isInteger))
    throw new OptionError('--sweep', text, 'values, such as maxConnections=1,2,4');
  return { option: option as SweepOption, values: numbers };
}

async function readFaults(file: string): Promise<FaultPlanOptions> {
  try {
    const plan = JSON.parse(await readWhole(file)) as FaultPlanOptions;
    new FaultPlan(plan);
    return plan;
  } catch (error) {
    throw new OptionError('--faults', file, `a fault plan: ${messageOf(error)}`, error);
  }
}

async function readReport(file: string): Promise<BenchReport> {
  let report: BenchReport;
  try {
    report = JSON.parse(await readWhole(file)) as BenchReport;
  } catch (error) {
    throw new OptionError('--compare', file, `a report of --json (${messageOf(error)})`, error);
  }
  if (report?.schema === RESULT_SCHEMA) return report;
  throw new OptionError('--compare', report?.schema, `a report of the form ${RESULT_SCHEMA}`);
}

/** A report that cannot be written is told before any load. @throws OptionError */
async function checkFiles(options: BenchCommandOptions): Promise<void> {
  for (const option of ['json', 'markdown', 'html', 'junit'] as const) {
    const file = options[option];
    if (typeof file !== 'string') continue;
    await access(dirname(resolve(file)), constants.W_OK).catch((error: unknown) => {
      throw new OptionError(option, file, 'a file in a folder that exists and may be written to', error);
    });
  }
}

async function write(report: BenchReport, { json, markdown, html, junit, quiet }: BenchCommandOptions): Promise<void> {
  const jsonText = (): string => `${JSON.stringify(report, undefined, 2)}\n`;
  const files: [string | undefined, () => string][] = [
    [typeof json === 'string' ? json : undefined, jsonText],
    [typeof markdown === 'string' ? markdown : undefined, () => markdownReport(report)],
    [html, () => htmlReport(report)],
    [junit, () => junitReport(report)],
  ];
  for (const [file, text] of files) if (file !== undefined) writeWhole(file, text());
  const text =
    json === true
      ? jsonText()
      : markdown === true
        ? markdownReport(report)
        : textReport(report, { processes: quiet !== true });
  await writeOut(text);
}

/** One line on a terminal that is written over; without one, a line for each step. */
class LiveLine {
  #step = 0;
  #shown = false;

  show({ target, workload, model, step, steps, elapsedMs, durationMs, all }: BenchProgress): void {
    const rate = all.calls / Math.max(0.001, elapsedMs / 1_000);
    const of = steps === undefined ? `step ${step}` : `step ${step} of ${steps}`;
    const line = `${of}: ${target}, ${workload}, ${model}: ${(elapsedMs / 1_000).toFixed(0)} of ${(durationMs / 1_000).toFixed(0)} s, ${perSec(rate)}, p99 ${ms(all.latency?.p99)}, ${all.failures} errors`;
    if (process.stderr.isTTY) {
      const width = (process.stderr.columns ?? 100) - 1;
      process.stderr.write(`\r\x1b[2K${line.length > width ? `${line.slice(0, width - 1)}…` : line}`);
      this.#shown = true;
    } else if (step !== this.#step) {
      this.#step = step;
      process.stderr.write(`${of}: ${target}, ${workload}, ${model}\n`);
    }
  }

  clear(): void {
    if (this.#shown) process.stderr.write('\r\x1b[2K');
    this.#shown = false;
  }
}
