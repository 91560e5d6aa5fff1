/** What one connection may read in one turn of the event loop, in bytes and in messages. */
export interface TurnBudgetOptions {
  readonly maxBytes?: number;
  readonly maxMessages?: number;
  /** A new turn begins after the budget was spent: reading may go on. */
  readonly onTurn: () => void;
}

/** Reading this much takes about 2 ms at worst (small messages that are garbage), measured in bench/flood.bench.ts. */
export const TURN_DEFAULTS = Object.freeze({ maxBytes: 256 * 1024, maxMessages: 256 });

/**
 * Cuts the reading of one connection into turns, so that no peer's flood keeps the loop from the others. Spending beyond
 * the budget makes `spent` true until the loop has been round once. A turn that reads little costs nothing.
 */
export class TurnBudget {
  readonly #maxBytes: number;
  readonly #maxMessages: number;
  readonly #onTurn: () => void;
  readonly #renew = (): void => {
    this.#immediate = undefined;
    this.#bytes = 0;
    this.#messages = 0;
    if (this.#owed) {
      this.#owed = false;
      this.#onTurn();
    }
  };
  #bytes = 0;
  #messages = 0;
  #owed = false;
  #immediate: NodeJS.Immediate | undefined;

  constructor({
    maxBytes = TURN_DEFAULTS.maxBytes,
    maxMessages = TURN_DEFAULTS.maxMessages,
    onTurn,
  }: TurnBudgetOptions) {
    this.#maxBytes = maxBytes;
    this.#maxMessages = maxMessages;
    this.#onTurn = onTurn;
  }

  /** Messages that may still be read in this turn. */
  get messagesLeft(): number {
    return Math.max(0, this.#maxMessages - this.#messages);
  }

  /** Nothing more is to be read until `onTurn`, which comes once. */
  get spent(): boolean {
    if (this.#bytes < this.#maxBytes && this.#messages < this.#maxMessages) return false;
    this.#owed = true;
    return true;
  }

  spend(bytes: number, messages: number): void {
    this.#bytes += bytes;
    this.#messages += messages;
    // The count begins anew with each turn, but a connection that reads a little in each need not ask for that.
    if (
      this.#immediate === undefined &&
      (this.#messages >= this.#maxMessages / 4 || this.#bytes >= this.#maxBytes / 4)
    ) {
      this.#immediate = setImmediate(this.#renew);
    }
  }

  close(): void {
    if (this.#immediate !== undefined) clearImmediate(this.#immediate);
    this.#owed = false;
  }
}
