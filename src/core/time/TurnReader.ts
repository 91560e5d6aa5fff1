import type { Readable } from 'node:stream';
import { TurnBudget, type TurnBudgetOptions } from './turns.js';

/** What takes the bytes of a stream apart. */
export interface LineTaker {
  /** Reads `chunk`, or its first `maxLines` lines; how many bytes of it were read. */
  push(chunk: Buffer, maxLines?: number): number;
  /** The line being read is the last of this `push`. */
  stop?(): void;
  /** Lines that ended since it was asked last. */
  takeCount(): number;
  /** How long so many bytes may take, in ms; without it as long as the last that were read. */
  expectMs?(bytes: number): number;
}

/** What is read. */
interface Source extends Pick<Readable, 'pause' | 'resume'> {
  on(event: 'data', listener: (chunk: Buffer) => void): unknown;
  read?(): unknown;
}

/**
 * Reads a stream into `lines`, a bounded share in each turn of the event loop; beyond it the stream is paused, so that a
 * flood holds back the process that makes it and none of the others. What throws while a line is read goes to `onError`.
 */
export class TurnReader {
  readonly #stream: Source;
  readonly #lines: LineTaker;
  readonly #onError: (error: unknown) => void;
  readonly #budget: TurnBudget;
  /** Chunks that are not read to their end. */
  #rest: Buffer[] = [];
  #bounded = true;
  #paused = false;
  #held = false;

  constructor(stream: Source, lines: LineTaker, onError: (error: unknown) => void, budget?: TurnBudgetOptions) {
    this.#budget = new TurnBudget(budget);
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
    while ((this.#stream.read?.() ?? null) !== null);
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
    const expectedMs = this.#lines.expectMs?.(this.#rest.reduce((sum, { length }) => sum + length, 0));
    this.#budget.inNextTurn(() => this.#resume(), expectedMs);
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
