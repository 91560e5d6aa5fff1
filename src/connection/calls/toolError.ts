import { utf8Text } from '../../core/text/utf8Text.js';
import { membersOf, memberText } from '../channel/codec/members.js';

/** So much is looked through at one go. What is longer is told by what comes in pieces. */
const MAX_BYTES = 1_024 * 1_024;
const NAME = Buffer.from('"isError"');
const COLON = 0x3a;
const SPACE = 0x20;
const FIRST_OF_TRUE = 0x74;

/** Whether a tool's result says that the tool failed; of one that is still bytes only when its name is found before `true` is more read. */
export function isToolError(result: unknown): boolean {
  if (!(result instanceof Uint8Array)) {
    return (result as { readonly isError?: unknown } | null | undefined)?.isError === true;
  }
  // It takes long to look through, and says more than what went wrong.
  if (result.length > MAX_BYTES) return false;
  const bytes = result instanceof Buffer ? result : Buffer.from(result.buffer, result.byteOffset, result.byteLength);
  // The text of a result may name it too: the member itself decides.
  if (!saysError(bytes)) return false;
  const text = utf8Text(bytes);
  const members = membersOf(text);
  return members !== undefined && memberText(text, members, 'isError') === 'true';
}

/** Many results say that they are none: those are not parsed. */
function saysError(bytes: Buffer): boolean {
  for (let at = bytes.indexOf(NAME); at >= 0; at = bytes.indexOf(NAME, at + 1)) {
    const colon = behindSpace(bytes, at + NAME.length);
    if (bytes[colon] === COLON && bytes[behindSpace(bytes, colon + 1)] === FIRST_OF_TRUE) return true;
  }
  return false;
}

function behindSpace(bytes: Buffer, from: number): number {
  let at = from;
  while ((bytes[at] ?? COLON) <= SPACE) at++;
  return at;
}
