import { utf8Text } from '../../core/text/utf8Text.js';
import type { Call } from './Call.js';
import { isDeep } from './codec/depth.js';
import { memberText, objectIn } from './codec/members.js';
import { bytesOf, FREE_BYTES } from './codec/parsingCost.js';

/** How a message came. */
export interface Arrival {
  /** The call on whose stream it came. */
  readonly stream: Call | undefined;
  /** What it was parsed from, alone or with others. */
  readonly text: string | Uint8Array | undefined;
  /** Of a message of an array: whether all of the text is nested too deep. @defaultValue it is looked at */
  readonly deep?: boolean;
}

/** How the messages of an array came: whatever is found out about its text is found out once, not for each of them. */
export function arrivalOfBatch(stream: Call | undefined, text: string | Uint8Array | undefined): Arrival {
  const bytes = typeof text === 'string' && text.length >= FREE_BYTES ? bytesOf(text) : text;
  return { stream, text: bytes, deep: bytes !== undefined && isDeep(bytes) };
}

/** The JSON of an error reply's data, for a call whose result would stay bytes: it stays text. Undefined where that is to be written anew. */
export function dataTextOf({ text: given, deep }: Arrival): string | undefined {
  // Of an array, it is no text of this reply alone.
  if (given === undefined || deep !== undefined) return undefined;
  const text = typeof given === 'string' ? given : utf8Text(Buffer.from(given.buffer, given.byteOffset, given.length));
  const error = objectIn(text, 'error');
  return error && memberText(text, error.members, 'data');
}
