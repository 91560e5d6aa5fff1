const ESCAPE = 0x1b;
const BELL = 0x07;
export const OPEN_BRACE = 0x7b;
export const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;

const RETURN = 0x0d;
/** How an event stream begins its lines: some servers write one to their output. */
const DATA = Buffer.from('data:');

/**
 * The part of a line that may be a message: without a byte order mark (.NET and PowerShell write one first), without
 * terminal sequences at its ends (titles and colours of wrappers), without what stands before a carriage return (progress that
 * writes over itself: a message has none), and without `data:`. Undefined when it cannot be one, found without
 * parsing: a flood of such lines must cost little.
 */
export function messageIn(line: Buffer): Buffer | undefined {
  let start = skipBlank(line, line[0] === 0xef && line[1] === 0xbb && line[2] === 0xbf ? 3 : 0);
  if (line[start] !== OPEN_BRACE && line[start] !== OPEN_BRACKET) {
    let end = line.length;
    while ((line[end - 1] ?? OPEN_BRACE) <= 0x20) end--;
    start = skipBlank(line, Math.max(start, line.subarray(0, end).lastIndexOf(RETURN) + 1));
    if (line.subarray(start, start + DATA.length).equals(DATA)) start = skipBlank(line, start + DATA.length);
  }
  if (line[start] !== OPEN_BRACE && line[start] !== OPEN_BRACKET) return undefined;
  const close = line[start] === OPEN_BRACE ? CLOSE_BRACE : 0x5d;
  let end = line.length;
  if (line[end - 1] !== close) {
    // Something stands behind it: sequences and blanks are passed over, anything else makes it no JSON, which the parser says.
    const last = line.lastIndexOf(close) + 1;
    if (last > start && onlySequences(line, last)) end = last;
  }
  return start === 0 && end === line.length ? line : line.subarray(start, end);
}

/** The offset behind blanks and sequences. */
function skipBlank(line: Buffer, from: number): number {
  let at = from;
  for (let byte = line[at]; byte !== undefined && byte <= 0x20; byte = line[at]) {
    at = byte === ESCAPE ? skipSequence(line, at) : at + 1;
  }
  return at;
}

function onlySequences(line: Buffer, from: number): boolean {
  let at = from;
  while (at < line.length) {
    const byte = line[at] as number;
    if (byte > 0x20) return false;
    at = byte === ESCAPE ? skipSequence(line, at) : at + 1;
  }
  return true;
}

/** The offset behind the terminal sequence at `from` (ECMA-48: OSC, CSI, or two characters). */
function skipSequence(line: Buffer, from: number): number {
  const kind = line[from + 1];
  let at = from + 2;
  if (kind === 0x5d) {
    for (; at < line.length; at++) {
      if (line[at] === BELL) return at + 1;
      if (line[at] === ESCAPE) return at + 2;
    }
    return at;
  }
  if (kind === 0x5b) {
    while (at < line.length && ((line[at] as number) < 0x40 || (line[at] as number) > 0x7e)) at++;
    return at + 1;
  }
  return at;
}
