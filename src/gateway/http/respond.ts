import type { ServerResponse } from 'node:http';
import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import { utf8Text } from '../../core/text/utf8Text.js';
import { type Failure, failureText } from '../rpc/failure.js';

export const JSON_TYPE = 'application/json';

/** JSON; as a list of buffers one behind the other, so that a large one need not be copied to stand behind its head. */
export type JsonBody = string | Buffer | readonly Buffer[];

/** Told of an answer that did not leave at once, and of what it takes in memory, in bytes. */
type OnWaiting = (response: ServerResponse, bytes: number) => void;

const listeners = new WeakMap<object, OnWaiting>();
/** Says how long to wait, in s. */
export const RETRY_LATER = Object.freeze({ 'retry-after': '10' });
/** What a request and its response take beside the body. */
export const EXCHANGE_BYTES = 8 * 1_024;
/** A body of so many bytes is copied as quickly as it is written in parts. */
const SMALL_BYTES = 16 * 1_024;

/** Has `onWaiting` told of the small answers that the client of this socket does not read, unless it is told already. */
export function watchAnswers(socket: object | null | undefined, onWaiting: OnWaiting): void {
  if (typeof socket === 'object' && socket !== null && !listeners.has(socket)) listeners.set(socket, onWaiting);
}

function sent(response: ServerResponse, bytes: number): void {
  if (response.writableLength === 0) return;
  // One that waits behind others counts from its arrival on.
  const own = response.socket === null ? 0 : EXCHANGE_BYTES;
  listeners.get(response.req.socket)?.(response, bytes + own);
}

/**
 * Answers with JSON in one write. As `latin1` a body is one character for each of its bytes, whatever they are: Node writes
 * a string in one piece with its head, and a buffer behind it.
 */
export function sendJson(
  response: ServerResponse,
  status: number,
  body: JsonBody,
  headers?: Readonly<Record<string, string>>,
  encoding: 'utf8' | 'latin1' = 'utf8',
): void {
  if (response.headersSent || response.destroyed) return;
  const length = encoding === 'latin1' ? (body as string).length : bytesOf(body);
  const own = { 'content-type': JSON_TYPE, 'content-length': length };
  response.writeHead(status, headers === undefined ? own : { ...own, ...headers });
  // Small parts become one: it leaves in one piece, and a host that mounts `fetch` has it whole.
  if (!isParts(body) || length <= SMALL_BYTES) {
    response.end(isParts(body) ? Buffer.concat(body) : body, encoding);
    return;
  }
  response.cork();
  for (const part of body) response.write(part);
  response.end();
}

/** Parts in one go; `written`: when the last has left. */
export function writeParts(response: ServerResponse, parts: readonly Buffer[], written: () => void): void {
  if (parts.length > 1) response.cork();
  parts.forEach((part, i) => void (i < parts.length - 1 ? response.write(part) : response.write(part, written)));
  if (parts.length > 1) response.uncork();
}

export function bytesOf(body: JsonBody): number {
  if (isParts(body)) return body.reduce((sum, part) => sum + part.length, 0);
  return typeof body === 'string' ? Buffer.byteLength(body) : body.length;
}

export function textOf(body: JsonBody): string {
  return typeof body === 'string' ? body : utf8Text(isParts(body) ? Buffer.concat(body) : body);
}

/** An array of what several bodies say; what is bytes stays those. */
export function joined(bodies: readonly JsonBody[]): JsonBody {
  if (bodies.every((body) => typeof body === 'string')) return `[${bodies.join(',')}]`;
  const parts = bodies.flatMap((body, i) => [i === 0 ? OPEN : COMMA, ...partsOf(body)]);
  return [...parts, CLOSE];
}

const partsOf = (body: JsonBody): readonly Buffer[] =>
  isParts(body) ? body : [typeof body === 'string' ? Buffer.from(body) : body];

const OPEN = Buffer.from('[');
const COMMA = Buffer.from(',');
const CLOSE = Buffer.from(']');

const isParts = (body: JsonBody): body is readonly Buffer[] => Array.isArray(body);

/** Answers that the request itself is at fault: an HTTP status and a JSON-RPC error without id; 429 and 503 say how long to wait. */
export function sendFailure(
  response: ServerResponse,
  status: number,
  error: Failure,
  headers: Readonly<Record<string, string>> | undefined = status === 429 || status === 503 ? RETRY_LATER : undefined,
): void {
  if (response.headersSent || response.destroyed) return;
  const body = `{"jsonrpc":"2.0","error":${failureText(error)},"id":null}`;
  sendJson(response, status, body, headers);
  sent(response, body.length);
}

/** The same with a message, where the code says no more. */
export function refuse(
  response: ServerResponse,
  status: number,
  message: string,
  code: number = RPC_CODES.invalidRequest,
): void {
  sendFailure(response, status, { code, message });
}

/** Answers with a text of that type; it counts as held where its client does not read it. */
export function sendText(response: ServerResponse, status: number, type: string, body: JsonBody): void {
  if (response.headersSent || response.destroyed) return;
  sendJson(response, status, body, { 'content-type': type });
  sent(response, bytesOf(body));
}

/** Answers without a body. */
export function sendEmpty(response: ServerResponse, status: number, headers?: Readonly<Record<string, string>>): void {
  if (response.headersSent || response.destroyed) return;
  response.writeHead(status, { 'content-length': 0, ...headers });
  response.end();
  sent(response, 0);
}
