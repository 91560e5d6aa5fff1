import type { Params } from '../../connection/protocol/messages.js';
import { META_CALL } from '../faults/events.js';

/** What only the two ends of one connection know: it differs from run to run. */
const OF_THE_WIRE = /^(?:mcp-poolkit\/|io\.modelcontextprotocol\/|progressToken$|traceparent$|tracestate$|baggage$)/;

/** A value without what its transport put into `_meta`; without a `_meta` that is empty then. */
export function plain<T>(value: T): T {
  if (typeof value !== 'object' || value === null || !('_meta' in value)) return value;
  const { _meta, ...rest } = value as { readonly _meta?: unknown };
  if (typeof _meta !== 'object' || _meta === null) return value;
  const kept = Object.entries(_meta).filter(([key]) => !OF_THE_WIRE.test(key));
  return (kept.length === 0 ? rest : { ...rest, _meta: Object.fromEntries(kept) }) as T;
}

/** Params as they are compared: none say what empty ones do, and so do the `arguments` in them. */
export function plainParams(params: unknown): unknown {
  const known = plain(params ?? {}) as Params;
  const { arguments: given, ...rest } = known;
  return typeof given === 'object' && given !== null && Object.keys(given).length === 0 ? rest : known;
}

/** A recorded value as it is sent again: about this call, by this request. */
export function renewed(value: unknown, stamp: string | undefined, was: unknown, is: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  const { _meta, ...rest } = value as Params;
  const meta: Record<string, unknown> = { ...(_meta as Params | undefined) };
  delete meta[META_CALL];
  if (stamp !== undefined) meta[META_CALL] = stamp;
  if (meta[SUBSCRIPTION] === was && was !== undefined) meta[SUBSCRIPTION] = is;
  return Object.keys(meta).length === 0 ? rest : { ...rest, _meta: meta };
}

const SUBSCRIPTION = 'io.modelcontextprotocol/subscriptionId';
