import { MAX_BATCH } from '../../protocol/messages.js';
import { skipJson, skipSpace } from '../codec/skipJson.js';

const OPEN_BRACE = 0x7b;

/** The messages that stand one behind the other in what is no JSON as a whole; none where anything else does. */
export function severalIn(bytes: Buffer): readonly Buffer[] {
  const found: Buffer[] = [];
  let at = skipSpace(bytes, 0);
  while (at < bytes.length) {
    const end = bytes[at] === OPEN_BRACE ? skipJson(bytes, at) : -1;
    if (end < 0 || found.length === MAX_BATCH) return [];
    found.push(bytes.subarray(at, end));
    at = skipSpace(bytes, end);
  }
  return found.length > 1 ? found : [];
}
