import { skipJson, skipSpace } from '../../../channel/codec/skipJson.js';

export const DATA = 'data:';
const OPEN_BRACE = 0x7b;
const OPEN_BRACKET = 0x5b;

/** The data that the lines of an event say. */
export function dataOf(text: string): Buffer {
  const lines = text.split('\n').filter((line) => line.startsWith(DATA));
  return Buffer.from(lines.map((line) => line.slice(DATA.length)).join('\n'));
}

/** Whether bytes are an object or an array, whole. */
export function isWhole(bytes: Buffer): boolean {
  const start = skipSpace(bytes, 0);
  if (bytes[start] !== OPEN_BRACE && bytes[start] !== OPEN_BRACKET) return false;
  const end = skipJson(bytes, start);
  return end >= 0 && skipSpace(bytes, end) === bytes.length;
}
