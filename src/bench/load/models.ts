/**
 * The closed model: `concurrency` callers, each with one call in flight, who wait for the answer before the next call.
 * A server that stalls slows its callers down, so that the stall is one slow sample for each: coordinated omission.
 */
export interface ClosedModel {
  readonly model: 'closed';
  /** Calls in flight, from 1. */
  readonly concurrency: number;
  /** Pause of each caller between two calls, in ms. @defaultValue 0 */
  readonly thinkMs?: number;
  /** Callers pause together: this long idle, then `burstMs` of calls. @defaultValue none */
  readonly idleMs?: number;
  readonly burstMs?: number;
}

/**
 * The open model: calls come at their own rate, whatever the server does. Latency counts from the *intended* time of a
 * call, so that each call a stall held up shows it (wrk2, "How not to measure latency").
 */
export interface OpenModel {
  readonly model: 'open';
  /** Calls a second at the beginning. */
  readonly ratePerSec: number;
  /** Calls a second at the end: the rate changes evenly. @defaultValue ratePerSec */
  readonly rampTo?: number;
  /** `uniform`: evenly spaced; `poisson`: exponential gaps, as independent users make them. @defaultValue 'uniform' */
  readonly arrivals?: 'uniform' | 'poisson';
  /** Calls beyond this many in flight are dropped and counted. @defaultValue 10000 */
  readonly maxInFlight?: number;
}

export type Model = ClosedModel | OpenModel;

/** The model and its size in one short phrase, for tables. */
export function describeModel(model: Model): string {
  if (model.model === 'closed') {
    const burst = model.burstMs === undefined ? '' : `, ${model.burstMs} ms bursts after ${model.idleMs ?? 0} ms idle`;
    return `closed, ${model.concurrency} in flight${burst}`;
  }
  const ramp = model.rampTo === undefined ? '' : ` to ${model.rampTo}`;
  return `open, ${model.ratePerSec}${ramp}/s${model.arrivals === 'poisson' ? ', poisson' : ''}`;
}

/** The intended time of the next call in ms since the start, given the times of those before. */
export function* intendedTimes(
  model: OpenModel,
  durationMs: number,
  random: () => number = Math.random,
): Generator<number, void> {
  const { ratePerSec, rampTo = ratePerSec, arrivals = 'uniform' } = model;
  let atMs = 0;
  for (;;) {
    const rate = ratePerSec + (rampTo - ratePerSec) * Math.min(1, atMs / durationMs);
    const gapMs = 1_000 / Math.max(rate, 1e-6);
    atMs += arrivals === 'poisson' ? -Math.log(1 - random()) * gapMs : gapMs;
    if (atMs > durationMs) return;
    yield atMs;
  }
}
