/** One step at a time. Owners take turns, each the oldest of its own: who has many waiting holds up the others by one step each. */
export class FairMutex<O> {
  /** By owner, in the order of their turns. */
  readonly #waiting = new Map<O, (() => void)[]>();
  #taken = false;

  /** Resolves, or rejects, as `step` does. */
  async run<T>(owner: O, step: () => Promise<T>): Promise<T> {
    if (this.#taken) await this.#turn(owner);
    this.#taken = true;
    try {
      return await step();
    } finally {
      this.#next();
    }
  }

  #turn(owner: O): Promise<void> {
    return new Promise((resolve) => {
      const own = this.#waiting.get(owner);
      if (own === undefined) this.#waiting.set(owner, [resolve]);
      else own.push(resolve);
    });
  }

  /** It stays taken where it is handed on. */
  #next(): void {
    const [next] = this.#waiting;
    this.#taken = next !== undefined;
    if (next === undefined) return;
    const [owner, own] = next;
    this.#waiting.delete(owner);
    const go = own.shift();
    if (own.length > 0) this.#waiting.set(owner, own);
    go?.();
  }
}
