import { fork } from 'node:child_process';
import { builtFile } from '../../core/files/packageFiles.js';
import type { StepResult } from '../report/results.js';
import { Target, type TargetSettings } from '../target/Target.js';
import type { TargetSpec } from '../target/TargetSpec.js';
import { describeWorkload, makeStreams, settingsFor, type Workload } from '../workload/Workload.js';
import { describeModel, type Model } from './models.js';
import type { Recorder, RecorderData } from './Recorder.js';
import { type Measured, runStep } from './runStep.js';
import { mergedOf, toResult } from './toResult.js';

/** One step, as plain data. */
export interface StepPlan {
  readonly target: TargetSpec;
  readonly settings: TargetSettings;
  readonly workload: Workload;
  readonly model: Model;
  readonly durationMs: number;
  readonly warmupMs: number;
  readonly drainMs: number;
  /** Processes that generate the load; each drives its share. @defaultValue 1 */
  readonly workers?: number;
  /** Measure each call's wait for a connection apart from the call. @defaultValue false */
  readonly queueWait?: boolean;
}

export interface GenerateHooks {
  readonly stopping?: AbortSignal | undefined;
  /** Told of what was measured so far, twice a second by each load generator. */
  readonly onTick?: ((all: Recorder, elapsedMs: number) => void) | undefined;
}

/** What a worker is told and tells. */
export interface WorkerOrder {
  readonly plan: StepPlan;
  readonly firstTurn: number;
}
export type WorkerAnswer =
  | { readonly measured: Measured }
  | { readonly error: string }
  | { readonly tick: RecorderData; readonly elapsedMs: number };

/** Calls numbered by different workers never meet. */
const TURNS_PER_WORKER = 2 ** 40;

/** Opens the target, runs the step, closes it again. An open target may be handed in, and then stays open. */
export async function generate(plan: StepPlan, hooks: GenerateHooks = {}, open?: Target): Promise<StepResult> {
  const title = {
    target: plan.target.label,
    workload: describeWorkload(plan.workload),
    model: describeModel(plan.model),
    size: plan.model.model === 'closed' ? plan.model.concurrency : plan.model.ratePerSec,
  };
  const workers = Math.min(plan.workers ?? 1, plan.model.model === 'closed' ? plan.model.concurrency : 64);
  if (workers === 1) return toResult(title, [await measure(plan, hooks, 0, open)]);
  const shares = Array.from({ length: workers }, (_, i) => ({
    ...plan,
    workers: 1,
    model: shareOf(plan.model, workers, i),
  }));
  return toResult(title, await measureInWorkers(shares, hooks));
}

/** Every share in a process of its own. What fails in one ends all; none is left when this settles. */
async function measureInWorkers(shares: readonly StepPlan[], hooks: GenerateHooks): Promise<Measured[]> {
  const stop = new AbortController();
  const onStop = (): void => stop.abort();
  hooks.stopping?.addEventListener('abort', onStop);
  if (hooks.stopping?.aborted === true) onStop();
  const latest = new Map<number, RecorderData>();
  let failure: { readonly error: unknown } | undefined;
  const orders = shares.map(async (plan, i) => {
    try {
      return await runWorker({ plan, firstTurn: i * TURNS_PER_WORKER }, stop.signal, (tick, elapsedMs) => {
        latest.set(i, tick);
        hooks.onTick?.(mergedOf([...latest.values()]), elapsedMs);
      });
    } catch (error) {
      failure ??= { error };
      stop.abort();
      return undefined;
    }
  });
  try {
    const measured = await Promise.all(orders);
    if (failure !== undefined) throw failure.error;
    return measured.filter((each) => each !== undefined);
  } finally {
    hooks.stopping?.removeEventListener('abort', onStop);
  }
}

/** One generator's part, in this process. */
export async function measure(
  plan: StepPlan,
  hooks: GenerateHooks,
  firstTurn: number,
  open?: Target,
): Promise<Measured> {
  const target = open ?? (await Target.open(plan.target, settingsFor(plan.workload, plan.settings), hooks.stopping));
  try {
    const streams = await makeStreams(target, plan.workload, plan.model, hooks.stopping);
    target.armFaults();
    const { durationMs, warmupMs, drainMs } = plan;
    const load = { streams, durationMs, warmupMs, drainMs, firstTurn, byCaller: plan.workload.kind === 'fairness' };
    return await runStep(load, {
      ...hooks,
      pids: () => target.pids(),
      onRecorder: (all) => {
        if (plan.queueWait === true) target.watchQueue((ms) => all.waited(ms));
      },
    });
  } finally {
    if (open === undefined) await target[Symbol.asyncDispose]();
  }
}

function shareOf(model: Model, workers: number, index: number): Model {
  if (model.model === 'open') {
    const { ratePerSec, rampTo } = model;
    return { ...model, ratePerSec: ratePerSec / workers, ...(rampTo !== undefined && { rampTo: rampTo / workers }) };
  }
  const { concurrency } = model;
  return { ...model, concurrency: Math.floor(concurrency / workers) + (index < concurrency % workers ? 1 : 0) };
}

function runWorker(
  order: WorkerOrder,
  stopping: AbortSignal,
  onTick: (tick: RecorderData, elapsedMs: number) => void,
): Promise<Measured> {
  return new Promise((resolve, reject) => {
    // A process group of the terminal would interrupt it too: it is told to stop by a message, after which it answers.
    const worker = fork(builtFile('bench/load/worker.js', import.meta.url), {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    const onStop = (): void => {
      if (worker.connected) worker.send({ stop: true });
    };
    stopping.addEventListener('abort', onStop);
    let measured: Measured | undefined;
    let failure: unknown;
    worker.on('message', (message: WorkerAnswer) => {
      if ('measured' in message) measured = message.measured;
      else if ('error' in message) failure ??= new Error(message.error);
      else {
        try {
          onTick(message.tick, message.elapsedMs);
        } catch (error) {
          // What a user's function throws ends this run, and not the process.
          failure ??= error;
          onStop();
        }
      }
    });
    worker.on('error', reject);
    worker.on('exit', (code, signal) => {
      stopping.removeEventListener('abort', onStop);
      if (failure !== undefined) reject(failure);
      else if (measured !== undefined) resolve(measured);
      else reject(new Error(`a load generator exited with ${signal ?? `code ${code}`} before its result`));
    });
    worker.send(order);
    if (stopping.aborted) onStop();
  });
}
