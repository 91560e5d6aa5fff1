import type { Readable } from 'node:stream';
import { TurnBudget } from '../channel/TurnBudget.js';
import type { LineReader } from './LineReader.js';
import { readRest } from './readRest.js';

/**
 * Reads a child's output into a `LineReader`, a bounded share in each turn of the event loop; beyond it the pipe is
 * paused, so that a flood holds back the child that makes it and not the other servers. What throws while a line is read
 * goes to `onError`.
 */
export class OutputReader {
  readonly #stream: Readable;
  readonly #lines: LineReader;
  readonly #onError: (error: unknown) => void;
  readonly #budget = new TurnBudget();
  /** A chunk that is not read to its end. */
  #rest: Buffer[] = [];
  #draining = false;
  #paused = false;

  constructor(stream: Readable, lines: LineReader, onError: (error: unknown) => void) {
    this.#stream = stream;
    this.#lines = lines;
    this.#onError = onError;
    stream.on('data', (chunk: Buffer) => this.#take(chunk));
  }

  /** The child is gone: reads all that it had written, in this turn, also what the kernel still holds. */
  drain(): void {
    this.#draining = true;
    this.#budget.close();
    for (const chunk of this.#rest.splice(0)) this.#take(chunk);
    // What the stream holds goes to its 'data' listener.
    while (this.#stream.read() !== null);
    readRest(this.#stream, (chunk) => this.#take(chunk));
    this.#guarded(() => this.#lines.end());
  }

  close(): void {
    this.#budget.close();
    this.#rest = [];
  }

  #take(chunk: Buffer): void {
    if (this.#draining) {
      this.#guarded(() => void this.#lines.push(chunk));
      return;
    }
    if (this.#rest.length > 0 || this.#budget.spent) {
      this.#rest.push(chunk);
      return;
    }
    this.#read(chunk);
  }

  /** Reads `chunk` as far as the budget goes. */
  #read(chunk: Buffer): void {
    let read = chunk.length;
    this.#guarded(() => {
      read = this.#lines.push(chunk, this.#budget.messagesLeft);
    });
    this.#budget.spend(read, this.#lines.takeCount());
    if (read < chunk.length) this.#rest.unshift(chunk.subarray(read));
    if (this.#budget.spent) this.#pause();
  }

  #pause(): void {
    this.#stream.pause();
    if (this.#paused) return;
    this.#paused = true;
    this.#budget.inNextTurn(() => this.#resume());
  }

  #resume(): void {
    this.#paused = false;
    while (this.#rest.length > 0 && !this.#budget.spent) this.#read(this.#rest.shift() as Buffer);
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
