import type { Clock, Timer } from '../core/clock.js';
import { checkMs, withDefaults } from '../core/options.js';

// Kept as it is now: a test may put fakes over the globals.
const realSetImmediate = globalThis.setImmediate;

interface Armed {
  readonly dueMs: number;
  readonly order: number;
  readonly callback: () => void;
  ref: boolean;
}

/**
 * A clock that moves only when told. Timers fire in the order of their time, then of their arming; each sees `now()` as
 * its own due time, unless time was moved past it. A delay of 0 fires at the next advance, also `advance(0)`.
 */
export class FakeClock implements Clock {
  #nowMs: number;
  #wallOffsetMs: number;
  #order = 0;
  readonly #armed = new Set<Armed>();

  constructor(options: { readonly nowMs?: number; readonly wallMs?: number } = {}) {
    const { nowMs, wallMs } = withDefaults('FakeClock', options, { nowMs: 0, wallMs: Date.UTC(2026, 0, 1) }, {});
    this.#nowMs = checkMs('nowMs', nowMs);
    this.#wallOffsetMs = checkMs('wallMs', wallMs) - this.#nowMs;
  }

  now(): number {
    return this.#nowMs;
  }

  wallNow(): number {
    return this.#nowMs + this.#wallOffsetMs;
  }

  /** Timers armed now. */
  get armedTimers(): number {
    return this.#armed.size;
  }

  /** Timers armed now that would hold a process open. */
  get refTimers(): number {
    return [...this.#armed].filter((each) => each.ref).length;
  }

  setTimer(callback: () => void, delayMs: number, options?: { readonly ref?: boolean }): Timer {
    const dueMs = this.#nowMs + (delayMs > 0 ? delayMs : 0);
    const armed: Armed = { dueMs, order: this.#order++, callback, ref: options?.ref ?? false };
    // As on the system's clock: one that never fires is not armed.
    if (dueMs !== Number.POSITIVE_INFINITY) this.#armed.add(armed);
    const cancel = (): void => void this.#armed.delete(armed);
    const hold = (ref: boolean) => (): void => {
      armed.ref = ref;
    };
    return { cancel, ref: hold(true), unref: hold(false), [Symbol.dispose]: cancel };
  }

  /** Moves time by `ms`, firing what falls due, then lets every pending microtask and immediate run, at each step. */
  async advance(ms: number): Promise<void> {
    const untilMs = this.#nowMs + checkMs('ms', ms);
    await settle();
    for (let due = this.#next(untilMs); due !== undefined; due = this.#next(untilMs)) {
      this.#fire(due);
      await settle();
    }
    this.#reach(untilMs);
    await settle();
  }

  /**
   * Moves time from timer to timer until `condition` holds, and gives the ms it took: for what comes by a sweep (idle ends,
   * parking), whose exact moment is not a test's business. Rejects when it does not hold within `maxMs`, an hour by default.
   */
  async advanceUntil(condition: () => boolean, maxMs = 3_600_000): Promise<number> {
    const sinceMs = this.#nowMs;
    const untilMs = sinceMs + checkMs('maxMs', maxMs);
    await settle();
    while (!condition()) {
      const due = this.#next(untilMs);
      if (due === undefined) {
        const left = this.#armed.size === 0 ? 'no timer is armed' : 'the next timer is later';
        throw new Error(`the condition did not hold within ${maxMs} ms: ${left}`);
      }
      this.#fire(due);
      await settle();
    }
    return this.#nowMs - sinceMs;
  }

  /**
   * Moves time by `ms` and fires what falls due, all in this turn: promises go on only after it. Of hundreds of waits that time out, those beyond
   * the share of a turn (128) end in the turns that follow.
   */
  advanceSync(ms: number): void {
    const untilMs = this.#nowMs + checkMs('ms', ms);
    for (let due = this.#next(untilMs); due !== undefined; due = this.#next(untilMs)) this.#fire(due);
    this.#reach(untilMs);
  }

  /** Moves the wall clock alone, as an administrator or NTP does. Nothing that uses `now()` may notice. */
  stepWall(ms: number): void {
    this.#wallOffsetMs += ms;
  }

  /** Moves time without firing anything, as a machine does that was asleep: timers fire late, at the next advance. */
  suspend(ms: number): void {
    this.#nowMs += checkMs('ms', ms);
  }

  #next(untilMs: number): Armed | undefined {
    let first: Armed | undefined;
    for (const each of this.#armed) {
      if (each.dueMs > untilMs) continue;
      if (first === undefined || each.dueMs < first.dueMs || (each.dueMs === first.dueMs && each.order < first.order)) {
        first = each;
      }
    }
    return first;
  }

  #fire(due: Armed): void {
    this.#armed.delete(due);
    this.#reach(due.dueMs);
    due.callback();
  }

  /** Time never goes back, also when a callback or a second `advance` has moved it further. */
  #reach(ms: number): void {
    this.#nowMs = Math.max(this.#nowMs, ms);
  }
}

/** Lets everything that can go on without time go on. */
function settle(): Promise<void> {
  return new Promise((resolve) => realSetImmediate(resolve));
}
