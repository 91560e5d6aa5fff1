import type { Clock } from '../../core/clock.js';
import type { Logger } from '../../core/logger.js';
import type { ShutdownPhase, ShutdownStage } from './steps.js';

export interface ShutdownPlanOptions {
  /** Where it logs; anything with pino's methods. @defaultValue a logger that is silent */
  readonly logger?: Logger;
  /** Measures time and arms timers; a `FakeClock` in tests. @defaultValue the system's clock */
  readonly clock?: Clock;
  /** Everything together ends within this many ms, from 1. @defaultValue 30000 */
  readonly totalMs?: number;
  /**
   * How long the process goes on serving after readiness went off, in ms: load balancers need it to look away. Part of
   * `totalMs`, so less than it. @defaultValue 0
   */
  readonly propagationDelayMs?: number;
}

export interface StepOptions {
  /** When it runs. @defaultValue 'close' */
  readonly phase?: ShutdownPhase;
  /** Longest run of this step, in ms; `Infinity` leaves it to the total. @defaultValue 15000 */
  readonly timeoutMs?: number;
  /**
   * What a part to close is given for its work in flight, in ms, from 0 (it fails at once); the rest of the step is
   * for ending what would not end.
   * @defaultValue nine tenths of the step's time in `drain`, elsewhere a third of it, never more than 5000
   */
  readonly graceMs?: number;
  /**
   * Names of steps that end first, added or still to be added. In the same phase; earlier ones come first anyway.
   * @defaultValue none
   */
  readonly after?: string | readonly string[];
  /** Whether its failure fails the shutdown (exit code 1). @defaultValue true */
  readonly critical?: boolean;
}

export interface ForceOptions {
  /** How long the rest may still take, in ms. @defaultValue 0 */
  readonly withinMs?: number;
  /** The exit code that the report is to have. @defaultValue 1 */
  readonly exitCode?: number;
}

/** How far a plan is. */
export interface ShutdownPlanInspection {
  readonly stopping: boolean;
  /** The phase that runs; undefined before the shutdown and after it. */
  readonly phase: ShutdownStage | undefined;
  readonly totalMs: number;
  /** Since the shutdown began; undefined before. */
  readonly elapsedMs: number | undefined;
  /** In the order they were added; a step that failed is `settled` too, its error is in the report. */
  readonly steps: readonly {
    readonly name: string;
    readonly phase: ShutdownStage;
    readonly state: 'waiting' | 'running' | 'settled';
  }[];
}

export const SHUTDOWN_DEFAULTS = Object.freeze({
  totalMs: 30_000,
  propagationDelayMs: 0,
  /** `timeoutMs` of a step. */
  stepTimeoutMs: 15_000,
});

/** What a step has unless its own options say otherwise. @internal */
export const SHUTDOWN_STEP_DEFAULTS = Object.freeze({
  phase: 'close' as ShutdownPhase,
  timeoutMs: SHUTDOWN_DEFAULTS.stepTimeoutMs,
  critical: true,
});
