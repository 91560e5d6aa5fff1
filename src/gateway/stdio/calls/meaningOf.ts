import type { RawReply } from '../../../connection/channel/codec/envelope.js';
import { skipJson, skipSpace, skipString } from '../../../connection/channel/codec/skipJson.js';

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const PARTS: ReadonlySet<string> = new Set(['id', 'method', 'result', 'error']);

/** The same of a long reply, of whose result it is known that it is JSON. */
export const meaningOfReply = (bytes: Buffer, { start, end }: RawReply, idText: string): ReturnType<typeof meaningOf> =>
  meaningOf(`${bytes.toString('utf8', 0, start)}null${bytes.toString('utf8', end)}`, idText);

/**
 * What a text is to the request of that id: its `answer`, a `request` or `notification` of a server, or nothing of it. Proved on its bytes: a
 * program of another kind may have the gateway's address, and what it says must neither reach the client nor count as an answer.
 */
export function meaningOf(text: string, idText: string): 'answer' | 'request' | 'notification' | undefined {
  const bytes = Buffer.from(text);
  const parts = new Map<string, string>();
  let at = skipSpace(bytes, 0);
  if (bytes[at] !== OPEN_BRACE) return undefined;
  do {
    const key = skipSpace(bytes, at + 1);
    const keyEnd = bytes[key] === QUOTE ? skipString(bytes, key) : -1;
    const colon = keyEnd < 0 ? -1 : skipSpace(bytes, keyEnd);
    if (bytes[colon] !== COLON) return undefined;
    const start = skipSpace(bytes, colon + 1);
    const end = skipJson(bytes, start);
    if (end < 0) return undefined;
    const name = bytes.toString('latin1', key + 1, keyEnd - 1);
    if (PARTS.has(name)) parts.set(name, name === 'id' ? bytes.toString('utf8', start, end) : name);
    at = skipSpace(bytes, end);
  } while (bytes[at] === COMMA);
  if (bytes[at] !== CLOSE_BRACE || skipSpace(bytes, at + 1) !== bytes.length) return undefined;
  const id = parts.get('id');
  if (parts.has('method')) return id === undefined ? 'notification' : 'request';
  if (id === undefined || (!parts.has('result') && !parts.has('error'))) return undefined;
  return id === idText || JSON.parse(id) === JSON.parse(idText) ? 'answer' : undefined;
}
