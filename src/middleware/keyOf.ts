import type { MiddlewareCall } from '../connection/calls/Middleware.js';
import { canonical, isExact } from './canonical.js';

/** A call as text: equal for calls of one principal, session, path and server that ask the same. Undefined where that cannot be told. */
export function keyOf({ server, path, method, params, caller }: MiddlewareCall): string | undefined {
  const { _meta: _, ...rest } = params ?? {};
  if (!isExact(rest)) return undefined;
  return canonical([caller?.principal, caller?.key, caller?.capabilities, path, server, method, rest]);
}
