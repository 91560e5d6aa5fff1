import type { RawReply } from '../codec/envelope.js';
import { ReplyScan } from '../codec/ReplyScan.js';
import { Utf8Pieces } from './Utf8Pieces.js';

/** From this size on a message that is not at its end is looked at while it comes: what came before is looked at in one turn. */
export const SCAN_BYTES = 128 * 1_024;
/** From this size on it is long: it may be taken in pieces. */
export const LONG_BYTES = 1_024 * 1_024;
/** A buffer that is full is followed by one of so many times its size: what is not written yet takes no memory. */
const GROWTH = 4;
/** What takes it gets what came so far in parts of this size. */
const PART_BYTES = 64 * 1_024;
const NONE = Buffer.alloc(0);

/** What takes a message in pieces, so that it is not kept. How long it becomes is its own business. */
export interface LongTaker {
  push(part: Buffer): void;
  /** The message is at its end. */
  end(): void;
}

/** Asked for what takes a message that begins with `parts`, which `scan` has read; undefined when it is to be kept. */
export type TakeLong = (parts: readonly Buffer[], scan: ReplyScan) => LongTaker | undefined;

/**
 * A message that is large, or may become so, and not at its end. Each piece is looked at when it comes, and taken, or copied to its place: the whole is
 * never joined or read at once, which for 50 MB would keep the event loop from everything else for a tenth of a second. What is no UTF-8 in it is replaced
 * as it comes: for as much it would be a second.
 */
export class LongMessage {
  /** Undefined when it is not looked at. */
  readonly #scan: ReplyScan | undefined;
  /** Not asked yet. */
  #take: TakeLong | undefined;
  #taker: LongTaker | undefined;
  readonly #utf8 = new Utf8Pieces();
  #buffer = NONE;
  #length = 0;

  /** `parts`: what came so far. */
  constructor(parts: readonly Buffer[], scans: boolean, take?: TakeLong) {
    if (scans) {
      this.#scan = new ReplyScan();
      this.#take = take;
    }
    this.#buffer = Buffer.allocUnsafeSlow(GROWTH * parts.reduce((sum, part) => sum + part.length, 0));
    for (const part of parts) this.#keep(this.#utf8.push(part));
    this.#ask();
  }

  /** Whether it is taken, and nothing of it kept. */
  get taken(): boolean {
    return this.#taker !== undefined;
  }

  /** Of one that is looked at: whether nothing is missing of it, if it is a reply with a result. */
  get whole(): boolean {
    return this.#scan?.done === true;
  }

  /** What is kept of it. */
  get bytes(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  push(part: Buffer): void {
    if (this.#taker !== undefined) {
      this.#taker.push(part);
      return;
    }
    this.#keep(this.#utf8.push(part));
    this.#ask();
  }

  /** It is whole: what it is, `null` when it is no reply with a result, undefined when it was not looked at, or was taken. */
  end(): RawReply | null | undefined {
    this.#taker?.end();
    if (this.#taker !== undefined) return undefined;
    this.#keep(this.#utf8.end());
    return this.#scan === undefined ? undefined : (this.#scan.end() ?? null);
  }

  /** Once it is long. What takes it has all that came of it. */
  #ask(): void {
    if (this.#take === undefined || this.#scan === undefined || this.#length < LONG_BYTES) return;
    const parts: Buffer[] = [];
    // What stands before a result is not kept with it.
    const apart = (this.#scan.begun?.start ?? 0) > PART_BYTES;
    for (let at = 0; at < this.#length; at += PART_BYTES) {
      const part = this.#buffer.subarray(at, Math.min(at + PART_BYTES, this.#length));
      parts.push(apart ? Buffer.from(part) : part);
    }
    this.#taker = this.#take(parts, this.#scan);
    this.#take = undefined;
    if (this.#taker === undefined) return;
    this.#buffer = NONE;
    this.#length = 0;
    const rest = this.#utf8.takeRest();
    if (rest.length > 0) this.#taker.push(rest);
  }

  #keep(part: Buffer): void {
    if (part.length === 0) return;
    this.#scan?.push(part);
    if (this.#length + part.length > this.#buffer.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(this.#buffer.length, part.length) * GROWTH);
      this.#buffer.copy(grown, 0, 0, this.#length);
      this.#buffer = grown;
    }
    part.copy(this.#buffer, this.#length);
    this.#length += part.length;
  }
}
