import type { MiddlewareCall } from '../connection/calls/Middleware.js';
import { askerOf, paramsTextOf } from '../connection/calls/MiddlewareChain.js';
import { saysAll } from '../connection/channel/codec/exactText.js';
import { membersOf, withMembers, withTheseMembers } from '../connection/channel/codec/members.js';
import { canonical, isExact } from './canonical.js';
import { isOnesOwn } from './sharing.js';

/** Of params as JSON: their members are put in order at once, which takes up to 0.2 µs a character. */
const MAX_CHARS = 64 * 1_024;

/** Of `_meta`: another in each call, and nothing that an answer depends on. */
const SILENT = Object.freeze({ progressToken: undefined, traceparent: undefined, tracestate: undefined });

/**
 * A call as text: equal for calls of one principal, session, path and server that ask the same, whatever the order of members and the
 * white space. Where its params were written by another and their values do not say all of that, only those written alike are equal.
 * `everyone`: of all callers. Undefined where its answer is its caller's alone, where it cannot be told, and where to tell it takes long.
 */
export function keyOf(call: MiddlewareCall, everyone = false): string | undefined {
  if (isOnesOwn(call)) return undefined;
  const { server, path, method, params, caller } = call;
  const { _meta, ...others } = params ?? {};
  const meta = told(_meta);
  const rest = meta === undefined ? others : { ...others, _meta: meta };
  const written = paramsTextOf(call);
  if ((written ?? JSON.stringify(rest)).length > MAX_CHARS) return undefined;
  const text = written && toldText(written, meta !== undefined);
  if (text === undefined && (written !== undefined || !isExact(rest))) return undefined;
  const exact = text === undefined || saysAll(rest, text) ? undefined : text;
  const { principal, key, capabilities } = everyone ? {} : (caller ?? {});
  const asker = everyone ? undefined : askerOf(call);
  return canonical([principal, key, capabilities, asker, caller?.era, path, server, method, rest, exact]);
}

/** What `_meta` says, if anything. */
function told(meta: unknown): unknown {
  if (typeof meta !== 'object' || meta === null || Array.isArray(meta)) return meta;
  const left = Object.entries(meta).filter(([name]) => !Object.hasOwn(SILENT, name));
  return left.length === 0 ? undefined : Object.fromEntries(left);
}

/** The same of params as they were written. */
function toldText(written: string, says: boolean): string | undefined {
  const members = membersOf(written);
  const meta = says && members?.find(({ key }) => key === '_meta');
  if (!members || !meta) return members && withTheseMembers(written, members, { _meta: undefined });
  const own = withMembers(written, SILENT, meta.valueStart) ?? written.slice(meta.valueStart, meta.end);
  return withTheseMembers(written, members, { _meta: own });
}
