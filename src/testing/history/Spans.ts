import { firstAbove } from './firstAbove.js';

/** Times that may overlap, put together: how much of the time between two moments they cover is found in log n steps. */
export class Spans {
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];
  /** What those before each of them cover. */
  readonly #before: number[] = [];

  constructor(spans: readonly { readonly fromMs: number; readonly untilMs: number }[]) {
    let coveredMs = 0;
    for (const { fromMs, untilMs } of [...spans].sort((a, b) => a.fromMs - b.fromMs)) {
      const last = this.#ends.length - 1;
      const lastMs = this.#ends[last] ?? Number.NEGATIVE_INFINITY;
      if (untilMs <= Math.max(fromMs, lastMs)) continue;
      if (fromMs <= lastMs) {
        coveredMs += untilMs - lastMs;
        this.#ends[last] = untilMs;
        continue;
      }
      this.#starts.push(fromMs);
      this.#ends.push(untilMs);
      this.#before.push(coveredMs);
      coveredMs += untilMs - fromMs;
    }
  }

  /** How much of the time between two moments they cover, in ms. */
  within(fromMs: number, untilMs: number): number {
    return Math.max(0, this.#coveredBefore(untilMs) - this.#coveredBefore(fromMs));
  }

  #coveredBefore(ms: number): number {
    const at = firstAbove(this.#starts, ms) - 1;
    const [start, end, before] = [this.#starts[at], this.#ends[at], this.#before[at]];
    return start === undefined || end === undefined || before === undefined ? 0 : before + Math.min(ms, end) - start;
  }
}
