import type { RE2JS } from 're2js';
import { inTurn } from '../../core/time/turns.js';

/** A text that has more characters is gone through part by part. */
export const LONG_CHARS = 64 * 1_024;
/** What one step looks through beyond what came before: to replace takes up to 0.3 µs a character. */
const PART_CHARS = 16 * 1_024;
/** A match that has not ended after so many characters is taken to go on to the end of the text. */
const MAX_MATCH_CHARS = 128 * 1_024;

/** What stands in place of a match. */
type Replace = (said: string) => string;

/**
 * A long text with what matches replaced, each part of it in a turn of the event loop. As for the whole, but a match that has to be seen
 * to its end to be one, and that is longer than a part, may not be seen: `BEGIN[^!]*END` with 16,384 characters between the two.
 */
export async function replacedInTurns(text: string, pattern: RE2JS, replace: Replace): Promise<string> {
  const parts: string[] = [];
  let same = true;
  const told = (said: string): string => {
    same = false;
    return replace(said);
  };
  for (let at = 0; at < text.length; ) at = await inTurn(() => replacedPart(text, at, pattern, told, parts));
  return same ? text : parts.join('');
}

/** Puts the next part into `parts`; gives where the one behind it begins. */
function replacedPart(text: string, at: number, pattern: RE2JS, replace: Replace, parts: string[]): number {
  // A pattern may look at the character before.
  const from = Math.max(0, at - 1);
  const edge = edgeOf(text, at + PART_CHARS);
  for (let size = 2 * PART_CHARS; ; size *= 2) {
    const to = edgeOf(text, at + size);
    const window = text.slice(from, to);
    const done = parts.length;
    let kept = at;
    let open = false;
    const matcher = pattern.matcher(window);
    for (let found = pattern.test(window) && matcher.find(at - from); found; found = matcher.find()) {
      const [start, end] = [from + matcher.start(), from + matcher.end()];
      if (start >= edge && to < text.length) break;
      open = end === to && to < text.length;
      // With more of the text it may be longer, or none.
      if (open && size < MAX_MATCH_CHARS) break;
      parts.push(text.slice(kept, start), replace(text.slice(start, end)));
      if (open) return text.length;
      kept = end;
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
