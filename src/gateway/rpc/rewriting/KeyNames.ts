import { keyOf } from '../../../connection/channel/codec/members.js';

const BACKSLASH = 0x5c;
/** Longer names count as ones of this length. */
const LONG = 31;

/** Names that are looked for among the keys of a JSON text: most keys are known to be none of them without being read. */
export class KeyNames {
  /** A bit for each length in bytes. */
  #lengths = 0;
  #shortest = Number.POSITIVE_INFINITY;

  constructor(names: Iterable<string>) {
    for (const name of names) {
      const bytes = Buffer.byteLength(name);
      this.#lengths |= 1 << Math.min(bytes, LONG);
      this.#shortest = Math.min(this.#shortest, bytes);
    }
  }

  /** Whether the key between two quotes may be one of them; where it has backslashes it is longer than what it stands for. */
  mayBe(piece: Buffer, from: number, end: number): boolean {
    const bytes = end - from;
    if (bytes < this.#shortest) return false;
    if ((this.#lengths & (1 << Math.min(bytes, LONG))) !== 0) return true;
    for (let at = from; at < end; at++) if (piece[at] === BACKSLASH) return true;
    return false;
  }
}

/** The key that stands in these bytes, quotes included, with what backslashes stand for in it. */
export function keyIn(bytes: Buffer, from = 0, end = bytes.length): string {
  const text = bytes.toString('utf8', from, end);
  return keyOf(text, 0, text.length);
}
