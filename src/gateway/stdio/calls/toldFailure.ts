import type { IncomingMessage, ServerResponse } from 'node:http';
import { isObject } from '../../../connection/protocol/objectOf.js';
import { RPC_CODES } from '../../../connection/protocol/rpcCodes.js';
import { type Failure, Refusal } from '../../rpc/failure.js';

/** A bridge says by it that it reads in a trailer of that name why an answer broke off: to others such a response would seem whole. */
const HEADER = 'mcp-poolkit-failure';
export const READS_FAILURES = Object.freeze({ [HEADER]: 'trailer' });
const MAX_CHARS = 1_000;

/** Ends a response in pieces whose answer broke off by telling why; false where its client does not read that. */
export function endedWith(response: ServerResponse, { code, message, data }: Failure): boolean {
  if (response.req.headers[HEADER] === undefined || response.chunkedEncoding !== true) return false;
  const text = JSON.stringify({ code, message: message.slice(0, MAX_CHARS), data });
  response.addTrailers({ [HEADER]: Buffer.from(text).toString('base64') });
  response.end();
  return true;
}

/** Why the answer in a response broke off that is at its end; undefined when it did not. */
export function failureIn({ trailers }: IncomingMessage): Refusal | undefined {
  const told = trailers[HEADER];
  if (told === undefined) return undefined;
  try {
    const failure: unknown = JSON.parse(Buffer.from(told, 'base64').toString('utf8'));
    if (isObject(failure) && typeof failure['code'] === 'number' && typeof failure['message'] === 'string')
      return new Refusal(failure['code'], failure['message'], failure['data']);
  } catch {
    // It is no JSON.
  }
  return new Refusal(RPC_CODES.internalError, 'the answer broke off');
}
