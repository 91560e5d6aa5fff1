import type { IncomingMessage } from 'node:http';
import { skipJson, skipSpace, skipString } from '../../connection/channel/codec/skipJson.js';
import { excerpt } from '../../connection/net/body/statusError.js';
import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import { ProtocolError, show } from '../../core/errors.js';
import type { Failure } from '../rpc/failure.js';

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const PARTS: ReadonlySet<string> = new Set(['id', 'method', 'result', 'error']);

/** It refuses what comes now, and ends when what is in flight is answered. */
export const isClosing = ({ statusCode, headers }: IncomingMessage): boolean =>
  statusCode === 503 && headers.connection === 'close';

/**
 * What a text is to the request of that id: its `answer`, a `message` that asks or tells, or nothing of it. Proved on its bytes: a
 * program of another kind may have the gateway's address, and what it says must neither reach the client nor count as an answer.
 */
export function meaningOf(text: string, idText: string): 'answer' | 'message' | undefined {
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
  if (parts.has('method')) return 'message';
  const id = parts.get('id');
  if (id === undefined || (!parts.has('result') && !parts.has('error'))) return undefined;
  return id === idText || JSON.parse(id) === JSON.parse(idText) ? 'answer' : undefined;
}

/** The error in a refusal, which may name no id. `to`: where it redirects. */
export function refusalOf(text: string, status: number, to?: string): Failure {
  try {
    const { error } = JSON.parse(text) as { readonly error?: Failure };
    if (typeof error?.code === 'number' && typeof error.message === 'string') return error;
  } catch {
    // Something between answered, in its own way.
  }
  return {
    code: RPC_CODES.invalidRequest,
    message: `the gateway answered with HTTP ${status}${to === undefined ? '' : `, which is not followed: ${show(to)}`}`,
  };
}

/** Of a whole body that answers something else, or nothing. */
export function noAnswer(method: string, { statusCode, headers }: IncomingMessage, text: string): ProtocolError {
  const type = headers['content-type'] ?? 'none';
  const said = excerpt(Buffer.from(text.slice(0, 2_048)));
  return new ProtocolError(
    'gateway',
    `it answered ${method} with ${statusCode}, content type ${type}${said && `: ${said}`}`,
  );
}
