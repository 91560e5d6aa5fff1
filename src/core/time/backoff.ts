export interface BackoffOptions {
  /** The first wait, in ms. */
  readonly initialMs: number;
  /** The longest wait, in ms. */
  readonly maxMs: number;
  /** The share of each wait that is left to chance, from 0 to 1, so that many do not come back at once. */
  readonly jitterRatio: number;
}

/** The wait before try number `attempt` (from 1) in ms: doubling, bounded, never more than without jitter. */
export function backoffMs(attempt: number, options: BackoffOptions, random: () => number = Math.random): number {
  const fullMs = Math.min(options.maxMs, options.initialMs * 2 ** (attempt - 1));
  return fullMs * (1 - options.jitterRatio * fraction(random));
}

/** What is done again and again rests nine times as long as it took, so that most of the time is for others; `maxMs` at most. */
export const restMs = (tookMs: number, maxMs: number): number => Math.min(9 * tookMs, maxMs);

/** A number from 0 to 1 of a user's function; of `Math.random` where that throws or gives anything else. */
export function fraction(random: () => number): number {
  try {
    const given: unknown = random();
    if (typeof given === 'number' && given >= 0 && given <= 1) return given;
  } catch {
    // What is made of it is jitter: no failure of it is worth a call.
  }
  return Math.random();
}
