const NEWLINE = 0x0a;
const COLON = 0x3a;
const COMMENT = Buffer.from('\n:');
const NOTHING = Buffer.alloc(0);

/** Takes the comments out of an event stream, chunk by chunk: lines that begin with a colon, of any length. */
export class CommentFilter {
  /** The last chunk ended within one. */
  #within = false;

  /** What of `bytes` is no comment, its line ends being line feeds; `lineStart`: a line begins with its first byte. */
  without(bytes: Buffer, lineStart: boolean): Buffer {
    const begins = lineStart && bytes[0] === COLON;
    if (!this.#within && !begins && !bytes.includes(COMMENT)) return bytes;
    const kept: Buffer[] = [];
    let comment = this.#within || begins;
    for (let at = 0; at < bytes.length; comment = !comment) {
      const found = comment ? bytes.indexOf(NEWLINE, at) : bytes.indexOf(COMMENT, at);
      const end = found < 0 ? bytes.length : found + 1;
      if (!comment) kept.push(bytes.subarray(at, end));
      this.#within = comment && found < 0;
      at = end;
      // The line behind a comment may be one, too.
      if (comment && bytes[at] === COLON && found >= 0) comment = false;
    }
    if (kept.length === 0) return NOTHING;
    // A copy: a few bytes must not keep a chunk of comments.
    return Buffer.concat(kept);
  }

  /** Another stream begins. */
  reset(): void {
    this.#within = false;
  }
}
