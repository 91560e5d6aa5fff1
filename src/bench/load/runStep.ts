import { type GeneratorFigures, GeneratorSampler } from '../sample/generator.js';
import { ProcessSampler, type SideFigures } from '../sample/processes.js';
import { Recorder, type RecorderData } from './Recorder.js';
import { runStream, type Stream } from './runStream.js';

export interface StepLoad {
  readonly streams: readonly Stream[];
  readonly durationMs: number;
  /** Load before measuring, in ms: its calls are not counted. */
  readonly warmupMs: number;
  /** How long calls in flight may still take when the time is over, in ms; then they count as `UNFINISHED`. */
  readonly drainMs: number;
  /** Record each caller by itself, for fairness. */
  readonly byCaller?: boolean;
  /** The first call's number; workers take numbers of their own. */
  readonly firstTurn?: number;
}

export interface StepHooks {
  /** Pids of the target's own processes, looked at while measuring. */
  readonly pids?: (() => readonly number[]) | undefined;
  /** Aborts to end the step early with what was measured. */
  readonly stopping?: AbortSignal | undefined;
  /** Told twice a second. */
  readonly onTick?: ((all: Recorder, elapsedMs: number) => void) | undefined;
  /** Told the recorder of everything before load begins. */
  readonly onRecorder?: ((all: Recorder) => void) | undefined;
}

/** What one load generator measured. */
export interface Measured {
  readonly durationMs: number;
  readonly all: RecorderData;
  readonly classes: readonly RecorderData[];
  readonly callers: readonly RecorderData[];
  readonly generator: GeneratorFigures;
  readonly processes: SideFigures | undefined;
  readonly complete: boolean;
}

/** Runs all streams at once: a warm-up, then the measured time, then the drain of what is in flight. */
export async function runStep(load: StepLoad, hooks: StepHooks = {}): Promise<Measured> {
  const all = new Recorder('all');
  hooks.onRecorder?.(all);
  const classes = new Map<string, Recorder>();
  const callers = new Map<string, Recorder>();
  const hard = new AbortController();
  const stopping = hooks.stopping ?? new AbortController().signal;
  let turn = load.firstTurn ?? 0;
  let measuring = false;
  const named = (table: Map<string, Recorder>, name: string, many: boolean): Recorder => {
    let recorder = table.get(name);
    if (recorder === undefined) {
      recorder = new Recorder(name, many);
      recorder.begin(beganMs);
      table.set(name, recorder);
    }
    return recorder;
  };
  const unmeasured = [new Recorder('warm-up')];
  const only = [all];
  let onlyName: string | undefined;
  const recorderOf = (stream: Stream) => (operation: string, caller: number) => {
    if (!measuring) return unmeasured;
    const name = load.streams.length > 1 ? stream.name : operation;
    onlyName ??= name;
    // While all calls are of one class, what `all` has is that class too.
    if (name === onlyName && classes.size === 0 && load.byCaller !== true) return only;
    if (classes.size === 0) named(classes, onlyName, false).merge(all.toData());
    const found = [all, named(classes, name, false)];
    if (load.byCaller === true) found.push(named(callers, `${stream.name} ${caller}`, true));
    return found;
  };
  const run = async (untilMs: number): Promise<void> => {
    const streams = load.streams.map((stream) =>
      runStream({
        stream,
        recorderOf: recorderOf(stream),
        untilMs,
        signal: hard.signal,
        stopping,
        nextTurn: () => turn++,
      }),
    );
    const lateMs = untilMs + load.drainMs - performance.now();
    const timer = setTimeout(() => hard.abort(new Error('the time of the run is over')), lateMs);
    let stopTimer: NodeJS.Timeout | undefined;
    const onStop = (): void => {
      stopTimer = setTimeout(() => hard.abort(new Error('interrupted')), Math.min(load.drainMs, 2_000));
    };
    stopping.addEventListener('abort', onStop, { once: true });
    try {
      await Promise.all(streams);
    } finally {
      clearTimeout(timer);
      clearTimeout(stopTimer);
      stopping.removeEventListener('abort', onStop);
    }
  };
  let beganMs = performance.now();
  if (load.warmupMs > 0) await run(beganMs + load.warmupMs);
  const processes = hooks.pids === undefined ? undefined : new ProcessSampler('target', hooks.pids);
  const generator = new GeneratorSampler();
  processes?.start();
  generator.start();
  measuring = true;
  beganMs = performance.now();
  all.begin(beganMs);
  let measured: Pick<Measured, 'generator' | 'processes'>;
  let fault: { readonly error: unknown } | undefined;
  const ticker = setInterval(() => {
    try {
      hooks.onTick?.(all, performance.now() - beganMs);
    } catch (error) {
      // What a user's function throws ends this run, and not the process.
      fault ??= { error };
      clearInterval(ticker);
      hard.abort(error);
    }
  }, 500);
  try {
    if (!stopping.aborted) await run(beganMs + load.durationMs);
  } finally {
    clearInterval(ticker);
    measured = { generator: generator.stop(), processes: processes?.stop() };
  }
  if (fault !== undefined) throw fault.error;
  return {
    // Answers that came in the drain count, and so does their time.
    durationMs: Math.max(1, performance.now() - beganMs),
    all: all.toData(),
    classes: classesOf(all, classes, onlyName),
    callers: [...callers.values()].map((each) => each.toData()),
    ...measured,
    complete: !stopping.aborted,
  };
}

function classesOf(
  all: Recorder,
  classes: ReadonlyMap<string, Recorder>,
  onlyName: string | undefined,
): RecorderData[] {
  if (classes.size > 0) return [...classes.values()].map((each) => each.toData());
  return onlyName === undefined ? [] : [{ ...all.toData(), name: onlyName }];
}
