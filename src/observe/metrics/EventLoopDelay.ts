import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';

/** A look each 20 ms: what it costs is not to be measured. */
const RESOLUTION_MS = 20;

/** How late the event loop was, since the last look. */
export class EventLoopDelay implements Disposable {
  readonly #histogram: IntervalHistogram;

  constructor() {
    this.#histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
    this.#histogram.enable();
  }

  /** Beyond the interval of the looks themselves; starts anew. */
  get ms(): { readonly p50: number; readonly p99: number; readonly max: number } {
    const late = (ns: number): number => (Number.isFinite(ns) ? Math.max(0, ns / 1e6 - RESOLUTION_MS) : 0);
    const { max } = this.#histogram;
    const delay = {
      p50: late(this.#histogram.percentile(50)),
      p99: late(this.#histogram.percentile(99)),
      max: late(max),
    };
    this.#histogram.reset();
    return delay;
  }

  [Symbol.dispose](): void {
    this.#histogram.disable();
  }
}
