import { type Clock, systemClock } from '../../core/clock.js';
import { checkMs, checkRatio, withDefaults } from '../../core/options.js';

/** Buckets per doubling: a quantile is at most 9 % above the true one. */
const PER_DOUBLING = 8;
/** From 1/64 ms to 2^24 ms (4.6 hours); what is beyond counts as the end. */
const LOWEST = -6;
const BUCKETS = (24 - LOWEST) * PER_DOUBLING;

export interface LatencyWindowOptions {
  /** How far back it remembers, in ms from 1: between half of it and all of it. @defaultValue 60000 */
  readonly windowMs?: number;
  /** Measures time and arms timers; a `FakeClock` in tests. @defaultValue the system's clock */
  readonly clock?: Clock;
}

export const LATENCY_WINDOW_DEFAULTS = Object.freeze({ windowMs: 60_000 });

/** Quantiles of recent latencies in fixed memory (4 kB): two histograms of half a window each, with logarithmic buckets. */
export class LatencyWindow {
  readonly #clock: Clock;
  readonly #halfMs: number;
  #now = new Uint32Array(BUCKETS);
  #before = new Uint32Array(BUCKETS);
  #countNow = 0;
  #countBefore = 0;
  #half = Number.NEGATIVE_INFINITY;

  constructor(options: LatencyWindowOptions = {}) {
    const { windowMs, clock } = withDefaults('LatencyWindow', options, LATENCY_WINDOW_DEFAULTS, { clock: true });
    this.#halfMs = checkMs('windowMs', windowMs, { min: 1 }) / 2;
    this.#clock = clock ?? systemClock;
  }

  /** Latencies remembered. */
  get count(): number {
    this.#turn();
    return this.#countNow + this.#countBefore;
  }

  record(latencyMs: number): void {
    this.#turn();
    const index = Math.ceil((Math.log2(Math.max(latencyMs, 2 ** LOWEST)) - LOWEST) * PER_DOUBLING);
    const bucket = Math.min(BUCKETS - 1, Math.max(0, index));
    this.#now[bucket] = (this.#now[bucket] as number) + 1;
    this.#countNow++;
  }

  /** The latency that this share of calls did not exceed (0.95: p95), in ms; undefined when none is remembered. */
  quantile(ratio: number): number | undefined {
    checkRatio('ratio', ratio);
    const { count } = this;
    if (count === 0) return undefined;
    let left = Math.max(1, Math.ceil(count * ratio));
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      left -= (this.#now[bucket] as number) + (this.#before[bucket] as number);
      if (left <= 0) return 2 ** (bucket / PER_DOUBLING + LOWEST);
    }
    return undefined;
  }

  #turn(): void {
    const half = Math.floor(this.#clock.now() / this.#halfMs);
    if (half <= this.#half) return;
    const next = half - this.#half === 1;
    const old = this.#before;
    this.#before = this.#now;
    this.#countBefore = this.#countNow;
    this.#now = old.fill(0);
    this.#countNow = 0;
    if (!next) {
      this.#before.fill(0);
      this.#countBefore = 0;
    }
    this.#half = half;
  }
}
