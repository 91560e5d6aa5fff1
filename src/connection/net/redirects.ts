import { ProtocolError } from '../../core/errors.js';
import type { Endpoint } from './Endpoint.js';

export function redirects(status: number): boolean {
  return status >= 300 && status < 400;
}

/** Whether a redirect is one that a POST may follow (RFC 9110, 15.4.8 and 15.4.9). */
export function keepsMethod(status: number): boolean {
  return status === 307 || status === 308;
}

/** Says where the redirect led: without its query, which may hold a secret. */
export function notFollowed(
  { server, origin }: Endpoint,
  status: number,
  location: string | undefined,
  target: URL | undefined,
  tooOften: boolean,
): ProtocolError {
  const other = target !== undefined && target.origin !== origin;
  const why = other ? 'to another origin' : tooOften ? 'too often' : `with ${status}, which does not keep the method`;
  const where = target === undefined ? location : target.origin + target.pathname;
  return new ProtocolError(server, `it redirects ${why}; not followed: ${where}`);
}
