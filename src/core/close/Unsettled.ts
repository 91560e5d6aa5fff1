/** Promises that have not settled. A count and no Set, since a gateway adds one for each request: docs/decisions/080-call-table.md. */
export class Unsettled {
  #size = 0;
  #waiting: (() => void)[] = [];
  readonly #left = (): void => {
    if (--this.#size === 0) for (const tell of this.#waiting.splice(0)) tell();
  };

  get size(): number {
    return this.#size;
  }

  /** A rejection counts as handled. */
  add(promise: Promise<unknown>): void {
    this.#size++;
    promise.then(this.#left, this.#left);
  }

  /** Resolves when there is none. */
  over(): Promise<void> {
    return this.#size === 0 ? Promise.resolve() : new Promise((resolve) => void this.#waiting.push(resolve));
  }
}
