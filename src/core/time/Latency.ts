/** Steps per doubling: a quantile is off by at most 4.5 %. */
const STEPS = 8;
const MIN_MS = 0.001;
const BUCKETS = 40 * STEPS;

/** A histogram of durations in logarithmic buckets: fixed memory, O(1) to record. */
export class Latency {
  readonly #counts = new Uint32Array(BUCKETS);
  #total = 0;

  record(ms: number): void {
    const bucket = ms <= MIN_MS ? 0 : Math.min(BUCKETS - 1, Math.floor(Math.log2(ms / MIN_MS) * STEPS));
    this.#counts[bucket] = (this.#counts[bucket] as number) + 1;
    this.#total++;
  }

  /** Undefined while nothing was recorded. */
  get quantiles(): { readonly p50: number; readonly p90: number; readonly p99: number } | undefined {
    if (this.#total === 0) return undefined;
    return { p50: this.#quantile(0.5), p90: this.#quantile(0.9), p99: this.#quantile(0.99) };
  }

  #quantile(share: number): number {
    const rank = Math.ceil(this.#total * share);
    let seen = 0;
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      seen += this.#counts[bucket] as number;
      // The middle of the bucket, so that the error lies on both sides.
      if (seen >= rank) return MIN_MS * 2 ** ((bucket + 0.5) / STEPS);
    }
    return MIN_MS * 2 ** (BUCKETS / STEPS);
  }
}
