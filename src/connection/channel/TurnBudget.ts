/** What one connection may read in one turn of the event loop. */
export interface TurnBudgetOptions {
  readonly maxBytes?: number;
  readonly maxMessages?: number;
}

/** Reading this much takes about 2 ms at worst (small messages that are garbage), measured in bench/flood.bench.ts. */
export const TURN_DEFAULTS = Object.freeze({ maxBytes: 256 * 1024, maxMessages: 256 });

/**
 * Cuts the reading of one connection into turns, so that no peer's flood keeps the loop from the others. Once `spent`,
 * nothing more is read until the loop has been round. A connection that reads a little in each turn pays nothing.
 */
export class TurnBudget {
  readonly #maxBytes: number;
  readonly #maxMessages: number;
  readonly #renew = (): void => {
    this.#immediate = undefined;
    this.#bytes = 0;
    this.#messages = 0;
    for (const read of this.#waiting.splice(0)) read();
  };
  #waiting: (() => void)[] = [];
  #bytes = 0;
  #messages = 0;
  #immediate: NodeJS.Immediate | undefined;

  constructor({ maxBytes = TURN_DEFAULTS.maxBytes, maxMessages = TURN_DEFAULTS.maxMessages }: TurnBudgetOptions = {}) {
    this.#maxBytes = maxBytes;
    this.#maxMessages = maxMessages;
  }

  /** Messages that may still be read in this turn. */
  get messagesLeft(): number {
    return Math.max(0, this.#maxMessages - this.#messages);
  }

  get spent(): boolean {
    return this.#bytes >= this.#maxBytes || this.#messages >= this.#maxMessages;
  }

  spend(bytes: number, messages: number): void {
    this.#bytes += bytes;
    this.#messages += messages;
    if (this.#messages >= this.#maxMessages / 4 || this.#bytes >= this.#maxBytes / 4) this.#schedule();
  }

  /** Calls `read` in the next turn. It must not throw. */
  inNextTurn(read: () => void): void {
    this.#waiting.push(read);
    this.#schedule();
  }

  close(): void {
    if (this.#immediate !== undefined) clearImmediate(this.#immediate);
    this.#immediate = undefined;
    this.#waiting = [];
  }

  #schedule(): void {
    this.#immediate ??= setImmediate(this.#renew);
  }
}
