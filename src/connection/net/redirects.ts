import { ProtocolError, show } from '../../core/errors.js';
import { headerOf, type RawHeaders } from './body/responseHeaders.js';
import type { Endpoint, Sent } from './Endpoint.js';

const MAX_REDIRECTS = 3;

interface Redirected extends Sent {
  readonly endpoint: Endpoint;
  readonly status: number;
  readonly responseHeaders: RawHeaders;
}

export function redirects(status: number): boolean {
  return status >= 300 && status < 400;
}

/**
 * The path that a redirect leads to, or the error of one that is not followed. Followed within the origin are those that a
 * POST may follow (RFC 9110, 15.4.8 and 15.4.9), `before` of which came already. Errors tell the place without its query,
 * which may hold a secret.
 */
export function redirectPath(exchange: Redirected, before: number): string | ProtocolError {
  const { endpoint, status, responseHeaders } = exchange;
  const location = headerOf(responseHeaders, 'location');
  if (location === undefined)
    return new ProtocolError(endpoint.server, `it answers with ${status}, and says nowhere to go`, undefined, status);
  const target = endpoint.resolve(location);
  const other = target !== undefined && target.origin !== endpoint.origin;
  const keepsMethod = status === 307 || status === 308;
  const follows = target !== undefined && !other && keepsMethod;
  if (follows && before < MAX_REDIRECTS) return target.pathname + target.search;
  const why = other ? 'to another origin' : follows ? 'too often' : `with ${status}, which does not keep the method`;
  const where = endpoint.blanked(Buffer.from(target === undefined ? location : placeOf(target)), exchange).toString();
  return new ProtocolError(endpoint.server, `it redirects ${why}; not followed: ${show(where)}`, undefined, status);
}

/** Not every URL has an origin that says where it is (`javascript:`, `file:`). */
const placeOf = ({ protocol, host, pathname }: URL): string => `${protocol}${host && '//'}${host}${pathname}`;
