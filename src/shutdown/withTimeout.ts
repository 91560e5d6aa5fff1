import { type Clock, systemClock } from '../core/clock.js';
import { GracePeriod } from '../core/close/GracePeriod.js';
import { checkMs, checkText, withDefaults } from '../core/options.js';
import { graceWithin, runBounded } from './plan/runBounded.js';
import { checkTarget, type ShutdownTarget } from './plan/steps.js';

export interface WithTimeoutOptions {
  /** How long the whole may take, in ms. */
  readonly timeoutMs: number;
  /**
   * What a part is given for its work in flight, in ms, from 0 (it fails at once).
   * @defaultValue a third of `timeoutMs`, never more than 5000
   */
  readonly graceMs?: number;
  /** Measures time and arms timers; a `FakeClock` in tests. @defaultValue the system's clock */
  readonly clock?: Clock;
}

/**
 * Closes one part, or runs one clean-up function, within `timeoutMs`: a plan of one step. Rejects with what it rejected
 * with, or with `ShutdownTimeoutError` (`what` is `name`) when it was still running: then a function's signal aborts,
 * a part's deadline is brought to now, and it is abandoned.
 */
export async function withTimeout(name: string, target: ShutdownTarget, given: WithTimeoutOptions): Promise<void> {
  const options = withDefaults('withTimeout', given, {}, { timeoutMs: true, graceMs: true, clock: true });
  const timeoutMs = checkMs('timeoutMs', options.timeoutMs);
  const step = {
    name: checkText('name', name),
    target: checkTarget(target),
    reason: 'withTimeout',
    graceMs: Math.min(checkMs('graceMs', options.graceMs ?? graceWithin(timeoutMs)), timeoutMs),
    onLate: () => undefined,
  };
  // All is checked: from here on a timer is armed.
  const grace = new GracePeriod(options.clock ?? systemClock, timeoutMs);
  const result = await runBounded({ ...step, grace });
  if (result.outcome !== 'ok') throw result.error;
}
