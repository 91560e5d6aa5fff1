import type { Readable } from 'node:stream';
import { TurnReader } from '../../core/time/TurnReader.js';
import type { Flow } from '../channel/large/LargeReply.js';
import type { UnfinishedLine } from '../channel/unread/UnfinishedLine.js';
import type { LineReader } from './LineReader.js';
import { readRest } from './readRest.js';

export interface OutputReaderOptions {
  /** Whether one call alone waits for what comes. */
  readonly alone: () => boolean;
  readonly onError: (error: unknown) => void;
}

/** Reads a child's output line by line, in turns of the event loop; when the child is gone, to the end at once. */
export class OutputReader implements Flow {
  readonly #stream: Readable;
  readonly #lines: LineReader;
  readonly #turns: TurnReader;
  readonly #options: OutputReaderOptions;

  constructor(stream: Readable, lines: LineReader, options: OutputReaderOptions) {
    this.#stream = stream;
    this.#lines = lines;
    this.#options = options;
    this.#turns = new TurnReader(stream, lines, options.onError);
  }

  /** The line that is not finished yet. */
  get unfinished(): UnfinishedLine | undefined {
    return this.#lines.unfinished;
  }

  /** The child is gone: reads all that it had written, in this turn, also what the kernel still holds. */
  drain(): void {
    this.#turns.unbound();
    readRest(this.#stream, (chunk) => this.#turns.take(chunk));
    try {
      this.#lines.end();
    } catch (error) {
      this.#options.onError(error);
    }
  }

  /** The reader of a large answer is full. With other calls in flight it is read on, since their answers come behind it. */
  pause(): boolean {
    return this.#options.alone() && this.#turns.hold();
  }

  resume(): void {
    this.#turns.goOn();
  }

  /** What was read last held so many messages. */
  charge(messages: number): void {
    this.#turns.charge(messages);
  }

  close(): void {
    this.#turns.close();
  }
}
