import { AbortHub } from '../../core/wait/AbortHub.js';
import { type ClosedModel, intendedTimes, type Model, type OpenModel } from './models.js';
import { failureClass, type Operation, type Turn } from './Operation.js';
import type { Recorder } from './Recorder.js';

/** One stream of load: who calls what, how often. Several may run at once. */
export interface Stream {
  readonly name: string;
  readonly model: Model;
  /** The next thing to do, for caller number `caller` of the stream. */
  readonly next: (turn: number, caller: number) => Operation;
}

export interface StreamRun {
  readonly stream: Stream;
  /** Where calls of this stream, and of each operation's name, are recorded. */
  readonly recorderOf: (operation: string, caller: number) => readonly Recorder[];
  /** No new call after this moment on the monotonic clock. */
  readonly untilMs: number;
  /** Aborts: no new call, and those in flight are given up. */
  readonly signal: AbortSignal;
  /** Aborts: no new call; those in flight may end. */
  readonly stopping: AbortSignal;
  readonly nextTurn: () => number;
}

const LATE_MS = 10;

/** Runs a stream until its time is over; resolves when its last call has settled. */
export function runStream(run: StreamRun): Promise<void> {
  return run.stream.model.model === 'closed' ? runClosed(run, run.stream.model) : runOpen(run, run.stream.model);
}

async function runClosed(run: StreamRun, model: ClosedModel): Promise<void> {
  const { thinkMs = 0, idleMs = 0, burstMs = Number.POSITIVE_INFINITY } = model;
  const startMs = performance.now();
  const caller = async (index: number): Promise<void> => {
    for (;;) {
      const nowMs = performance.now();
      if (nowMs >= run.untilMs || run.stopping.aborted || run.signal.aborted) return;
      // Idle first, then the burst: the first burst meets whatever went to sleep meanwhile.
      const phaseMs = (nowMs - startMs) % (idleMs + burstMs);
      if (phaseMs < idleMs) {
        await pause(Math.min(idleMs - phaseMs, run.untilMs - nowMs), run.stopping);
        continue;
      }
      await once(run, index, nowMs);
      if (thinkMs > 0) await pause(thinkMs, run.stopping);
    }
  };
  await Promise.all(Array.from({ length: model.concurrency }, (_, index) => caller(index)));
}

async function runOpen(run: StreamRun, model: OpenModel): Promise<void> {
  const { maxInFlight = 10_000 } = model;
  const startMs = performance.now();
  const inFlight = new Set<Promise<void>>();
  const times = intendedTimes(model, run.untilMs - startMs);
  let count = 0;
  for (let next = times.next(); next.done !== true; next = times.next()) {
    const intendedMs = startMs + next.value;
    // Timers fire up to a millisecond late: sleep short of the moment, then take turns of the loop up to it.
    for (let waitMs = intendedMs - performance.now(); waitMs > 0; waitMs = intendedMs - performance.now()) {
      if (run.stopping.aborted) break;
      if (waitMs > 2) await pause(waitMs - 1.5, run.stopping);
      else await new Promise<void>((resolve) => setImmediate(resolve));
    }
    if (run.stopping.aborted || run.signal.aborted) break;
    const caller = count++ % 1_024;
    if (inFlight.size >= maxInFlight) {
      for (const recorder of run.recorderOf(run.stream.name, caller)) recorder.dropped++;
      continue;
    }
    const call: Promise<void> = once(run, caller, intendedMs).finally(() => inFlight.delete(call));
    inFlight.add(call);
  }
  await Promise.all(inFlight);
}

async function once(run: StreamRun, caller: number, intendedMs: number): Promise<void> {
  const number = run.nextTurn();
  const operation = run.stream.next(number, caller);
  const recorders = run.recorderOf(operation.name, caller);
  const sentMs = performance.now();
  if (sentMs - intendedMs > LATE_MS) for (const recorder of recorders) recorder.late++;
  let servedMs: number | undefined;
  const turn: Turn = {
    number,
    signal: run.signal,
    onEvent: () => {
      for (const recorder of recorders) recorder.events++;
    },
    onWaited: (ms) => {
      for (const recorder of recorders) recorder.waited(ms);
    },
    onServed: (ms) => {
      servedMs = ms;
    },
  };
  try {
    await operation.run(turn);
    const nowMs = performance.now();
    const tookMs = nowMs - intendedMs;
    // A server that claims more than the call took, or less than nothing, has not said it.
    const beyondMs = servedMs !== undefined && servedMs >= 0 && servedMs <= tookMs ? tookMs - servedMs : undefined;
    for (const recorder of recorders) {
      recorder.answered(tookMs, nowMs);
      if (beyondMs !== undefined) recorder.beyondService(beyondMs);
    }
  } catch (error) {
    const nowMs = performance.now();
    const code = run.signal.aborted ? 'UNFINISHED' : failureClass(error);
    for (const recorder of recorders) recorder.failed(code, nowMs);
    // A target that refuses at once must not turn the closed loop into a busy one.
    if (nowMs - sentMs < 1) await pause(1, run.stopping);
  }
}

/** One listener on a run's signal, however many callers pause under it. */
const hub = new AbortHub();

/** A pause that ends early when the run is stopped. */
function pause(ms: number, stopping: AbortSignal): Promise<void> {
  if (stopping.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const watch = hub.watch(stopping, () => {
      clearTimeout(timer);
      resolve();
    });
    const timer = setTimeout(
      () => {
        watch[Symbol.dispose]();
        resolve();
      },
      Math.max(0, ms),
    );
  });
}
