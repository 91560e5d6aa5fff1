/** Answers that are written at the last moment of the grace still leave. */
export const ANSWER_MS = 2_000;

/**
 * What follows the grace: those answers (2 s), ending every server, whatever it ignores, with proof (a pool's grace 5 s,
 * stdin 2 s, SIGTERM 2 s, SIGKILL 2 s), and 7 s for files, log lines and a busy machine.
 */
const REST_MS = 20_000;

/** The share of the total that `drain` can have while the plan keeps time back for `close` (5/16) and `release` (1/16). */
const DRAIN_RATIO = 10 / 16;

export interface StopTimes {
  /** For calls in flight. */
  readonly graceMs: number;
  readonly propagationDelayMs: number;
}

/**
 * The whole budget of a stop: delay + grace + 20 s, so 30 s with the defaults. From 28 s of delay and grace on it is more,
 * since the plan could not give calls their grace otherwise.
 */
export function stopBudgetMs({ graceMs, propagationDelayMs }: StopTimes): number {
  const givenMs = propagationDelayMs + graceMs;
  return Math.ceil(Math.max(givenMs + REST_MS, (givenMs + ANSWER_MS) / DRAIN_RATIO));
}
