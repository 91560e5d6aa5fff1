import { inTurnOrNow } from '../../../core/time/turns.js';

/** Sends one; undefined: there is nothing to send any more. */
export type Send = () => Promise<void> | undefined;

/**
 * Sends what waits by requests of their own, so many at once, each in a turn of the event loop that has time for it: what a server asks
 * for, or callers cause, without end takes its share of the loop and no more. A send must not throw, nor its promise reject.
 */
export class Sends {
  readonly #max: number;
  readonly #take: () => Send | undefined;
  #sending = 0;

  constructor(max: number, take: () => Send | undefined) {
    this.#max = max;
    this.#take = take;
  }

  /** Something waits. */
  next(): void {
    while (this.#sending < this.#max) {
      const send = this.#take();
      if (send === undefined) return;
      const sent = inTurnOrNow(send as () => Promise<void>) as Promise<void> | undefined;
      if (sent === undefined) continue;
      this.#sending++;
      void sent.then(() => {
        this.#sending--;
        this.next();
      });
    }
  }
}
