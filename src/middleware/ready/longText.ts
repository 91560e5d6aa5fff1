import type { RE2JS } from 're2js';
import { inSlices } from '../../core/time/inSlices.js';
import { inTurn } from '../../core/time/turns.js';

/** A text that has more characters is gone through part by part. */
export const LONG_CHARS = 64 * 1_024;
/** What is replaced in one step: so many characters by one pattern. Where much of a text matches, one takes up to 7 µs. */
export const STEP_CHARS = 4 * 1_024;
/** What is looked through at a time of a long text, beyond what came before. */
const PART_CHARS = 16 * 1_024;
/** A match that has not ended after so many characters is taken to go on to the end of the text. */
const MAX_MATCH_CHARS = 128 * 1_024;

/** What stands in place of a match: with what stands around it, which is `at` characters before it. */
type Replace = (said: string, around: string, at: number) => string;

/**
 * A text with what matches replaced, in turns of the event loop: each match is a step, with a look at the clock behind it. As for the whole; but in
 * a long text a match that has to be seen to its end to be one, and that is longer than a part, may not be seen: `BEGIN[^!]*END` with
 * 16,384 characters between the two.
 */
export async function replacedInTurns(text: string, pattern: RE2JS, replace: Replace): Promise<string> {
  const parts: string[] = [];
  let same = true;
  const told: Replace = (...match) => {
    same = false;
    return replace(...match);
  };
  const steps = replacing(text, pattern, told, parts);
  await inSlices(() => steps.next().done === true, 1);
  return same ? text : parts.join('');
}

function* replacing(text: string, pattern: RE2JS, replace: Replace, parts: string[]): Generator<undefined, void> {
  for (let at = 0; at < text.length; ) at = yield* replacedPart(text, at, pattern, replace, parts);
}

/** Puts the next part into `parts`; gives where the one behind it begins. */
function* replacedPart(
  text: string,
  at: number,
  pattern: RE2JS,
  replace: Replace,
  parts: string[],
): Generator<undefined, number> {
  // A pattern may look at the character before.
  const from = Math.max(0, at - 1);
  const edge = edgeOf(text, at + PART_CHARS);
  for (let size = 2 * PART_CHARS; ; size *= 2) {
    const to = text.length - at <= LONG_CHARS ? text.length : edgeOf(text, at + size);
    const window = text.slice(from, to);
    const done = parts.length;
    let kept = at;
    let open = false;
    const matcher = pattern.matcher(window);
    const any = pattern.test(window);
    yield;
    for (let found = any && matcher.find(at - from); found; found = matcher.find()) {
      const [start, end] = [from + matcher.start(), from + matcher.end()];
      if (start >= edge && to < text.length) break;
      open = end === to && to < text.length;
      // With more of the text it may be longer, or none.
      if (open && size < MAX_MATCH_CHARS) break;
      const before = Math.max(0, start - 1);
      parts.push(text.slice(kept, start), replace(text.slice(start, end), text.slice(before, end + 1), start - before));
      if (open) return text.length;
      kept = end;
      yield;
    }
    if (open) {
      parts.length = done;
      continue;
    }
    const next = to === text.length ? to : Math.max(edge, kept);
    parts.push(text.slice(kept, next));
    return next;
  }
}

/** A step of decoding or encoding. */
const STEP = 256 * 1_024;

/** The text of bytes in UTF-8, decoded in turns of the event loop. */
export async function decodedInTurns(bytes: Uint8Array): Promise<string> {
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  const parts: string[] = [];
  for (let at = 0; at < bytes.length; at += STEP) {
    const step = (): string => decoder.decode(bytes.subarray(at, at + STEP), { stream: true });
    parts.push(await inTurn(step));
  }
  parts.push(decoder.decode());
  return parts.join('');
}

/** The other way. */
export async function encodedInTurns(text: string): Promise<Buffer> {
  const bytes = Buffer.allocUnsafeSlow(Buffer.byteLength(text));
  let length = 0;
  for (let at = 0; at < text.length; ) {
    const end = edgeOf(text, at + STEP);
    const part = text.slice(at, end);
    length += await inTurn(() => bytes.write(part, length));
    at = end;
  }
  return bytes;
}

/** So far, or one further where a character of two halves would be cut. */
function edgeOf(text: string, at: number): number {
  if (at >= text.length) return text.length;
  const code = text.charCodeAt(at);
  return code >= 0xdc00 && code < 0xe000 ? at + 1 : at;
}

/** The longest escape, but for its last character. */
const ESCAPE_CHARS = 5;
const ESCAPE = /\\(?:u([0-9a-f]{4})|(["\\/]))/gi;

/** A text with what JSON escapes in it read, where that is told by a code, a quote, a backslash or a slash. */
export async function unescapedInTurns(text: string): Promise<string> {
  if (!text.includes('\\')) return text;
  const read: string[] = [];
  let at = 0;
  await inSlices(() => {
    let taken = 0;
    const piece = text
      .slice(at, at + STEP_CHARS)
      .replace(ESCAPE, (found, hex: string | undefined, char: string, from: number) => {
        taken = from + found.length;
        return hex === undefined ? char : String.fromCharCode(Number.parseInt(hex, 16));
      });
    const last = Math.min(at + STEP_CHARS, text.length);
    // One that is cut is read in the next step.
    const cut = last < text.length ? text.indexOf('\\', Math.max(at + taken, last - ESCAPE_CHARS)) : -1;
    const rest = cut < 0 || cut >= last ? 0 : last - cut;
    read.push(rest === 0 ? piece : piece.slice(0, -rest));
    at = last - rest;
    return at === text.length;
  }, 1);
  return read.join('');
}
