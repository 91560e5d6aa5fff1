const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const LITERALS = [Buffer.from('true'), Buffer.from('false'), Buffer.from('null')];
/** What a backslash may stand before, `u` aside (RFC 8259, section 7). */
const ESCAPES = new Uint8Array(256);
for (const char of '"\\/bfnrt') ESCAPES[char.charCodeAt(0)] = 1;

export function skipSpace(line: Buffer, from: number): number {
  let at = from;
  for (let byte = line[at]; byte === 0x20 || byte === 0x09 || byte === 0x0a || byte === 0x0d; byte = line[at]) at++;
  return at;
}

/** The offset behind the string that opens at `from`, or -1 when it is none: no end, a control character, an escape that is none. */
export function skipString(line: Buffer, from: number): number {
  let at = from + 1;
  for (; at < line.length; at++) {
    const byte = line[at] as number;
    if (byte === QUOTE) return at + 1;
    if (byte < 0x20) return -1;
    if (byte !== BACKSLASH) continue;
    const escaped = line[++at];
    if (escaped === 0x75) {
      for (let digits = 0; digits < 4; digits++) if (!isHex(line[++at])) return -1;
    } else if (escaped === undefined || ESCAPES[escaped] !== 1) return -1;
  }
  return -1;
}

/**
 * The offset behind the JSON value that begins at `from`, or -1 when what stands there is none. It checks all of RFC 8259
 * but the encoding, in one pass over the bytes, and makes nothing of them.
 */
export function skipJson(line: Buffer, from: number): number {
  /** The closing byte of each value that is open. */
  const open: number[] = [];
  let at = from;
  for (;;) {
    const byte = line[at];
    if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
      const close = byte === OPEN_BRACE ? CLOSE_BRACE : CLOSE_BRACKET;
      at = skipSpace(line, at + 1);
      if (line[at] !== close) {
        open.push(close);
        if (close === CLOSE_BRACE) at = skipKey(line, at);
        if (at < 0) return -1;
        continue;
      }
      at++;
    } else {
      at = byte === QUOTE ? skipString(line, at) : skipAtom(line, at);
      if (at < 0) return -1;
    }
    // A value has ended: what it stands in goes on or ends too.
    for (;;) {
      if (open.length === 0) return at;
      at = skipSpace(line, at);
      const close = open[open.length - 1];
      if (line[at] === COMMA) {
        at = skipSpace(line, at + 1);
        if (close === CLOSE_BRACE) at = skipKey(line, at);
        if (at < 0) return -1;
        break;
      }
      if (line[at] !== close) return -1;
      open.pop();
      at++;
    }
  }
}

/** The offset of the value behind a key and its colon, or -1. */
function skipKey(line: Buffer, from: number): number {
  if (line[from] !== QUOTE) return -1;
  const end = skipString(line, from);
  if (end < 0) return -1;
  const colon = skipSpace(line, end);
  return line[colon] === COLON ? skipSpace(line, colon + 1) : -1;
}

/** The offset behind a number, `true`, `false` or `null`, or -1. */
function skipAtom(line: Buffer, from: number): number {
  const byte = line[from];
  if (byte === 0x2d || isDigit(byte)) return skipNumber(line, from);
  const literal = LITERALS.find((each) => each[0] === byte);
  if (literal === undefined) return -1;
  const end = from + literal.length;
  return end <= line.length && literal.compare(line, from, end) === 0 ? end : -1;
}

function skipNumber(line: Buffer, from: number): number {
  let at = line[from] === 0x2d ? from + 1 : from;
  if (line[at] === 0x30) at++;
  else at = skipDigits(line, at);
  if (at >= 0 && line[at] === 0x2e) at = skipDigits(line, at + 1);
  if (at >= 0 && (line[at] === 0x65 || line[at] === 0x45)) {
    const sign = line[at + 1] === 0x2b || line[at + 1] === 0x2d ? 1 : 0;
    at = skipDigits(line, at + 1 + sign);
  }
  return at;
}

/** The offset behind one digit or more, or -1. */
function skipDigits(line: Buffer, from: number): number {
  let at = from;
  while (isDigit(line[at])) at++;
  return at > from ? at : -1;
}

export function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x30 && byte <= 0x39;
}

function isHex(byte: number | undefined): boolean {
  return isDigit(byte) || (byte !== undefined && (byte | 0x20) >= 0x61 && (byte | 0x20) <= 0x66);
}

/** Behind the digits at `from`, in an array behind those of all integers that follow closely, too, but for zeros. */
export function endOfIntegers(bytes: Uint8Array, from: number, inArray: boolean): number {
  for (let at = from; ; at++) {
    const byte = bytes[at];
    if (byte === undefined) return at;
    if (isDigit(byte)) continue;
    const next = byte === COMMA && inArray ? bytes[at + 1] : undefined;
    if (next === undefined || next === 0x30 || !isDigit(next)) return at;
  }
}
