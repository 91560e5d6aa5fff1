import type { Readable, Writable } from 'node:stream';
import { escapedSeparators } from '../../connection/channel/codec/encode.js';
import type { Edges } from '../../connection/channel/unread/MessageEdges.js';
import { LineReader } from '../../connection/stdio/LineReader.js';
import type { Clock } from '../../core/clock.js';
import { withoutMark } from '../../core/text/strictText.js';
import { inSlices } from '../../core/time/inSlices.js';
import { within } from '../../core/time/within.js';
import { StallWatch } from './StallWatch.js';

export interface ClientPipeOptions {
  readonly input: Readable;
  readonly output: Writable;
  readonly maxMessageBytes: number;
  /** What waits for a client that reads slowly: beyond it notifications are dropped, and by answers beyond it the client is held back. */
  readonly maxStreamBufferBytes: number;
  /** Of that and of what servers ask. */
  readonly maxBufferedBytes: number;
  /** A client that takes nothing of what waits for so long, in ms, is gone. */
  readonly stallTimeoutMs: number;
  readonly clock: Clock;
  readonly onStall: (stallTimeoutMs: number) => void;
  /** Of what servers said something is lost, since the client reads too slowly. */
  readonly onDrop: () => void;
  readonly onLine: (line: string) => void;
  /** Of a line beyond `maxMessageBytes`, which is not kept. */
  readonly onOversized: (edges: Edges) => void;
}

/**
 * A client's two pipes: lines in, lines out, and nothing else. While it is behind with answers its messages wait: it is read on to a bound, so
 * that its end is seen. What servers say holds nothing back, whatever they say: beyond its bound it is dropped. A client that takes
 * nothing for `stallTimeoutMs` is cut, as over HTTP; once it has closed its end, for `FLUSH_MS`.
 */
export class ClientPipe {
  readonly #options: ClientPipeOptions;
  readonly #over = new AbortController();
  readonly #writes: StallWatch;
  readonly #reader: LineReader;
  /** What came while the client was behind with answers. */
  readonly #unread: Buffer[] = [];
  #unreadBytes = 0;
  /** Nothing more comes behind that. */
  #ended = false;
  #behind = false;
  /** Of what waits for the client, with what a write holds; of it, answers; and what came by one stream and may be lost. */
  #waitingBytes = 0;
  #answerBytes = 0;
  readonly #streamBytes = new WeakMap<object, number>();
  #stalled = false;
  #onStalled: (() => void) | undefined;

  constructor(options: ClientPipeOptions) {
    this.#options = options;
    const { input, output, onLine, onOversized } = options;
    this.#writes = new StallWatch({
      ...options,
      onStall: (stallTimeoutMs) => {
        this.#stalled = true;
        options.onStall(stallTimeoutMs);
        this.stop();
        this.#onStalled?.();
      },
    });
    this.#reader = new LineReader(options.maxMessageBytes, {
      onLine: (line) => onLine(withoutMark(line.toString('utf8'))),
      onOversized,
    });
    const end = (): void => {
      this.#ended = true;
      if (this.#unread.length === 0) this.#end();
      else this.#writes.shorten(FLUSH_MS);
    };
    input.on('data', (chunk: Buffer) => this.#onData(chunk));
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

  /** One answer. A line break can only be white space in it, since JSON escapes those of texts. */
  send(text: string): void {
    if (this.#options.output.writable) this.#write(lineOf(text), true);
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
    if (!this.#options.output.writable) return;
    for (const piece of pieces) this.#write(piece, true);
    this.#write('\n', true);
  }

  /**
   * What a server says, which came by `stream`. A notification is dropped while the client reads too slowly, but for the first of a stream: one
   * server does not take the room of all.
   */
  offer(text: string, kind: 'request' | 'notification', stream: object): void {
    const { output, maxStreamBufferBytes, maxBufferedBytes, onDrop } = this.#options;
    if (!output.writable) return;
    const own = this.#streamBytes.get(stream) ?? 0;
    const isLate = this.#waitingBytes > maxStreamBufferBytes && own > maxStreamBufferBytes / STREAMS;
    const isLost = kind === 'notification' && isLate;
    if (isLost || this.#waitingBytes + text.length + WRITE_BYTES > maxBufferedBytes) {
      onDrop();
      return;
    }
    this.#write(lineOf(text), false, kind === 'notification' ? stream : undefined);
  }

  /** Nothing more is read. */
  stop(): void {
    if (this.#over.signal.aborted) return;
    this.#over.abort();
    this.#unread.length = 0;
    this.#options.input.pause();
  }

  /** Until what was written has left, or the reader is gone: takes nothing of it for `FLUSH_MS`, or not all within that once `closing` says so. */
  async flushed(closing: AbortSignal | undefined): Promise<void> {
    const { output, clock } = this.#options;
    using writes = this.#writes;
    if (this.#stalled || !output.writable || output.writableLength === 0) return;
    const left = new Promise<void>((resolve) => {
      this.#onStalled = resolve;
      output.write('', () => resolve());
    });
    writes.shorten(FLUSH_MS);
    await within(left, { clock, signal: closing })
      .catch(() => within(left, { clock, timeoutMs: FLUSH_MS }))
      .catch(() => undefined);
  }

  #onData(chunk: Buffer): void {
    if (this.#over.signal.aborted) return;
    if (!this.#behind && this.#unread.length === 0) return void this.#reader.push(chunk);
    this.#unread.push(chunk);
    this.#unreadBytes += chunk.length + WRITE_BYTES;
    if (this.#unreadBytes > MAX_UNREAD_BYTES) this.#options.input.pause();
  }

  /** A chunk in a turn. */
  #readOn(): void {
    if (this.#behind) return;
    const chunk = this.#unread.shift();
    if (chunk === undefined) return;
    this.#unreadBytes -= chunk.length + WRITE_BYTES;
    this.#reader.push(chunk);
    if (this.#unread.length > 0) setImmediate(() => this.#readOn());
    else if (this.#ended) this.#end();
    if (this.#unreadBytes <= MAX_UNREAD_BYTES / 2 && !this.#over.signal.aborted) this.#options.input.resume();
  }

  #end(): void {
    if (this.#over.signal.aborted) return;
    this.#reader.end();
    this.stop();
  }

  #write(text: string | Uint8Array, isAnswer: boolean, stream?: object): void {
    const bytes = text.length + WRITE_BYTES;
    this.#count(bytes, isAnswer, stream);
    this.#writes.write(text, () => this.#count(-bytes, isAnswer, stream));
  }

  #count(bytes: number, isAnswer: boolean, stream: object | undefined): void {
    this.#waitingBytes += bytes;
    if (stream !== undefined) this.#streamBytes.set(stream, (this.#streamBytes.get(stream) ?? 0) + bytes);
    if (!isAnswer) return;
    this.#answerBytes += bytes;
    const { maxStreamBufferBytes } = this.#options;
    if (this.#answerBytes > maxStreamBufferBytes) this.#behind = true;
    else if (this.#behind && this.#answerBytes <= maxStreamBufferBytes / 2) {
      this.#behind = false;
      this.#readOn();
    }
  }
}

const lineOf = (text: string): string =>
  `${escapedSeparators(/[\r\n]/.test(text) ? text.replace(/[\r\n]+/g, ' ') : text)}\n`;

/** So many streams may fill the room of notifications; beyond it each has what is one's part. */
const STREAMS = 16;
/** Of a client that is behind with answers. */
const MAX_UNREAD_BYTES = 4 * 1_024 * 1_024;
const PIECE_BYTES = 256 * 1_024;
/** What one write that waits holds beside its text: small ones are mostly that. */
const WRITE_BYTES = 512;
/** What readers may take for the end of a line. */
const ENDS = ['\n', '\r', '\u2028', '\u2029', '\u0085'].map((each) => Buffer.from(each));

function onOneLine(piece: Buffer): Uint8Array {
  if (!ENDS.some((each) => piece.includes(each))) return piece;
  return Buffer.from(escapedSeparators(piece.toString('utf8').replace(/[\r\n]+/g, ' ')));
}

/** How long nothing of what was written may leave at the end. */
const FLUSH_MS = 2_000;
