/**
 * The states of a circuit breaker, and how it moves between them.
 *
 *             tripped                    enter, after `untilMs`
 *   closed ─────────────> open ──────────────────────────────────> half-open
 *     ^                    ^ ^                                      │ │ │
 *     │                    │ └── abandoned, and nothing else known ─┘ │ │
 *     │                    └────────────── failed ────────────────────┘ │
 *     └──────────────── succeeded, as often as there are probes ────────┘
 *
 *   any ── forceOpen ──> forced-open      any ── forceClosed ──> forced-closed      any ── reset ──> closed
 *
 * `round` counts how often it opened without closing in between; it sets how long it stays open. In `half-open` the
 * events `succeeded`, `failed` and `abandoned` are about probes of this very period; the owner drops what is older.
 * Probes that never end must not hold it half-open for ever: after `untilMs` one more may try, and so on.
 */
export type BreakerPhase =
  | { readonly tag: 'closed' }
  | { readonly tag: 'open'; readonly round: number; readonly untilMs: number }
  | {
      readonly tag: 'half-open';
      readonly round: number;
      /** Probes running. */
      readonly trying: number;
      /** Probes that succeeded. */
      readonly succeeded: number;
      /** When one more may try though every place is taken. */
      readonly untilMs: number;
    }
  | { readonly tag: 'forced-open' }
  | { readonly tag: 'forced-closed' };

export type BreakerEvent =
  | 'enter'
  | 'tripped'
  | 'succeeded'
  | 'failed'
  | 'abandoned'
  | 'forceOpen'
  | 'forceClosed'
  | 'reset';

export interface BreakerRules {
  /** Probes that run side by side while half-open, and successes that close it. */
  readonly halfOpenProbes: number;
  /** How long it stays open the `round`-th time in a row, from 1. */
  readonly resetMs: (round: number) => number;
}

export const CLOSED: BreakerPhase = Object.freeze({ tag: 'closed' });
const FORCED_OPEN: BreakerPhase = Object.freeze({ tag: 'forced-open' });
const FORCED_CLOSED: BreakerPhase = Object.freeze({ tag: 'forced-closed' });

/** Pure: time comes in, so that a test can enumerate every pair of state and event. */
export function next(phase: BreakerPhase, event: BreakerEvent, nowMs: number, rules: BreakerRules): BreakerPhase {
  if (event === 'reset') return CLOSED;
  if (event === 'forceOpen') return FORCED_OPEN;
  if (event === 'forceClosed') return FORCED_CLOSED;
  switch (phase.tag) {
    case 'closed':
      return event === 'tripped' ? open(1, nowMs, rules) : phase;
    case 'open':
      if (event !== 'enter' || nowMs < phase.untilMs) return phase;
      return {
        tag: 'half-open',
        round: phase.round,
        trying: 1,
        succeeded: 0,
        untilMs: nowMs + rules.resetMs(phase.round),
      };
    case 'half-open':
      return probed(phase, event, nowMs, rules);
    default:
      return phase;
  }
}

function open(round: number, nowMs: number, rules: BreakerRules): BreakerPhase {
  return { tag: 'open', round, untilMs: nowMs + rules.resetMs(round) };
}

function probed(
  phase: BreakerPhase & { readonly tag: 'half-open' },
  event: BreakerEvent,
  nowMs: number,
  rules: BreakerRules,
): BreakerPhase {
  const { round, trying, succeeded } = phase;
  switch (event) {
    case 'enter':
      if (trying + succeeded < rules.halfOpenProbes) return { ...phase, trying: trying + 1 };
      if (nowMs < phase.untilMs) return phase;
      return { ...phase, trying: trying + 1, untilMs: nowMs + rules.resetMs(round) };
    case 'succeeded':
      if (succeeded + 1 >= rules.halfOpenProbes) return CLOSED;
      return { ...phase, trying: trying - 1, succeeded: succeeded + 1 };
    case 'failed':
      return open(round + 1, nowMs, rules);
    case 'abandoned':
      // With nothing known and no probe running it is open again, and the next call may try at once.
      if (trying <= 1 && succeeded === 0) return { tag: 'open', round, untilMs: nowMs };
      return { ...phase, trying: trying - 1 };
    default:
      return phase;
  }
}

/** Milliseconds until `enter` is let in for certain; 0 when it is let in now, `Infinity` while forced open. */
export function refusedForMs(phase: BreakerPhase, nowMs: number, { halfOpenProbes }: BreakerRules): number {
  switch (phase.tag) {
    case 'closed':
    case 'forced-closed':
      return 0;
    case 'forced-open':
      return Number.POSITIVE_INFINITY;
    case 'open':
      return Math.max(0, phase.untilMs - nowMs);
    case 'half-open':
      return phase.trying + phase.succeeded < halfOpenProbes ? 0 : Math.max(0, phase.untilMs - nowMs);
  }
}
