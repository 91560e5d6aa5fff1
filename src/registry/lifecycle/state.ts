import type { ServerIdentity } from './events.js';
import type { ServerUsage } from './usage.js';

/**
 * What a server under the manager goes through. Time and policy come in, so a test can enumerate every pair.
 *
 *   stopped ──start──▶ starting ──ready──▶ ready ──down──▶ exited      (the policy leaves it)
 *                         │  ▲               │
 *            down, first  │  └──due── backingOff ◀──down──┘            (within the budget)
 *            start        ▼              ▲ │ down in a restart
 *                       failed ◀─────────┴─┘ the budget is used up
 *
 *   any but stopped ──stop──▶ stopping ──dead──▶ stopped
 *   anything ──stuck──▶ failed: something of it outlived SIGKILL, and nothing may be started beside it
 *   exited, failed ──start──▶ starting
 */
export type ServerState =
  /** Not started yet, or stopped on purpose. */
  | { readonly tag: 'stopped' }
  /** `attempt` 0 is a start that was asked for; above, the n-th try in a row since the last stable run. */
  | { readonly tag: 'starting'; readonly attempt: number; readonly restartsAtMs: readonly number[] }
  | {
      readonly tag: 'ready';
      readonly attempt: number;
      readonly restartsAtMs: readonly number[];
      readonly sinceMs: number;
    }
  | {
      readonly tag: 'backingOff';
      readonly attempt: number;
      readonly restartsAtMs: readonly number[];
      readonly delayMs: number;
    }
  | { readonly tag: 'stopping' }
  /** It ended by itself and its policy does not restart it. */
  | { readonly tag: 'exited' }
  /** It could not be started, or restarted within its budget, or not be ended. */
  | { readonly tag: 'failed' };

export type ServerStateTag = ServerState['tag'];

export type ServerEvent =
  | { readonly type: 'start' }
  | { readonly type: 'ready'; readonly nowMs: number }
  /** Its process ended, or never came up. `clean`: with exit code 0. */
  | { readonly type: 'down'; readonly nowMs: number; readonly clean: boolean }
  | { readonly type: 'due' }
  | { readonly type: 'stop' }
  | { readonly type: 'dead' }
  | { readonly type: 'stuck' };

export interface RestartPolicy {
  readonly restart: 'never' | 'on-failure' | 'always';
  readonly maxRestarts: number;
  readonly restartWindowMs: number;
  readonly stableAfterMs: number;
  /** The wait before the n-th try in a row, in ms. */
  readonly delayMs: (attempt: number) => number;
}

type Running = Extract<ServerState, { tag: 'starting' | 'ready' }>;

export function next(state: ServerState, event: ServerEvent, policy: RestartPolicy): ServerState {
  switch (event.type) {
    case 'start':
      return isOver(state) ? { tag: 'starting', attempt: 0, restartsAtMs: [] } : state;
    case 'ready':
      if (state.tag !== 'starting') return state;
      return { tag: 'ready', attempt: state.attempt, restartsAtMs: state.restartsAtMs, sinceMs: event.nowMs };
    case 'down':
      if (state.tag === 'starting') return state.attempt === 0 ? { tag: 'failed' } : retry(state, event.nowMs, policy);
      if (state.tag !== 'ready') return state;
      return wantsRestart(policy, event.clean) ? retry(state, event.nowMs, policy) : { tag: 'exited' };
    case 'due':
      if (state.tag !== 'backingOff') return state;
      return { tag: 'starting', attempt: state.attempt, restartsAtMs: state.restartsAtMs };
    case 'stop':
      return state.tag === 'stopped' ? state : { tag: 'stopping' };
    case 'dead':
      return state.tag === 'stopping' ? { tag: 'stopped' } : state;
    case 'stuck':
      return { tag: 'failed' };
  }
}

/** Nothing is running and nothing will by itself. */
export function isOver(state: ServerState): boolean {
  return state.tag === 'stopped' || state.tag === 'exited' || state.tag === 'failed';
}

function wantsRestart(policy: RestartPolicy, clean: boolean): boolean {
  return policy.restart === 'always' || (policy.restart === 'on-failure' && !clean);
}

/** As in OTP's supervisors: more than `maxRestarts` within any `restartWindowMs` is a failure that waiting won't mend. */
function retry(state: Running, nowMs: number, policy: RestartPolicy): ServerState {
  const counted = policy.maxRestarts === Number.POSITIVE_INFINITY ? [] : state.restartsAtMs;
  const recent = counted.filter((atMs) => nowMs - atMs < policy.restartWindowMs);
  if (recent.length >= policy.maxRestarts) return { tag: 'failed' };
  const stable = state.tag === 'ready' && nowMs - state.sinceMs >= policy.stableAfterMs;
  const attempt = stable ? 1 : state.attempt + 1;
  return {
    tag: 'backingOff',
    attempt,
    restartsAtMs: [...recent, nowMs],
    delayMs: policy.delayMs(attempt),
  };
}

/** A server as it is at one moment. */
export interface ServerStatus extends ServerIdentity {
  readonly state: ServerStateTag;
  /** Of the process that runs, or ran last. */
  readonly pid: number | undefined;
  /** Milliseconds since the epoch. */
  readonly startedAt: number | undefined;
  /** Since the start of the process that runs; 0 when none does. */
  readonly uptimeMs: number;
  /** Starts after the first, asked for or not, counted when they begin. */
  readonly restarts: number;
  /** Of the last exit; undefined before it. */
  readonly exitCode: number | null | undefined;
  readonly signal: NodeJS.Signals | null | undefined;
  readonly lastError: unknown;
  /** As last sampled, by the reaper or `refresh`; undefined until then and when nothing runs. */
  readonly usage: ServerUsage | undefined;
  /** The last lines of stderr, oldest first. */
  readonly stderr: readonly string[];
}
