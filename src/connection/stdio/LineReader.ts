import type { RawReply } from '../channel/codec/envelope.js';
import { LongMessage, SCAN_BYTES, type TakeLong } from '../channel/large/LongMessage.js';
import { EDGE_BYTES, MessageEdges } from '../channel/unread/MessageEdges.js';
import type { UnfinishedLine } from '../channel/unread/UnfinishedLine.js';

/** What a reader hands on. */
export interface LineSink {
  /**
   * One line without its end, in bytes that stay valid. `reply`: what a line is that was looked at while it came, `null` when it
   * is no reply with a result; undefined of one that was not.
   */
  onLine(line: Buffer, reply?: RawReply | null): void;
  /** A line over the cap, not kept. */
  onOversized(edges: MessageEdges): void;
  /** A line has become long, and is looked at: what takes it in place of `onLine`. */
  readonly onLong?: TakeLong;
}

export interface LineReaderOptions {
  /** Whether a long line that begins now is looked at while it comes. @defaultValue none is */
  readonly scan?: () => boolean;
}

const NONE = Buffer.alloc(0);
const NEWLINE = 0x0a;
const RETURN = 0x0d;

/**
 * Cuts a byte stream into lines. Chunks of an unfinished line are kept in a list and joined once, when its end comes:
 * a line of n bytes costs O(n) however it is cut. Cutting at bytes never splits a character.
 */
export class LineReader {
  readonly #maxBytes: number;
  readonly #sink: LineSink;
  readonly #scan: () => boolean;
  #long: LongMessage | undefined;
  #chunks: Buffer[] = [];
  #bytes = 0;
  #count = 0;
  /** Lines that may still be read. */
  #left = 0;
  /** While a line over the cap is passed over. */
  #edges: MessageEdges | undefined;

  constructor(maxBytes: number, sink: LineSink, { scan = () => false }: LineReaderOptions = {}) {
    this.#maxBytes = maxBytes;
    this.#sink = sink;
    this.#scan = scan;
  }

  /** Bytes kept of the line that is not finished yet. */
  get pendingBytes(): number {
    if (this.#long?.taken === true) return 0;
    return this.#edges === undefined ? this.#bytes : this.#edges.head.length + this.#edges.tail.length;
  }

  /** The line that is not finished yet, unless it is taken. */
  get unfinished(): UnfinishedLine | undefined {
    if (this.#bytes === 0 || this.#long?.taken === true) return undefined;
    const head = this.#edges?.head ?? this.#long?.bytes ?? this.#chunks[0] ?? NONE;
    return { head: head.subarray(0, EDGE_BYTES), bytes: this.#bytes };
  }

  /** Lines that ended since it was asked last. */
  takeCount(): number {
    const count = this.#count;
    this.#count = 0;
    return count;
  }

  /** Reads `chunk`, or its first `maxLines` lines; how many bytes of it were read. */
  push(chunk: Buffer, maxLines = Number.POSITIVE_INFINITY): number {
    let start = 0;
    this.#left = maxLines;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      if (this.#left-- <= 0) return start;
      this.#count++;
      if (this.#bytes === 0 && end - start <= this.#maxBytes) this.#emit(chunk, start, end);
      else this.#finish(chunk.subarray(start, end));
      start = end + 1;
    }
    if (start < chunk.length) this.#keep(start === 0 ? chunk : chunk.subarray(start));
    return chunk.length;
  }

  /** The line being read is the last of this `push`. */
  stop(): void {
    this.#left = 0;
  }

  /** Hands on what stands without a line end, when nothing more can come. */
  end(): void {
    // Of a message that was taken while it came a part may be missing: its call is told how the stream ended.
    if (this.#long?.taken === true && !this.#long.whole) return;
    if (this.#bytes > 0) this.#finish(Buffer.alloc(0));
  }

  #keep(part: Buffer): void {
    this.#bytes += part.length;
    if (this.#long?.taken === true) {
      this.#long.push(part);
      return;
    }
    if (this.#edges !== undefined) {
      this.#edges.push(part);
      return;
    }
    if (this.#bytes <= this.#maxBytes) {
      if (this.#long !== undefined) this.#long.push(part);
      else {
        this.#chunks.push(part);
        if (this.#bytes >= SCAN_BYTES) {
          this.#long = new LongMessage(this.#chunks, this.#scan(), this.#sink.onLong);
          this.#chunks = [];
        }
      }
      return;
    }
    this.#edges = new MessageEdges(this.#long === undefined ? this.#chunks : [this.#long.bytes]);
    this.#edges.push(part);
    this.#chunks = [];
    this.#long = undefined;
  }

  #finish(part: Buffer): void {
    if (part.length > 0) this.#keep(part);
    const [bytes, edges, chunks, long] = [this.#bytes, this.#edges, this.#chunks, this.#long];
    this.#long = undefined;
    this.#bytes = 0;
    this.#edges = undefined;
    this.#chunks = [];
    if (edges !== undefined) {
      this.#sink.onOversized(edges);
      return;
    }
    if (long !== undefined) {
      const reply = long.end();
      // It may be longer than what came: what is no UTF-8 was replaced.
      if (!long.taken) this.#emit(long.bytes, 0, long.bytes.length, reply);
      return;
    }
    const line = chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks, bytes);
    this.#emit(line, 0, line.length);
  }

  #emit(bytes: Buffer, start: number, end: number, reply?: RawReply | null): void {
    const stop = end > start && bytes[end - 1] === RETURN ? end - 1 : end;
    if (stop > start) this.#sink.onLine(bytes.subarray(start, stop), reply);
  }
}
