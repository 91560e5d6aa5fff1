import type { Caller } from '../../../pool/McpPool.js';
import { addressOrigin } from '../origin.js';

/** Addresses remembered for each caller: what was made for one is made once. */
const MAX_ADDRESSES = 1_000;

const NO_CALLER: Caller = Object.freeze({});
const counted = new WeakMap<Caller, Map<string, Caller>>();

/**
 * A caller that stands for clients from everywhere, with where this call comes from: its failures, and what leads its later calls back
 * to one of several targets, are that address's. A principal's are its own.
 */
export function countedCaller(caller: Caller | undefined, address: string | undefined): Caller | undefined {
  if (address === undefined || caller?.principal !== undefined || caller?.origin !== undefined) return caller;
  const known = counted.get(caller ?? NO_CALLER) ?? new Map<string, Caller>();
  const before = known.get(address);
  if (before !== undefined) return before;
  if (known.size >= MAX_ADDRESSES) known.clear();
  const made = { ...caller, origin: addressOrigin(address) };
  known.set(address, made);
  counted.set(caller ?? NO_CALLER, known);
  return made;
}
