import { MAX_BATCH } from '../../protocol/messages.js';
import { skipJson, skipSpace } from '../codec/skipJson.js';

const OPEN_BRACE = 0x7b;
const COMMA = 0x2c;
const RETURN = 0x0d;

/**
 * The messages that stand one behind the other in what is no JSON as a whole, also with commas between them; none where anything else does, but for
 * text behind a carriage return: it writes over the line that has ended there.
 */
export function severalIn(bytes: Buffer): readonly Buffer[] {
  const found: Buffer[] = [];
  let overwritten = false;
  let at = skipSpace(bytes, 0);
  for (let end = at; at < bytes.length; at = nextMessage(bytes, end)) {
    if (bytes[at] === OPEN_BRACE) {
      end = skipJson(bytes, at);
      if (end < 0 || found.length === MAX_BATCH) return [];
      found.push(bytes.subarray(at, end));
    } else if (found.length > 0 && bytes.subarray(end, at).includes(RETURN)) {
      overwritten = true;
      end = bytes.indexOf(RETURN, at);
      if (end < 0) break;
    } else return [];
  }
  return found.length > 1 || overwritten ? found : [];
}

/** Behind what may stand between two messages of a line. */
export function nextMessage(bytes: Buffer, from: number): number {
  const at = skipSpace(bytes, from);
  const behind = bytes[at] === COMMA ? skipSpace(bytes, at + 1) : at;
  return bytes[behind] === OPEN_BRACE ? behind : at;
}
