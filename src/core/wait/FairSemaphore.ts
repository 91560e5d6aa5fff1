import { inTurnOrNow, spendCaller } from '../time/turns.js';
import { Turns } from './Turns.js';

/** A few steps at a time. Owners take turns. */
export class FairSemaphore<O> {
  readonly #waiting = new Turns<O, () => void>();
  #free: number;

  /** `places`: so many steps run at once. */
  constructor(places: number) {
    this.#free = places;
  }

  /** Resolves, or rejects, as `step` does. */
  async run<T>(owner: O, step: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--;
    else {
      await new Promise<void>((resolve) => this.#waiting.add(owner, resolve));
      // Each begins as the one before it ends: of steps that wait for nothing, a thousand are not all done in one turn.
      await inTurnOrNow(spendCaller);
    }
    try {
      return await step();
    } finally {
      // The place stays taken where it is handed on.
      const go = this.#waiting.take();
      if (go === undefined) this.#free++;
      else go();
    }
  }
}
