import type { Clock, Timer } from '../clock.js';

/** What is looked at now and then while anything of it is up. */
export interface Swept {
  /** The longest time between two looks, in ms. */
  readonly sweepEveryMs: number;
  /** Must not throw. */
  sweep(nowMs: number): void;
}

/**
 * One unref'd timer for all that idles: connections are stamped and ended by a look now and then, so that a call need
 * not read the clock and no partition has a timer. It is armed only while something is up.
 */
export class Sweeper {
  readonly #clock: Clock;
  /** With the clock's ms of the last look. */
  readonly #swept = new Map<Swept, number>();
  #timer: Timer | undefined;
  #timerMs = Number.POSITIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** From now on it is looked at; a no-op when it is already. */
  add(swept: Swept): void {
    if (this.#swept.has(swept)) return;
    this.#swept.set(swept, this.#clock.now());
    if (swept.sweepEveryMs < this.#timerMs) this.#arm(swept.sweepEveryMs);
  }

  /** It is looked at no longer. With none left the timer is disarmed. */
  delete(swept: Swept): void {
    this.#swept.delete(swept);
    if (this.#swept.size === 0) this.close();
  }

  close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#timerMs = Number.POSITIVE_INFINITY;
    this.#swept.clear();
  }

  #arm(everyMs: number): void {
    this.#timer?.cancel();
    this.#timerMs = everyMs;
    this.#timer = this.#clock.setTimer(() => this.#tick(), everyMs);
  }

  #tick(): void {
    this.#timer = undefined;
    const nowMs = this.#clock.now();
    for (const [swept, sinceMs] of [...this.#swept]) {
      // A timer may fire a little early: what is due within a tenth of its time is due.
      if (nowMs - sinceMs < swept.sweepEveryMs * 0.9 || !this.#swept.has(swept)) continue;
      this.#swept.set(swept, nowMs);
      swept.sweep(nowMs);
    }
    let everyMs = Number.POSITIVE_INFINITY;
    for (const { sweepEveryMs } of this.#swept.keys()) everyMs = Math.min(everyMs, sweepEveryMs);
    this.#timerMs = everyMs;
    if (everyMs !== Number.POSITIVE_INFINITY) this.#arm(everyMs);
  }
}
