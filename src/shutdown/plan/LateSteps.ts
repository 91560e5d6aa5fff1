import { ClosedError } from '../../core/errors.js';

/** How many steps may be added while the shutdown runs: when its time is over, to end those that hang takes 0.1 ms each. */
const MAX_LATE_STEPS = 1_000;

/** How many of them after the end of its time: what a step that is attempted then may still have to end. */
const MAX_OVERDUE_STEPS = 100;

/** Counts the steps that are added during the shutdown: those that add others again and again must not keep it from its end. */
export class LateSteps {
  #left = MAX_LATE_STEPS;

  /** Counts one; `overdue` when the time of the whole is over. @throws ClosedError when there were too many. */
  take(overdue: boolean): void {
    if (overdue) this.#left = Math.min(this.#left, MAX_OVERDUE_STEPS);
    if (this.#left-- > 0) return;
    const [many, when] = overdue ? [MAX_OVERDUE_STEPS, 'after its time'] : [MAX_LATE_STEPS, 'during the shutdown'];
    throw new ClosedError(`shutdown plan (${many} steps were added ${when})`);
  }
}
