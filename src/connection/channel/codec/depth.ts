import { bytesOf, endOfString } from './parsingCost.js';

/** Levels that a notification or a request of a server may be nested: many functions call themselves once for each. */
export const MAX_DEPTH = 512;

const QUOTE = 0x22;
const OPENING: readonly (readonly [number, string])[] = [
  [0x5b, '['],
  [0x7b, '{'],
];

/** Whether a JSON text is nested deeper than `MAX_DEPTH`. Of a text with few brackets each is found by a search, not by a look at each byte. */
export function isDeep(text: string | Uint8Array): boolean {
  // Each level takes two brackets.
  if (text.length <= 2 * MAX_DEPTH || !hasMany(text)) return false;
  const bytes = typeof text === 'string' ? bytesOf(text) : Buffer.from(text.buffer, text.byteOffset, text.byteLength);
  let depth = 0;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at];
    if (byte === QUOTE) at = endOfString(bytes, at);
    else if (byte === 0x5b || byte === 0x7b) {
      if (++depth > MAX_DEPTH) return true;
    } else if (byte === 0x5d || byte === 0x7d) depth--;
  }
  return false;
}

/** Whether more than `MAX_DEPTH` brackets are opened, those in strings among them. */
function hasMany(text: string | Uint8Array): boolean {
  let count = 0;
  for (const [byte, character] of OPENING) {
    const next = (from: number): number =>
      typeof text === 'string' ? text.indexOf(character, from) : text.indexOf(byte, from);
    for (let at = next(0); at >= 0; at = next(at + 1)) if (++count > MAX_DEPTH) return true;
  }
  return false;
}
