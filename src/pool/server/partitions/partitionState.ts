import type { ServerState } from '../../McpPool.js';
/**
 * The connections of one group of callers to one server, as one thing that is up, down or coming.
 *
 *            demand              up
 *   idle ────────────> starting ────> ready ──── idled ───> idle
 *    ^ ^                 │  │           │
 *    │ └──── gaveUp ─────┘  │ startFailed  died
 *    │                      v           ├─ after `stableAfterMs`, or the first early one ──> idle (the next call starts it)
 *    │ reset              failed        └─ early once more ──> backingOff
 *    └─────────────────── (both refuse demand until `untilMs`, then let one start) ─────────────────┘
 *
 * `attempt` counts failures in a row: failed starts and deaths before `stableAfterMs`. It alone sets the backoff.
 * A partition may hold several connections (`leased`): one that comes up makes it ready whatever befell the others.
 */
export type PartitionState =
  | { readonly tag: 'idle'; readonly attempt: number }
  | { readonly tag: 'starting'; readonly attempt: number }
  | { readonly tag: 'ready'; readonly attempt: number; readonly sinceMs: number }
  | { readonly tag: 'backingOff'; readonly attempt: number; readonly untilMs: number }
  | { readonly tag: 'failed'; readonly attempt: number; readonly untilMs: number };

/**
 * `up`: a connection is initialised. `gaveUp`: a start was given up by us, which says nothing of the server. `died`: the
 * last connection died by itself. `idled`: the last one was ended by us, or had answered calls and
 * exited with code 0.
 */
export type PartitionEvent = 'demand' | 'up' | 'startFailed' | 'gaveUp' | 'died' | 'idled' | 'reset';

export interface PartitionRules {
  readonly stableAfterMs: number;
  /** The pause after so many failures in a row, jitter included. */
  readonly backoffMs: (attempt: number) => number;
}

/** Pure: time comes in, so a test can enumerate every pair of state and event. */
export function next(
  state: PartitionState,
  event: PartitionEvent,
  nowMs: number,
  rules: PartitionRules,
): PartitionState {
  switch (event) {
    case 'demand':
      if (state.tag === 'idle') return { tag: 'starting', attempt: state.attempt };
      if ((state.tag === 'backingOff' || state.tag === 'failed') && nowMs >= state.untilMs) {
        return { tag: 'starting', attempt: state.attempt };
      }
      return state;
    case 'up':
      return state.tag === 'ready' ? state : { tag: 'ready', attempt: state.attempt, sinceMs: nowMs };
    case 'startFailed': {
      // Those that were started together count as one.
      if (state.tag !== 'starting' && state.tag !== 'idle') return state;
      const attempt = state.attempt + 1;
      return { tag: 'failed', attempt, untilMs: nowMs + rules.backoffMs(attempt) };
    }
    case 'gaveUp':
      return state.tag === 'starting' ? { tag: 'idle', attempt: state.attempt } : state;
    case 'died': {
      if (state.tag !== 'ready') return state;
      if (nowMs - state.sinceMs >= rules.stableAfterMs) return { tag: 'idle', attempt: 0 };
      const attempt = state.attempt + 1;
      if (attempt === 1) return { tag: 'idle', attempt };
      return { tag: 'backingOff', attempt, untilMs: nowMs + rules.backoffMs(attempt - 1) };
    }
    case 'idled':
      return state.tag === 'ready' ? { tag: 'idle', attempt: 0 } : state;
    case 'reset':
      return state.tag === 'backingOff' || state.tag === 'failed' || state.tag === 'idle'
        ? { tag: 'idle', attempt: 0 }
        : state;
  }
}

/** Milliseconds a demand is refused for; 0 when it may start or use what is there. */
export function refusedForMs(state: PartitionState, nowMs: number): number {
  return state.tag === 'backingOff' || state.tag === 'failed' ? Math.max(0, state.untilMs - nowMs) : 0;
}

type Tag = PartitionState['tag'];

/** Which state of a partition stands for the whole server, the first that any of them is in. */
const SHOWN: readonly (readonly [Tag, ServerState])[] = [
  ['ready', 'ready'],
  ['starting', 'starting'],
  ['backingOff', 'degraded'],
  ['failed', 'failed'],
];

/** How many partitions of a server are in each state. */
export class StateTally {
  readonly #tags: Record<Tag, number> = { idle: 0, starting: 0, ready: 0, backingOff: 0, failed: 0 };

  add(state: PartitionState): void {
    this.#tags[state.tag]++;
  }

  remove(state: PartitionState): void {
    this.#tags[state.tag]--;
  }

  /** Whether some partition may have to wait before it starts again. */
  get resting(): boolean {
    return this.#tags.backingOff + this.#tags.failed > 0;
  }

  /** The whole server's. */
  get shown(): ServerState {
    return SHOWN.find(([tag]) => this.#tags[tag] > 0)?.[1] ?? 'idle';
  }
}
