import { isUtf8 } from 'node:buffer';

const NONE = Buffer.alloc(0);

/** Bytes that come in pieces, as pieces of whole characters; what is no UTF-8 in them is replaced as a decoder would. */
export class Utf8Pieces {
  /** The beginning of a character whose end is missing. */
  #rest = NONE;

  push(part: Buffer): Buffer {
    const bytes = this.#rest.length === 0 ? part : Buffer.concat([this.#rest, part]);
    const end = wholeEnd(bytes);
    this.#rest = end === bytes.length ? NONE : Buffer.from(bytes.subarray(end));
    return proper(bytes.subarray(0, end));
  }

  /** The bytes of a character whose end is missing, which goes on elsewhere. */
  takeRest(): Buffer {
    const rest = this.#rest;
    this.#rest = NONE;
    return rest;
  }

  /** What is left when nothing more comes. */
  end(): Buffer {
    return proper(this.#rest);
  }
}

const proper = (bytes: Buffer): Buffer => (isUtf8(bytes) ? bytes : Buffer.from(bytes.toString('utf8')));

/** Where the last character ends that is whole. */
function wholeEnd(bytes: Buffer): number {
  for (let back = 1; back <= 3 && back <= bytes.length; back++) {
    const byte = bytes[bytes.length - back] as number;
    if (byte < 0x80) break;
    // The rest of a character goes on to its first byte, which says how many there are.
    if (byte < 0xc0) continue;
    const length = byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
    return length > back ? bytes.length - back : bytes.length;
  }
  return bytes.length;
}
