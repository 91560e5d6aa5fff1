import { isUtf8 } from 'node:buffer';
import type { RawReply } from '../channel/codec/envelope.js';
import type { ReplyScan } from '../channel/codec/ReplyScan.js';

/** A buffer that is full is followed by one of so many times its size: what is not written yet takes no memory. */
const GROWTH = 4;

/**
 * A line that is large, and not at its end. Each piece is copied to its place, and looked at, when it comes: the whole is never
 * joined or read at once, which for 50 MB would keep the event loop from everything else for a tenth of a second.
 */
export class LongLine {
  readonly #scan: ReplyScan | undefined;
  #buffer: Buffer;
  #length = 0;

  /** `scan` has read `parts`, with which it begins. */
  constructor(parts: readonly Buffer[], scan: ReplyScan | undefined) {
    this.#scan = scan;
    this.#buffer = Buffer.allocUnsafeSlow(GROWTH * parts.reduce((sum, part) => sum + part.length, 0));
    for (const part of parts) this.#copy(part);
  }

  get bytes(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  push(part: Buffer): void {
    this.#copy(part);
    this.#scan?.push(part);
  }

  /** What it is, now that it is whole: `null` when it is no reply with a result; undefined when it was not looked at. */
  reply(): RawReply | null | undefined {
    if (this.#scan === undefined) return undefined;
    const reply = this.#scan.end();
    // Bytes that are no UTF-8 are read by the parser, which puts replacement characters in their place.
    return reply !== undefined && isUtf8(this.bytes) ? reply : null;
  }

  #copy(part: Buffer): void {
    if (this.#length + part.length > this.#buffer.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(this.#buffer.length, part.length) * GROWTH);
      this.#buffer.copy(grown, 0, 0, this.#length);
      this.#buffer = grown;
    }
    part.copy(this.#buffer, this.#length);
    this.#length += part.length;
  }
}
