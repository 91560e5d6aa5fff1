import { skipJson, skipSpace } from '../codec/skipJson.js';
import { nextMessage } from './severalIn.js';

/** Longer lines are none of a log. */
export const MAX_LOG_BYTES = 1_048_576;
const OPEN_BRACE = 0x7b;

/** The whole value that a line begins with, where other text stands behind it that begins no message. */
export function valueInFront(line: Buffer): Buffer | undefined {
  const start = skipSpace(line, 0);
  if (line[start] !== OPEN_BRACE || line.length > MAX_LOG_BYTES) return undefined;
  const end = skipJson(line, start);
  if (end < 0) return undefined;
  const next = nextMessage(line, end);
  return next === line.length || line[next] === OPEN_BRACE ? undefined : line.subarray(start, end);
}
