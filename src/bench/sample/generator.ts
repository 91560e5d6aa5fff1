import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';

/** How busy the load generator itself was: beyond its limit the figures are its own, not the target's. */
export interface GeneratorFigures {
  /** CPU time of this process by wall time: 1 is a whole core. */
  readonly cpuRatio: number;
  readonly loopDelayP99Ms: number;
  /** True when it had no time left: more workers (`--workers`) or fewer calls in flight give truer figures. */
  readonly saturated: boolean;
}

/** A core used to more than this share, or a loop delayed for more than that long, is a generator at its limit. */
const FULL_CPU_RATIO = 0.9;
const FULL_DELAY_MS = 50;

export class GeneratorSampler {
  #delay: IntervalHistogram | undefined;
  #cpu = process.cpuUsage();
  #startMs = 0;

  start(): void {
    this.#delay = monitorEventLoopDelay({ resolution: 10 });
    this.#delay.enable();
    this.#cpu = process.cpuUsage();
    this.#startMs = performance.now();
  }

  stop(): GeneratorFigures {
    const { user, system } = process.cpuUsage(this.#cpu);
    const cpuRatio = (user + system) / 1_000 / Math.max(1, performance.now() - this.#startMs);
    this.#delay?.disable();
    // The histogram counts the sampling interval of 10 ms as delay.
    const loopDelayP99Ms = Math.max(0, (this.#delay?.percentile(99) ?? 0) / 1e6 - 10);
    return { cpuRatio, loopDelayP99Ms, saturated: cpuRatio > FULL_CPU_RATIO || loopDelayP99Ms > FULL_DELAY_MS };
  }
}

/** What kept generators at their limit, and what helps: a late event loop with little CPU is the machine's, no lack of workers. */
export function limitOf(saturated: readonly GeneratorFigures[], workers: number): { what: string; remedy: string } {
  const { cpuRatio, loopDelayP99Ms } = busiest(saturated);
  const more = `try --workers ${workers * 2}`;
  if (cpuRatio > FULL_CPU_RATIO) return { what: `up to ${cpuRatio.toFixed(2)} of a core`, remedy: more };
  return {
    what: `its event loop up to ${loopDelayP99Ms.toFixed(0)} ms late with ${cpuRatio.toFixed(2)} of a core used`,
    remedy: cpuRatio > FULL_CPU_RATIO / 2 ? more : 'the machine was busy with other work',
  };
}

/** The figures of several generators as one: the busiest tells. */
export function busiest(all: readonly GeneratorFigures[]): GeneratorFigures {
  return {
    cpuRatio: all.reduce((most, { cpuRatio }) => Math.max(most, cpuRatio), 0),
    loopDelayP99Ms: all.reduce((most, { loopDelayP99Ms }) => Math.max(most, loopDelayP99Ms), 0),
    saturated: all.some(({ saturated }) => saturated),
  };
}
