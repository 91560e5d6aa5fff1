/** Voters remembered; beyond that the first one is forgotten. */
const MAX_VOTERS = 1_000;

/**
 * Failures that may be their callers' own doing: in a run of them one caller's count for at most half of what the run takes, so that
 * several callers together decide, and none does alone.
 */
export class Votes {
  readonly #counts = new Map<string, number>();

  get voters(): number {
    return this.#counts.size;
  }

  /** Whether one more of that caller counts in a run of `threshold`. */
  add(voter: string, threshold: number): boolean {
    const count = this.#counts.get(voter) ?? 0;
    if (count >= Math.max(1, Math.floor(threshold / 2))) return false;
    this.#counts.set(voter, count + 1);
    const [oldest] = this.#counts.keys();
    if (this.#counts.size > MAX_VOTERS && oldest !== undefined) this.#counts.delete(oldest);
    return true;
  }

  /** The caller whose votes all `count` failures are; undefined where there are others. */
  only(count: number): string | undefined {
    if (this.#counts.size !== 1) return undefined;
    const [first] = this.#counts;
    return first?.[1] === count ? first[0] : undefined;
  }

  clear(): void {
    this.#counts.clear();
  }
}
