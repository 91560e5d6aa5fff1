import type { Clock, Timer } from '../core/clock.js';

interface Armed {
  readonly dueMs: number;
  readonly order: number;
  readonly callback: () => void;
}

/**
 * A clock that moves only when told. Timers fire in the order of their time, then of their arming; each sees `now()` as
 * its own due time.
 */
export class FakeClock implements Clock {
  #nowMs: number;
  #wallOffsetMs: number;
  #order = 0;
  readonly #armed = new Set<Armed>();

  constructor(options: { readonly nowMs?: number; readonly wallMs?: number } = {}) {
    this.#nowMs = options.nowMs ?? 0;
    this.#wallOffsetMs = (options.wallMs ?? Date.UTC(2026, 0, 1)) - this.#nowMs;
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

  setTimer(callback: () => void, delayMs: number): Timer {
    const armed: Armed = { dueMs: this.#nowMs + Math.max(0, delayMs), order: this.#order++, callback };
    this.#armed.add(armed);
    const cancel = (): void => void this.#armed.delete(armed);
    return { cancel, ref: () => undefined, unref: () => undefined, [Symbol.dispose]: cancel };
  }

  /** Moves time by `ms`, firing what falls due, then lets every pending microtask and immediate run, at each step. */
  async advance(ms: number): Promise<void> {
    const untilMs = this.#nowMs + ms;
    await settle();
    for (let due = this.#next(untilMs); due !== undefined; due = this.#next(untilMs)) {
      this.#fire(due);
      await settle();
    }
    this.#nowMs = untilMs;
    await settle();
  }

  /** Moves time by `ms` and fires what falls due, all in this turn: promises go on only after it. */
  advanceSync(ms: number): void {
    const untilMs = this.#nowMs + ms;
    for (let due = this.#next(untilMs); due !== undefined; due = this.#next(untilMs)) this.#fire(due);
    this.#nowMs = untilMs;
  }

  /** Moves the wall clock alone, as an administrator or NTP does. Nothing that uses `now()` may notice. */
  stepWall(ms: number): void {
    this.#wallOffsetMs += ms;
  }

  /** Moves time without firing anything, as a machine does that was asleep: timers fire late, at the next advance. */
  suspend(ms: number): void {
    this.#nowMs += ms;
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
    this.#nowMs = Math.max(this.#nowMs, due.dueMs);
    due.callback();
  }
}

/** Lets everything that can go on without time go on. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
