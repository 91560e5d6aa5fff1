import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { escapedSeparators } from '../../connection/channel/codec/encode.js';
import { LineReader } from '../../connection/stdio/LineReader.js';
import type { Clock } from '../../core/clock.js';
import { inSlices } from '../../core/time/inSlices.js';
import { StallWatch } from './StallWatch.js';

export interface ClientPipeOptions {
  readonly input: Readable;
  readonly output: Writable;
  readonly maxMessageBytes: number;
  readonly maxBufferedBytes: number;
  /** A client that takes nothing of what waits for so long, in ms, is gone. */
  readonly stallTimeoutMs: number;
  readonly clock: Clock;
  readonly onStall: () => void;
  readonly onLine: (line: string) => void;
  readonly onOversized: (bytes: number) => void;
}

/**
 * A client's two pipes: lines in, lines out, and nothing else. While it does not read, nothing is read from it, not even that it has closed its
 * end: one that takes nothing for `stallTimeoutMs` is cut, as over HTTP.
 */
export class ClientPipe {
  readonly #options: ClientPipeOptions;
  readonly #over = new AbortController();
  readonly #writes: StallWatch;
  #dropped = 0;
  #stalled = false;

  constructor(options: ClientPipeOptions) {
    this.#options = options;
    const { input, output, onLine, onOversized } = options;
    this.#writes = new StallWatch({
      ...options,
      onStall: () => {
        this.#stalled = true;
        options.onStall();
        this.stop();
      },
    });
    const reader = new LineReader(options.maxMessageBytes, {
      onLine: (line) => onLine(line.toString('utf8')),
      onOversized: ({ bytes }) => onOversized(bytes),
    });
    const end = (): void => {
      reader.end();
      this.stop();
    };
    input.on('data', (chunk: Buffer) => {
      reader.push(chunk);
      if (!output.writableNeedDrain) return;
      input.pause();
      output.once('drain', () => input.resume());
    });
    input.once('end', end);
    input.once('close', end);
    input.once('error', () => this.stop());
    // Its reader is gone: so is the client.
    output.once('error', () => this.stop());
    output.once('close', () => this.stop());
  }

  /** Aborts when nothing more comes in. */
  get signal(): AbortSignal {
    return this.#over.signal;
  }

  /** Notifications that the client did not read in time. */
  get dropped(): number {
    return this.#dropped;
  }

  /** One message. A line break can only be white space in it, since JSON escapes those of texts. */
  send(text: string): void {
    const { output } = this.#options;
    if (!output.writable) return;
    const line = /[\r\n]/.test(text) ? text.replace(/[\r\n]+/g, ' ') : text;
    this.#writes.write(`${escapedSeparators(line)}\n`);
  }

  /** The same for a long one: made one line in turns of the event loop, then written without a copy. */
  async sendLong(bytes: Buffer): Promise<void> {
    const pieces: Uint8Array[] = [];
    let at = 0;
    const step = (): boolean => {
      let end = Math.min(at + PIECE_BYTES, bytes.length);
      // A character is not cut.
      while (end < bytes.length && ((bytes[end] as number) & 0xc0) === 0x80) end--;
      pieces.push(onOneLine(bytes.subarray(at, end)));
      at = end;
      return at === bytes.length;
    };
    await inSlices(step, 1);
    const { output } = this.#options;
    if (!output.writable) return;
    for (const piece of pieces) this.#writes.write(piece);
    this.#writes.write('\n');
  }

  /** The same for what may be lost: dropped while the client reads too slowly. */
  offer(text: string): void {
    const { output, maxBufferedBytes } = this.#options;
    const held = output.writableLength + this.#writes.waiting * WRITE_BYTES;
    if (held + text.length <= maxBufferedBytes) this.send(text);
    else this.#dropped++;
  }

  /** Nothing more is read. */
  stop(): void {
    if (this.#over.signal.aborted) return;
    this.#over.abort();
    this.#options.input.pause();
  }

  /** Until what was written has left, or the reader is gone. */
  async flushed(): Promise<void> {
    const { output } = this.#options;
    this.#writes[Symbol.dispose]();
    if (this.#stalled || !output.writable || output.writableLength === 0) return;
    await once(output, 'drain', { signal: AbortSignal.timeout(FLUSH_MS) }).catch(() => undefined);
  }
}

const PIECE_BYTES = 256 * 1_024;
/** What one write that waits holds beside its text: small ones are mostly that. */
const WRITE_BYTES = 512;
/** What readers may take for the end of a line. */
const ENDS = ['\n', '\r', '\u2028', '\u2029', '\u0085'].map((each) => Buffer.from(each));

function onOneLine(piece: Buffer): Uint8Array {
  if (!ENDS.some((each) => piece.includes(each))) return piece;
  return Buffer.from(escapedSeparators(piece.toString('utf8').replace(/[\r\n]+/g, ' ')));
}

/** How long output that was written may take to leave. */
const FLUSH_MS = 2_000;
