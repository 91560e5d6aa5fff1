import type { ServerResponse } from 'node:http';
import { type Failure, failureText } from '../rpc/failure.js';

export const JSON_TYPE = 'application/json';

/**
 * Answers with JSON in one write. As `latin1` a body is one character for each of its bytes, whatever they are: Node writes
 * a string in one piece with its head, and a buffer behind it.
 */
export function sendJson(
  response: ServerResponse,
  status: number,
  body: string | Buffer,
  headers?: Readonly<Record<string, string>>,
  encoding: 'utf8' | 'latin1' = 'utf8',
): void {
  if (response.headersSent || response.destroyed) return;
  const length = typeof body === 'string' && encoding === 'utf8' ? Buffer.byteLength(body) : body.length;
  response.writeHead(status, { 'content-type': JSON_TYPE, 'content-length': length, ...headers });
  response.end(body, encoding);
}

/** Answers that the request itself is at fault: an HTTP status and a JSON-RPC error without id. */
export function sendFailure(
  response: ServerResponse,
  status: number,
  error: Failure,
  headers?: Readonly<Record<string, string>>,
): void {
  sendJson(response, status, `{"jsonrpc":"2.0","error":${failureText(error)},"id":null}`, headers);
}

/** Answers without a body. */
export function sendEmpty(response: ServerResponse, status: number, headers?: Readonly<Record<string, string>>): void {
  if (response.headersSent || response.destroyed) return;
  response.writeHead(status, { 'content-length': 0, ...headers });
  response.end();
}
