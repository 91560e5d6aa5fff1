import type { IncomingMessage, ServerResponse } from 'node:http';
import { sendEmpty } from '../respond.js';

const METHODS = 'GET, POST, DELETE, OPTIONS';
const ALLOWED =
  'accept, authorization, content-type, last-event-id, mcp-method, mcp-name, mcp-protocol-version, mcp-session-id';
const EXPOSED = 'mcp-protocol-version, mcp-session-id, www-authenticate';
/** Names of a preflight that are looked at. */
const MAX_NAMES = 128;
/** How long a browser may remember the answer to a preflight, in seconds. */
const MAX_AGE_S = '600';

/** Lets a page of an origin that was let in read the response (Fetch standard, CORS protocol). */
export function allowOrigin({ headers: { origin } }: IncomingMessage, response: ServerResponse): void {
  if (origin === undefined) return;
  response.setHeader('access-control-allow-origin', origin);
  response.setHeader('access-control-expose-headers', EXPOSED);
  response.setHeader('vary', 'origin');
}

/** The answer to a preflight of an origin that was let in. */
export function answerPreflight({ headers }: IncomingMessage, response: ServerResponse): void {
  const asked = headers['access-control-request-headers'];
  // The parameters of a modern call travel in headers of their own names (2026-07-28, `Mcp-Param-*`).
  const more = (asked ?? '')
    .split(',', MAX_NAMES)
    .map((name) => name.trim().toLowerCase())
    .filter((name) => /^mcp-param-[a-z0-9-]{1,64}$/.test(name));
  sendEmpty(response, 204, {
    'access-control-allow-methods': METHODS,
    'access-control-allow-headers': [ALLOWED, ...more].join(', '),
    'access-control-max-age': MAX_AGE_S,
  });
}

export const isPreflight = ({ method, headers }: IncomingMessage): boolean =>
  method === 'OPTIONS' && headers.origin !== undefined && headers['access-control-request-method'] !== undefined;
