import type { Clock } from '../../core/clock.js';
import { systemClock } from '../../core/clock.js';
import { type Logger, silentLogger } from '../../core/logger.js';
import {
  checkBoolean,
  checkCount,
  checkFunction,
  checkMs,
  checkRatio,
  checkText,
  withDefaults,
} from '../../core/options.js';

/** How a breaker shows its state: forced open is `open`, forced closed is `closed`; `inspect()` tells them apart. */
export type BreakerState = 'closed' | 'open' | 'half-open';

export interface CircuitBreakerOptions {
  /** What it protects, as errors and logs name it. @defaultValue 'CircuitBreaker' */
  readonly name?: string;
  /** Failures in a row that open it: a whole number from 1, or `Infinity` for never. @defaultValue 10 */
  readonly threshold?: number;
  /**
   * Share of failed calls in the window that opens it, from 0 to 1, or `Infinity` for never. 0 opens on any window with
   * `minCalls` calls. A share costs a reading of the clock per call. @defaultValue Infinity
   */
  readonly failureRatio?: number;
  /** A call that took this long counts as slow, in ms from 0; `Infinity`: none is slow. @defaultValue Infinity */
  readonly slowCallMs?: number;
  /** Share of slow calls in the window that opens it, from 0 to 1. Without `slowCallMs` it has no effect. @defaultValue 1 */
  readonly slowCallRatio?: number;
  /** Length of the sliding window of both shares, in ms from 10 to 86,400,000. @defaultValue 10000 */
  readonly windowMs?: number;
  /** Calls in the window below which its shares open nothing: a whole number from 1. @defaultValue 20 */
  readonly minCalls?: number;
  /** How long it refuses calls before one may try, in ms from 1. @defaultValue 10000 */
  readonly resetMs?: number;
  /**
   * Longest time it refuses calls, in ms from `resetMs`: the time doubles each time that a try fails.
   * @defaultValue the value of `resetMs`, which never grows
   */
  readonly maxResetMs?: number;
  /** Calls that may try side by side while half-open, all of which must succeed: from 1 to 1000. @defaultValue 1 */
  readonly halfOpenProbes?: number;
  /** Whether a timeout (`ERR_REQUEST_TIMEOUT`, a `TimeoutError`) is a failure; without effect beside `isFailure`. @defaultValue false */
  readonly countTimeouts?: boolean;
  /**
   * Whether an error counts as a failure. @defaultValue lost and refused connections, 5xx, broken protocol, failed
   * starts, and errors that are not the toolkit's; never an abort
   */
  readonly isFailure?: (error: unknown) => boolean;
  /**
   * Whether an error that is no failure proves that what is protected works: it counts as a success then. One that is
   * neither (an abort, a refusal) counts for nothing. @defaultValue JSON-RPC errors, 401 and 403; every error with `isFailure`
   */
  readonly isAnswer?: (error: unknown) => boolean;
  /** Told of each change of state. What it throws is logged. @defaultValue none */
  readonly onChange?: (state: BreakerState) => void;
  /** Measures time and arms timers; a `FakeClock` in tests. @defaultValue the system's clock */
  readonly clock?: Clock;
  /** Gets what a function of the options throws. @defaultValue silent */
  readonly logger?: Logger;
}

export const CIRCUIT_BREAKER_DEFAULTS = Object.freeze({
  name: 'CircuitBreaker',
  threshold: 10,
  failureRatio: Number.POSITIVE_INFINITY,
  slowCallMs: Number.POSITIVE_INFINITY,
  slowCallRatio: 1,
  windowMs: 10_000,
  minCalls: 20,
  resetMs: 10_000,
  halfOpenProbes: 1,
  countTimeouts: false,
});

/** The options, checked, with their defaults. @throws OptionError */
export function breakerOptions(given: CircuitBreakerOptions) {
  const options = withDefaults('CircuitBreaker', given, CIRCUIT_BREAKER_DEFAULTS, {
    maxResetMs: true,
    isFailure: true,
    isAnswer: true,
    onChange: true,
    clock: true,
    logger: true,
  });
  checkText('name', options.name);
  checkCount('threshold', options.threshold, { min: 1, infinity: true });
  if (options.failureRatio !== Number.POSITIVE_INFINITY) checkRatio('failureRatio', options.failureRatio);
  checkMs('slowCallMs', options.slowCallMs, { infinity: true });
  checkRatio('slowCallRatio', options.slowCallRatio);
  checkMs('windowMs', options.windowMs, { min: 10, max: 86_400_000 });
  checkCount('minCalls', options.minCalls, { min: 1 });
  checkMs('resetMs', options.resetMs, { min: 1 });
  const maxResetMs = checkMs('maxResetMs', options.maxResetMs ?? options.resetMs, {
    min: options.resetMs,
    max: 86_400_000,
  });
  checkCount('halfOpenProbes', options.halfOpenProbes, { min: 1, max: 1_000 });
  checkBoolean('countTimeouts', options.countTimeouts);
  if (options.isFailure !== undefined) checkFunction('isFailure', options.isFailure);
  if (options.isAnswer !== undefined) checkFunction('isAnswer', options.isAnswer);
  if (options.onChange !== undefined) checkFunction('onChange', options.onChange);
  return { ...options, maxResetMs, clock: options.clock ?? systemClock, logger: options.logger ?? silentLogger };
}
