import type { Readable } from 'node:stream';
import { TurnReader } from '../../core/time/turns.js';
import type { LineReader } from './LineReader.js';
import { readRest } from './readRest.js';

/** Reads a child's output line by line, in turns of the event loop; when the child is gone, to the end at once. */
export class OutputReader {
  readonly #stream: Readable;
  readonly #lines: LineReader;
  readonly #turns: TurnReader;
  readonly #onError: (error: unknown) => void;

  constructor(stream: Readable, lines: LineReader, onError: (error: unknown) => void) {
    this.#stream = stream;
    this.#lines = lines;
    this.#onError = onError;
    this.#turns = new TurnReader(stream, lines, onError);
  }

  /** The child is gone: reads all that it had written, in this turn, also what the kernel still holds. */
  drain(): void {
    this.#turns.unbound();
    readRest(this.#stream, (chunk) => this.#turns.take(chunk));
    try {
      this.#lines.end();
    } catch (error) {
      this.#onError(error);
    }
  }

  close(): void {
    this.#turns.close();
  }
}
