/** Upper bounds of the buckets in seconds; above the last there is one without a bound. */
export const BUCKETS_S: readonly number[] = Object.freeze([
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300,
]);

/** Durations counted in buckets, as Prometheus takes them. */
export class Histogram {
  readonly #counts = new Float64Array(BUCKETS_S.length + 1);
  #sumMs = 0;
  #count = 0;

  recordMs(ms: number): void {
    const seconds = ms / 1_000;
    let bucket = 0;
    while (bucket < BUCKETS_S.length && seconds > (BUCKETS_S[bucket] as number)) bucket++;
    this.#counts[bucket] = (this.#counts[bucket] as number) + 1;
    this.#sumMs += ms;
    this.#count++;
  }

  get count(): number {
    return this.#count;
  }

  get sumSeconds(): number {
    return this.#sumMs / 1_000;
  }

  /** How many were no longer than each bound, and last how many there were. */
  cumulative(): number[] {
    let sum = 0;
    return [...this.#counts].map((count) => {
      sum += count;
      return sum;
    });
  }
}
