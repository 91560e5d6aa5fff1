import { isUtf8 } from 'node:buffer';
import { utf8Text } from './utf8Text.js';

/** What stands for bytes that are no UTF-8, and may stand there itself. */
const REPLACED = '\uFFFD';
const MARK = 0xfeff;

/** A text without the mark (BOM) that some programs put before it. */
export const withoutMark = (text: string): string => (text.charCodeAt(0) === MARK ? text.slice(1) : text);

/** The text of UTF-8, without its mark; undefined for other bytes, some of which would become other characters without a word. */
export function strictText(bytes: Buffer): string | undefined {
  const text = utf8Text(bytes);
  // Nearly no text holds one: the bytes are looked at only then.
  return text.includes(REPLACED) && !isUtf8(bytes) ? undefined : withoutMark(text);
}
