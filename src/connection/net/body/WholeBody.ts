import type { RawReply } from '../../channel/codec/envelope.js';
import { type LongMessage, SCAN_BYTES } from '../../channel/large/LongMessage.js';
import { ChunkRun } from './ChunkRun.js';
import type { Incoming, NoRoomError } from './IncomingBytes.js';

export interface LongReader {
  /** Whose share it counts to, where there is room for the answers of many. */
  readonly share?: string | undefined;
  /** Says how a body that has become long is read, of which `parts` came; undefined: as a whole. */
  onLong?(parts: readonly Buffer[]): LongMessage | undefined;
}

/** A body that is no larger counts for nothing, whatever there is room for: it is on its way in a read or two. */
export const SMALL_BYTES = 16 * 1024;
const EMPTY = Buffer.alloc(0);
/** Some servers write one before their JSON (.NET and PHP). */
const MARK = Buffer.from([0xef, 0xbb, 0xbf]);
const JOIN_CHUNKS = 1_024;
const JOIN_BYTES = 1024 * 1024;

/** The first chunk of a body, without a byte order mark. */
export const unmarked = (chunk: Buffer): Buffer =>
  chunk[0] === MARK[0] && chunk.subarray(0, MARK.length).equals(MARK) ? chunk.subarray(MARK.length) : chunk;

/**
 * The chunks of a body that is kept whole; most have one. Many small ones are joined as they come: each costs a hundred
 * bytes, and keeps the whole buffer that it was read into. What it holds counts as on its way until it is `landed`, if it is not small.
 */
export class WholeBody {
  /** What its reading costs. */
  readonly run = new ChunkRun();
  readonly #incoming: Incoming;
  readonly #reader: LongReader | undefined;
  /** Counted as on its way. */
  #coming = 0;
  #share: string | undefined;
  #first: Buffer | undefined;
  #more: Buffer[] | undefined;
  #bytes = 0;
  /** Chunks at the end of `#more` that may be joined, and their bytes. */
  #loose = 0;
  #looseBytes = 0;
  /** Of the buffers that they keep: a server may see to it that each has little of the body. */
  #keptBytes = 0;
  /** Once it is long, where that is of use; null: it is not. */
  #long: LongMessage | null | undefined;
  /** Of a long one that was taken out: what it is, and whether nothing of it was kept. */
  reply: RawReply | null | undefined;
  taken = false;

  constructor(incoming: Incoming, reader?: LongReader) {
    this.#incoming = incoming;
    this.#reader = reader;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** What it holds, in pieces. */
  get parts(): readonly Buffer[] {
    if (this.#long) return [this.#long.bytes];
    return this.#more ?? (this.#first === undefined ? [] : [this.#first]);
  }

  /** An error when there is no room for it among what is on its way. */
  push(chunk: Buffer): NoRoomError | undefined {
    this.#bytes += chunk.length;
    if (this.#long === undefined && this.#bytes >= SCAN_BYTES) this.#longNow();
    if (this.#long) this.#long.push(chunk);
    else this.#keep(chunk);
    // What was taken is not held.
    if (this.#long?.taken === true) {
      if (this.#coming > 0) this.landed();
      return undefined;
    }
    if (this.#bytes <= SMALL_BYTES) return undefined;
    const more = this.#coming === 0 ? this.#bytes : chunk.length;
    if (this.#coming === 0) this.#share = this.#reader?.share;
    this.#coming += more;
    return this.#incoming.change(more, this.#share);
  }

  /** Of a long one that is looked at: whether nothing is missing of it, if it is a reply with a result. */
  get whole(): boolean {
    return this.#long?.whole === true;
  }

  /** Whether nothing of it is kept. */
  get isTaken(): boolean {
    return this.#long?.taken === true;
  }

  /** Its response is over: it is not on its way any more. */
  landed(): void {
    if (this.#coming === 0) return;
    this.#incoming.change(-this.#coming, this.#share);
    this.#coming = 0;
  }

  #longNow(): void {
    this.#long = this.#reader?.onLong?.(this.parts) ?? null;
    if (this.#long === null) return;
    this.#drop();
  }

  #keep(chunk: Buffer): void {
    if (this.#first === undefined) {
      this.#first = chunk;
      return;
    }
    this.#more ??= [this.#first];
    this.#more.push(chunk);
    const { buffer } = chunk;
    if (this.#more.at(-2)?.buffer !== buffer) this.#keptBytes += buffer.byteLength;
    this.#looseBytes += chunk.length;
    if (++this.#loose < JOIN_CHUNKS && this.#keptBytes < JOIN_BYTES) return;
    if (this.#looseBytes < JOIN_BYTES / 2) this.#more.push(Buffer.concat(this.#more.splice(-this.#loose)));
    this.#loose = 0;
    this.#looseBytes = 0;
    this.#keptBytes = 0;
  }

  /** All of one that does not become long, which it goes on holding. */
  join(): Buffer {
    if (this.#long) return this.#long.bytes;
    if (this.#more !== undefined) {
      this.#first = Buffer.concat(this.#more, this.#bytes);
      this.#more = undefined;
      this.#loose = 0;
      this.#looseBytes = 0;
      this.#keptBytes = 0;
    }
    return this.#first ?? EMPTY;
  }

  /** All of it; it holds nothing afterwards. */
  take(): Buffer {
    if (this.#long) {
      const long = this.#long;
      this.reply = long.end();
      this.taken = long.taken;
      this.clear();
      return long.bytes;
    }
    const body = this.join();
    this.clear();
    return body;
  }

  clear(): void {
    this.#drop();
    this.#bytes = 0;
    this.#long = undefined;
  }

  #drop(): void {
    this.#first = undefined;
    this.#more = undefined;
    this.#loose = 0;
    this.#looseBytes = 0;
    this.#keptBytes = 0;
  }
}
