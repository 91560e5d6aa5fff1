import type { Readable } from 'node:stream';

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
 * Runs a long step in a turn of the event loop in which the share of all is not used up yet, and counts it: of those that many peers
 * cause at once, each has a turn of its own. Rejects with what `step` throws.
 */
export function inTurn<T>(step: () => T): Promise<T> {
  return new Promise((resolve, reject) => {
    everyone.inNextTurn(() => {
      const startMs = performance.now();
      try {
        resolve(step());
      } catch (error) {
        reject(error);
      }
      everyone.spend(performance.now() - startMs);
    });
  });
}

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
  #slice = SLICE_MESSAGES;
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
    return Math.min(this.#slice, Math.max(0, this.#maxMessages - this.#messages));
  }

  get spent(): boolean {
    const own = this.#bytes >= this.#maxBytes || this.#messages >= this.#maxMessages || this.#ms >= this.#maxMs;
    return own || everyone.spent;
  }

  /** One that was read held so many. From here on they are read one by one: how many the next holds is not known before. */
  charge(messages: number): void {
    this.#messages += messages;
    this.#slice = 1;
    this.#schedule();
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

/** What takes the bytes of a stream apart. */
export interface LineTaker {
  /** Reads `chunk`, or its first `maxLines` lines; how many bytes of it were read. */
  push(chunk: Buffer, maxLines?: number): number;
  /** The line being read is the last of this `push`. */
  stop?(): void;
  /** Lines that ended since it was asked last. */
  takeCount(): number;
}

/**
 * Reads a stream into `lines`, a bounded share in each turn of the event loop; beyond it the stream is paused, so that a
 * flood holds back the process that makes it and none of the others. What throws while a line is read goes to `onError`.
 */
export class TurnReader {
  readonly #stream: Readable;
  readonly #lines: LineTaker;
  readonly #onError: (error: unknown) => void;
  readonly #budget = new TurnBudget();
  /** Chunks that are not read to their end. */
  #rest: Buffer[] = [];
  #bounded = true;
  #paused = false;
  #held = false;

  constructor(stream: Readable, lines: LineTaker, onError: (error: unknown) => void) {
    this.#stream = stream;
    this.#lines = lines;
    this.#onError = onError;
    stream.on('data', (chunk: Buffer) => this.take(chunk));
  }

  /** Reads nothing more until `goOn`; false, and reads on, once it is `unbound`. */
  hold(): boolean {
    if (!this.#bounded) return false;
    this.#held = true;
    this.#stream.pause();
    return true;
  }

  goOn(): void {
    if (!this.#held) return;
    this.#held = false;
    if (!this.#paused) this.#resume();
  }

  /** Reads what is held, at once. */
  flush(): void {
    for (const chunk of this.#rest.splice(0)) this.#guarded(() => void this.#lines.push(chunk));
  }

  /** Reads what is held, and from here on all that comes, at once. */
  unbound(): void {
    this.#bounded = false;
    this.#held = false;
    this.#budget.close();
    this.flush();
    // What the stream holds goes to its 'data' listener.
    while (this.#stream.read() !== null);
  }

  take(chunk: Buffer): void {
    if (!this.#bounded) this.#guarded(() => void this.#lines.push(chunk));
    else if (this.#rest.length > 0 || this.#budget.spent || this.#held) {
      this.#rest.push(chunk);
      this.#pause();
    } else this.#read(chunk);
  }

  /** What was read last held so many messages. */
  charge(messages: number): void {
    if (!this.#bounded) return;
    this.#budget.charge(messages);
    this.#lines.stop?.();
  }

  close(): void {
    this.#budget.close();
    this.#rest = [];
  }

  /** Reads `chunk` as far as the budget goes. */
  #read(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length && !this.#budget.spent && !this.#held) {
      const startMs = performance.now();
      const part = at === 0 ? chunk : chunk.subarray(at);
      const before = at;
      at = chunk.length;
      this.#guarded(() => {
        at = before + this.#lines.push(part, this.#budget.messagesLeft);
      });
      this.#budget.spend(at - before, this.#lines.takeCount(), startMs);
    }
    if (at < chunk.length) this.#rest.unshift(chunk.subarray(at));
    if (this.#budget.spent) this.#pause();
  }

  #pause(): void {
    this.#stream.pause();
    if (this.#paused || this.#held) return;
    this.#paused = true;
    this.#budget.inNextTurn(() => this.#resume());
  }

  #resume(): void {
    this.#paused = false;
    if (this.#held) return;
    while (this.#rest.length > 0 && !this.#budget.spent && !this.#held) this.#read(this.#rest.shift() as Buffer);
    if (this.#held) return;
    if (this.#rest.length === 0 && !this.#budget.spent) this.#stream.resume();
    else this.#pause();
  }

  #guarded(read: () => void): void {
    try {
      read();
    } catch (error) {
      this.#onError(error);
    }
  }
}
