import type { MiddlewareCall } from '../connection/calls/Middleware.js';
import { paramsTextOf } from '../connection/calls/MiddlewareChain.js';
import { saysAll } from '../connection/channel/codec/exactText.js';
import { withMembers } from '../connection/channel/codec/members.js';
import { canonical, isExact } from './canonical.js';

/** Of params as JSON: their members are put in order at once, which takes up to 0.2 µs a character. */
const MAX_CHARS = 64 * 1_024;

/**
 * A call as text: equal for calls of one principal, session, path and server that ask the same, whatever the order of members and the
 * white space. Where its params were written by another and their values do not say all of that, only those written alike are equal.
 * Undefined where that cannot be told, and where to tell it takes long.
 */
export function keyOf(call: MiddlewareCall, everyone = false): string | undefined {
  const { server, path, method, params } = call;
  const caller = everyone ? undefined : call.caller;
  const { _meta: _, ...rest } = params ?? {};
  const written = paramsTextOf(call);
  if ((written ?? JSON.stringify(rest)).length > MAX_CHARS) return undefined;
  const text = written && withMembers(written, { _meta: undefined });
  if (text === undefined && (written !== undefined || !isExact(rest))) return undefined;
  const exact = text === undefined || saysAll(rest, text) ? undefined : text;
  return canonical([caller?.principal, caller?.key, caller?.capabilities, path, server, method, rest, exact]);
}
