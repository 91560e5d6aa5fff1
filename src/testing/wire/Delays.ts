import type { Clock, Timer } from '../../core/clock.js';

const NOTHING: Disposable = { [Symbol.dispose]: () => undefined };

/** What a wire does later, by timers that hold the process, until it is done, disposed or closed. */
export class Delays {
  readonly #clock: Clock;
  readonly #timers = new Set<Timer>();
  #waiting: (() => void)[] = [];
  #closed = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  later(ms: number, work: () => void): Disposable {
    if (this.#closed) return NOTHING;
    const over = (): void => {
      this.#timers.delete(timer);
      if (this.#timers.size === 0) this.#settle();
    };
    const due = (): void => {
      try {
        work();
      } finally {
        // What the work puts off in its turn is waited for, too.
        over();
      }
    };
    const timer = this.#clock.setTimer(due, ms, { ref: true });
    this.#timers.add(timer);
    return {
      [Symbol.dispose]: () => {
        timer.cancel();
        over();
      },
    };
  }

  /** Resolves once nothing is left to do. */
  settled(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      if (this.#timers.size === 0) this.#settle();
    });
  }

  /** Nothing is done any more. */
  close(): void {
    this.#closed = true;
    for (const timer of this.#timers) timer.cancel();
    this.#timers.clear();
    this.#settle();
  }

  #settle(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
