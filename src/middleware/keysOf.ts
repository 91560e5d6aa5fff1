import type { MiddlewareCall } from '../connection/calls/Middleware.js';
import { askerOf, paramsTextOf } from '../connection/calls/MiddlewareChain.js';
import { saysAll } from '../connection/channel/codec/exactText.js';
import { membersOf, withMembers, withTheseMembers } from '../connection/channel/codec/members.js';
import { costOf } from '../connection/channel/codec/parsingCost.js';
import { canonical, isExact } from './canonical.js';
import { isOnesOwn } from './sharing.js';

/** Of params as JSON: what has more characters, or costs more to be parsed, takes long to be put in order: five times what it costs. */
const MAX_CHARS = 64 * 1_024;
const MAX_COST = 200_000;
/** So few cost too little to be looked at. */
const SHORT_CHARS = 2_048;

/** Of `_meta`: another in each call, and nothing that an answer depends on. */
const SILENT = Object.freeze({ progressToken: undefined, traceparent: undefined, tracestate: undefined });

/** What is equal for calls that ask the same, as text. */
interface Keys {
  /** Of one principal, session and path. */
  readonly own: string;
  /** Of all callers. */
  readonly everyone: string;
}

/**
 * What is equal for calls that ask the same of a server, whatever the order of members and the white space. Where its params were written
 * by another and their values do not say all of that, only those written alike are equal. Undefined where its answer is its caller's alone,
 * where it cannot be told, and where to tell it takes long.
 */
export function keysOf(call: MiddlewareCall): Keys | undefined {
  if (isOnesOwn(call)) return undefined;
  const { server, path, method, params, caller } = call;
  const { _meta, ...others } = params ?? {};
  const meta = told(_meta);
  const rest = meta === undefined ? others : { ...others, _meta: meta };
  const written = paramsTextOf(call);
  const said = written ?? JSON.stringify(rest);
  if (said.length > MAX_CHARS || (said.length > SHORT_CHARS && costOf(said, MAX_COST) > MAX_COST)) return undefined;
  const text = written && toldText(written, meta !== undefined);
  if (text === undefined && (written !== undefined || !isExact(rest))) return undefined;
  const exact = text === undefined || saysAll(rest, text) ? undefined : text;
  const { principal, key, capabilities } = caller ?? {};
  const asked = canonical([caller?.era, path, server, method, rest, exact]);
  return { own: canonical([principal, key, capabilities, askerOf(call)]) + asked, everyone: asked };
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
