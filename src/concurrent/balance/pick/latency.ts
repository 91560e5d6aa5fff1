import type { Candidate } from './policies.js';

/** Whether answers tell how long it takes. */
export const isKnown = ({ ewmaMs, guessed }: Candidate): boolean => ewmaMs > 0 && !guessed;

/** What targets take, in ms: the median of those whose answers tell it, `without` one; 0 where none does. */
function usualMs(all: readonly Candidate[], without?: Candidate): number {
  const known = all.filter((each) => each !== without && isKnown(each)).map(({ ewmaMs }) => ewmaMs);
  return known.sort((a, b) => a - b)[(known.length - 1) >> 1] ?? 0;
}

/**
 * What an error that came after so long counts as, in ms, which may be quick and must not draw calls: as slow as the target is; where that is not
 * known, or several callers in a row got one and none a result, as slow as the others are, too. So no caller alone makes a target look slower than
 * it is. 0: for nothing, since it tells nothing.
 */
export function rejectedMs(
  target: Candidate,
  all: readonly Candidate[],
  latencyMs: number,
  caller: string | undefined,
): number {
  const { ewmaMs, rejected } = target;
  target.rejected = rejected ?? caller;
  const known = isKnown(target);
  if (known && caller !== undefined && (rejected ?? caller) === caller) return Math.max(latencyMs, ewmaMs);
  const slowMs = Math.max(known ? ewmaMs : 0, usualMs(all, target));
  if (slowMs === 0) return 0;
  target.guessed = !known && slowMs > latencyMs;
  return Math.max(latencyMs, slowMs);
}

/** What a failure counts as at the least, in ms, before it is doubled. */
const FAILURE_MS = 1;
/** Failures in a row make a target no slower than this, in ms, by themselves. */
const MAX_FAILURE_MS = 60_000;

/** What a failure counts as, in ms, which may be quick: as an answer twice as slow as any before it, so that calls stay away for a while. */
export function failedMs(target: Candidate, all: readonly Candidate[], latencyMs: number): number {
  const slowMs = Math.max(latencyMs, target.ewmaMs, isKnown(target) ? 0 : usualMs(all, target), FAILURE_MS);
  target.guessed = true;
  return Math.min(2 * slowMs, Math.max(slowMs, MAX_FAILURE_MS));
}

/** A call that is given up sooner tells no one that its target is silent. */
const LATE_MS = 250;
/** How many times what is usual it waited then. */
const LATE_FACTOR = 5;

/** Whether a call waited so long without an answer that its target may be silent. */
export function isLate(target: Candidate, all: readonly Candidate[], waitedMs: number): boolean {
  const ownMs = isKnown(target) ? target.ewmaMs : 0;
  return waitedMs >= LATE_MS && waitedMs > LATE_FACTOR * Math.max(ownMs, usualMs(all));
}

/** A call ended without an answer, after it waited so long: its target is no quicker than that, and one that is not known no quicker than the others. */
export function unanswered(
  target: Candidate,
  all: readonly Candidate[],
  waitedMs: number,
  nowMs: number,
  ewmaDecayMs: number,
): void {
  const leastMs = isKnown(target) ? waitedMs : Math.max(waitedMs, usualMs(all, target));
  if (leastMs === 0) return;
  if (leastMs > target.ewmaMs) target.guessed = true;
  observe(target, leastMs, nowMs, ewmaDecayMs);
}

/** Moves a latency: at once up to a peak, and down with time. */
export function observe(target: Candidate, latencyMs: number, nowMs: number, ewmaDecayMs: number): void {
  if (latencyMs > target.ewmaMs) target.ewmaMs = latencyMs;
  else {
    const keep = Math.exp(-Math.max(0, nowMs - target.ewmaAtMs) / ewmaDecayMs);
    target.ewmaMs = Math.max(Number.MIN_VALUE, target.ewmaMs * keep + latencyMs * (1 - keep));
  }
  target.ewmaAtMs = nowMs;
}
