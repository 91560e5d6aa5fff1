/** How a figure moves over a run. */
export interface Trend {
  readonly first: number;
  readonly last: number;
  /** Growth over the whole run, by the Theil-Sen slope: the median of the slopes of all pairs, which a few peaks do not move. */
  readonly growth: number;
}

/** The trend of `values`, taken at equal distances. */
export function trendOf(values: readonly number[]): Trend {
  const slopes: number[] = [];
  for (let a = 0; a < values.length; a++) {
    for (let b = a + 1; b < values.length; b++) slopes.push(((values[b] ?? 0) - (values[a] ?? 0)) / (b - a));
  }
  slopes.sort((a, b) => a - b);
  const slope = slopes[Math.floor(slopes.length / 2)] ?? 0;
  return { first: values[0] ?? 0, last: values.at(-1) ?? 0, growth: slope * Math.max(values.length - 1, 0) };
}
