/**
 * How an adaptive limit moves, window by window. A window is what was measured over some calls.
 *
 * `gradient`: the limit is multiplied by `base / mean` (how much slower calls are than without a queue, between 1/2 and 1),
 * and gets `headroomRatio` of itself on top. Where a server can do `c` at a time, latency grows with what is above `c`, so the
 * limit comes to rest near `c / (1 - headroomRatio)`. The base is found by cutting the limit: while there is a queue, latency
 * falls with it; when it no longer falls there is none, and what is measured is the base. That is done at the start, every
 * `probeEvery` windows, and whenever a cut of any kind did not help: the server itself became slower. Afterwards the limit is
 * what Little's law says of the window before, `limit * base / mean`. (Netflix concurrency-limits, Envoy's adaptive
 * concurrency, BBR's ProbeRTT.)
 *
 * `aimd`: plus one for each window that used the limit, times `backoffRatio` after a drop. It knows no latency, and
 * needs a server that refuses or a timeout that counts as a drop.
 *
 * Either way: a window with drops multiplies by `backoffRatio`, and one in which less than half of the limit was in
 * use at its peak tells nothing about the limit and does not raise it.
 */
export interface AdaptiveState {
  readonly limit: number;
  /** Latency without a queue, in ms; `Infinity` before the first window. */
  readonly baseMs: number;
  /** Windows since the base was measured. */
  readonly age: number;
  /** The window before, when the limit is lower now. */
  readonly cut: { readonly limit: number; readonly meanMs: number } | undefined;
  /** Whether it was cut to find the base. */
  readonly probing: boolean;
}

export interface AdaptiveSample {
  readonly meanMs: number;
  readonly peakInFlight: number;
  readonly drops: number;
}

export interface AdaptiveRules {
  readonly algorithm: 'gradient' | 'aimd';
  readonly minLimit: number;
  readonly maxLimit: number;
  readonly headroomRatio: number;
  readonly backoffRatio: number;
  readonly probeEvery: number;
  readonly probeRatio: number;
}

/** Pure: the limit after a window. */
export function next(state: AdaptiveState, sample: AdaptiveSample, rules: AdaptiveRules): AdaptiveState {
  const bound = (limit: number): number => Math.min(rules.maxLimit, Math.max(rules.minLimit, limit));
  const { limit } = state;
  const used = sample.peakInFlight * 2 >= Math.floor(limit);
  if (rules.algorithm === 'aimd') {
    const moved = sample.drops > 0 ? limit * rules.backoffRatio : used ? limit + 1 : limit;
    return { ...state, limit: bound(moved) };
  }
  if (sample.drops > 0) return { ...state, limit: bound(limit * rules.backoffRatio), cut: undefined, probing: false };
  const { meanMs } = sample;
  const { cut } = state;
  if (cut !== undefined) {
    const falls = meanMs <= (cut.meanMs * (1 + limit / cut.limit)) / 2;
    if (!falls) {
      const estimate = bound(cut.limit * Math.min(1, meanMs / cut.meanMs));
      return { limit: estimate, baseMs: meanMs, age: 0, cut: undefined, probing: false };
    }
    if (state.probing && limit > rules.minLimit) return probe(state, meanMs, rules);
  }
  const baseMs = Math.min(state.baseMs, meanMs);
  if (state.baseMs === Number.POSITIVE_INFINITY || state.age + 1 >= rules.probeEvery) {
    return probe({ ...state, baseMs }, meanMs, rules);
  }
  const gradient = Math.min(1, Math.max(0.5, baseMs / meanMs));
  const raised = limit * gradient + Math.max(1, limit * rules.headroomRatio);
  const moved = bound(used ? raised : Math.min(limit, raised));
  // A small cut says nothing: what it does to latency is lost in the noise.
  const next = moved <= limit * 0.8 ? { limit, meanMs } : undefined;
  return { limit: moved, baseMs, age: state.age + 1, cut: next, probing: false };
}

function probe(state: AdaptiveState, meanMs: number, rules: AdaptiveRules): AdaptiveState {
  const limit = Math.max(rules.minLimit, state.limit * rules.probeRatio);
  return { ...state, limit, age: 0, cut: { limit: state.limit, meanMs }, probing: true };
}
