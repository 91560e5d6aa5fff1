/** What one connection may read in one turn of the event loop, in bytes, in messages, and in time. */
export interface TurnBudgetOptions {
  readonly maxBytes?: number;
  readonly maxMessages?: number;
  readonly maxMs?: number;
}

/** Small messages take 1 to 30 µs each, by what is done with them: see bench/flood.bench.ts. */
export const TURN_DEFAULTS = Object.freeze({ maxBytes: 256 * 1024, maxMessages: 320, maxMs: 5 });

/** So many messages are read between two looks at the clock. */
const SLICE_MESSAGES = 64;
/** What all connections of the process may read in one turn, in ms. */
const ALL_MS = 20;

/** The share of all connections in a turn: what does not fit into it comes first in the next one. */
class Everyone {
  readonly #waiting = new Set<() => void>();
  readonly #turn = (): void => {
    this.#immediate = undefined;
    this.#ms = 0;
    // What is added meanwhile is for the next turn.
    for (const renew of [...this.#waiting]) {
      if (this.spent) break;
      this.#waiting.delete(renew);
      renew();
    }
    if (this.#waiting.size > 0) this.#schedule();
  };
  #ms = 0;
  #immediate: NodeJS.Immediate | undefined;

  get spent(): boolean {
    return this.#ms >= ALL_MS;
  }

  spend(ms: number): void {
    this.#ms += ms;
    if (this.#ms >= 1) this.#schedule();
  }

  inNextTurn(renew: () => void): void {
    this.#waiting.add(renew);
    this.#schedule();
  }

  forget(renew: () => void): void {
    this.#waiting.delete(renew);
    if (this.#waiting.size > 0 || this.#immediate === undefined) return;
    clearImmediate(this.#immediate);
    this.#immediate = undefined;
    this.#ms = 0;
  }

  #schedule(): void {
    this.#immediate ??= setImmediate(this.#turn);
  }
}

const everyone = new Everyone();

/**
 * Cuts the reading of one connection into turns, so that no peer's flood keeps the loop from the others. Once `spent`,
 * nothing more is read until the loop has been round. All connections together have a share too, in turns. A connection that reads a little in each turn pays nothing.
 */
export class TurnBudget {
  readonly #maxBytes: number;
  readonly #maxMessages: number;
  readonly #maxMs: number;
  readonly #renew = (): void => {
    this.#scheduled = false;
    this.#bytes = 0;
    this.#messages = 0;
    this.#ms = 0;
    for (const read of this.#waiting.splice(0)) read();
  };
  #waiting: (() => void)[] = [];
  #bytes = 0;
  #messages = 0;
  #ms = 0;
  #scheduled = false;

  constructor({
    maxBytes = TURN_DEFAULTS.maxBytes,
    maxMessages = TURN_DEFAULTS.maxMessages,
    maxMs = TURN_DEFAULTS.maxMs,
  }: TurnBudgetOptions = {}) {
    this.#maxBytes = maxBytes;
    this.#maxMessages = maxMessages;
    this.#maxMs = maxMs;
  }

  /** Messages that may be read before `spend` is called again. */
  get messagesLeft(): number {
    return Math.min(SLICE_MESSAGES, Math.max(0, this.#maxMessages - this.#messages));
  }

  get spent(): boolean {
    const own = this.#bytes >= this.#maxBytes || this.#messages >= this.#maxMessages || this.#ms >= this.#maxMs;
    return own || everyone.spent;
  }

  /** `startMs`: when their reading began, by `performance.now()`. */
  spend(bytes: number, messages: number, startMs: number): void {
    const ms = performance.now() - startMs;
    this.#ms += ms;
    everyone.spend(ms);
    this.#bytes += bytes;
    this.#messages += messages;
    if (this.#messages >= this.#maxMessages / 4 || this.#bytes >= this.#maxBytes / 4 || this.#ms >= 1) this.#schedule();
  }

  /** Calls `read` in the next turn. It must not throw. */
  inNextTurn(read: () => void): void {
    this.#waiting.push(read);
    this.#schedule();
  }

  close(): void {
    everyone.forget(this.#renew);
    this.#scheduled = false;
    this.#waiting = [];
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    everyone.inNextTurn(this.#renew);
  }
}
