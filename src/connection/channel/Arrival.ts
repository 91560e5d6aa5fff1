import type { Call } from './Call.js';
import { isDeep } from './codec/depth.js';
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
