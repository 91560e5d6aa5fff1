import { createHash } from 'node:crypto';

/**
 * The beginning of a text, in memory of its own. V8 makes of a slice a view of the whole text: who keeps a name of 1,000
 * characters that was cut from one of 4 MB keeps the 4 MB.
 */
export function ownText(text: string, maxChars: number): string {
  return text.length <= maxChars ? text : Buffer.from(text.slice(0, maxChars), 'utf16le').toString('utf16le');
}

/** A key of a table that a peer's text names has no more characters. */
const MAX_KEY_CHARS = 1_024;

/** What stands for a peer's text as the key of a table: the text itself, of a long one its digest. */
export function keyText(text: string): string {
  if (text.length <= MAX_KEY_CHARS) return text;
  return `sha256:${createHash('sha256').update(text, 'utf16le').digest('base64url')}`;
}
