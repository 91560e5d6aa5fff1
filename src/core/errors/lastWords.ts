/** What hides the line that matters: stack frames, code frames and their carets, Node's own version line, closing braces. */
const NOISE =
  /^(?:at .*|\^+|~+|[{}\])]+[,;]?|-+|Node\.js v\d[\w.-]*|node:[\w/]+:\d+|(?:file:\/\/)?\S+:\d+(?::\d+)?|\[eval\]:\d+)$/;
/** A line that names an error: `TypeError: …`, `foo.BarException: …`, `Error [ERR_X]: …`, `Fatal: …`. */
const NAMES_ERROR =
  /^\s*(?:Uncaught\s+)?(?:[\w.]*(?:Error|Exception)(?:\s*\[[\w ]+\])?|fatal(?: error)?|panic|error)\s*:\s*\S/i;
/**
 * Sequences of a terminal: CSI with its parameters, OSC up to its end, and what ESC has behind it. One step a character, whatever a program writes:
 * `stripVTControlCharacters` takes the square of the length for some.
 */
const SEQUENCES =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  /(?:\u001b\[|\u009b)[0-?]*[ -/]*[@-~]?|\u001b\][^\u0007\u001b\u009c]*(?:\u0007|\u001b\\|\u009c)?|\u001b[ -/]*[0-~]?/g;
/** Longest part of a line that goes into a message. */
const MAX_LENGTH = 300;

/**
 * The line of a program's stderr that says why it ended: the last that names an error, else the last that is neither a
 * stack frame nor another noise. Undefined when there is none.
 */
export function lastWords(lines: readonly string[]): string | undefined {
  const clean = lines.map((line) => plainText(line).trim()).filter((line) => line !== '' && !NOISE.test(line));
  return clean.findLast((line) => NAMES_ERROR.test(line)) ?? clean.at(-1);
}

/** Text of a foreign program as a message may carry it: no terminal sequences, no control characters, bounded. */
export function plainText(text: string): string {
  const plain = text.replace(SEQUENCES, '').replace(/\p{Cc}+/gu, ' ');
  return plain.length > MAX_LENGTH ? `${plain.slice(0, MAX_LENGTH - 1)}…` : plain;
}
