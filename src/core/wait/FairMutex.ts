import { Turns } from './Turns.js';

/** One step at a time. Owners take turns. */
export class FairMutex<O> {
  readonly #waiting = new Turns<O, () => void>();
  #taken = false;

  /** Resolves, or rejects, as `step` does. */
  async run<T>(owner: O, step: () => Promise<T>): Promise<T> {
    if (this.#taken) await new Promise<void>((resolve) => this.#waiting.add(owner, resolve));
    this.#taken = true;
    try {
      return await step();
    } finally {
      // It stays taken where it is handed on.
      const go = this.#waiting.take();
      this.#taken = go !== undefined;
      go?.();
    }
  }
}
