import { StringDecoder } from 'node:string_decoder';
import { RingQueue } from '../../core/wait/RingQueue.js';

/** The last lines of a child's stderr, bounded in number and length whatever it writes. */
export class StderrTail {
  readonly #maxLines: number;
  readonly #maxLineBytes: number;
  readonly #onLine: (line: string) => void;
  readonly #lines = new RingQueue<string>();
  #decoder = new StringDecoder('utf8');
  #partial = '';
  #partialBytes = 0;
  #count = 0;

  constructor(maxLines: number, maxLineBytes: number, onLine: (line: string) => void) {
    this.#maxLines = maxLines;
    this.#maxLineBytes = maxLineBytes;
    this.#onLine = onLine;
  }

  /** Oldest first; a line still being written is the last. */
  get lines(): string[] {
    return [...this.#lines, ...(this.#partialBytes > 0 ? [this.#text()] : [])].slice(-this.#maxLines);
  }

  /** Lines that ended since it was asked last. */
  takeCount(): number {
    const count = this.#count;
    this.#count = 0;
    return count;
  }

  /** Reads `chunk`, or its first `maxLines` lines; how many bytes of it were read. */
  push(chunk: Buffer, maxLines = Number.POSITIVE_INFINITY): number {
    let from = 0;
    let left = maxLines;
    for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, from)) {
      if (left-- <= 0) return from;
      this.#extend(chunk.subarray(from, at));
      this.#endLine();
      from = at + 1;
    }
    this.#extend(chunk.subarray(from));
    return chunk.length;
  }

  /** The stream is over: an unfinished line counts as a line. */
  end(): void {
    if (this.#partialBytes > 0) this.#endLine();
  }

  #extend(bytes: Buffer): void {
    const room = this.#maxLineBytes - this.#partialBytes;
    this.#partialBytes += bytes.length;
    if (room > 0) this.#partial += this.#decoder.write(bytes.subarray(0, room));
  }

  #text(): string {
    if (this.#partialBytes > this.#maxLineBytes) return `${this.#partial}…`;
    return this.#partial.endsWith('\r') ? this.#partial.slice(0, -1) : this.#partial;
  }

  #endLine(): void {
    this.#count++;
    const line = this.#text();
    this.#partial = '';
    this.#partialBytes = 0;
    this.#decoder = new StringDecoder('utf8');
    this.#lines.push(line);
    if (this.#lines.size > this.#maxLines) this.#lines.shift();
    this.#onLine(line);
  }
}
