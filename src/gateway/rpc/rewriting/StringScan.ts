const QUOTE = 0x22;
const BACKSLASH = 0x5c;
/** So many bytes are looked at one by one before the next quote is searched for: many strings are short, and many escapes stand close. */
const NEAR_BYTES = 64;

/** Finds the ends of the strings of a JSON text that comes in pieces, however cut. */
export class StringScan {
  /** The last byte of the piece before was a backslash that does not stand for itself. */
  #escaped = false;

  /** The offset of the quote that ends the string which `from` stands in, or -1 when it is in a later piece. */
  endOf(piece: Buffer, from: number): number {
    let at = this.#escaped ? from + 1 : from;
    this.#escaped = false;
    for (;;) {
      for (const near = Math.min(at + NEAR_BYTES, piece.length); at < near; at++) {
        const byte = piece[at];
        if (byte === QUOTE) return at;
        if (byte === BACKSLASH) at++;
      }
      if (at >= piece.length) {
        this.#escaped = at > piece.length;
        return -1;
      }
      const quote = piece.indexOf(QUOTE, at);
      const end = quote < 0 ? piece.length : quote;
      let first = end;
      while (first > at && piece[first - 1] === BACKSLASH) first--;
      const escapes = (end - first) % 2 === 1;
      if (quote < 0) {
        this.#escaped = escapes;
        return -1;
      }
      if (!escapes) return quote;
      at = quote + 1;
    }
  }
}
