import type { MiddlewareCall } from '../connection/calls/Middleware.js';
import { canonical } from './canonical.js';

/** A call as text: equal for calls of one principal, session and server that ask the same. */
export function keyOf({ server, method, params, caller }: MiddlewareCall): string {
  const { _meta: _, ...rest } = params ?? {};
  return canonical([caller?.principal, caller?.key, caller?.capabilities, server, method, rest]);
}
