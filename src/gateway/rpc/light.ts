import { membersOf } from '../../connection/channel/codec/members.js';
import { memoryOf } from '../../connection/channel/codec/memoryOf.js';
import type { Params } from './envelope.js';

/** A value whose text is longer is kept as that text alone. */
const LONG_BYTES = 1_024;
/** An object with more members is itself larger than its text. */
const MAX_MEMBERS = 64;

/** Params that may be held for as long as their call. */
export interface LightParams {
  readonly params: Params;
  /** Bytes of JSON that are held as values. */
  readonly parsedBytes: number;
}

/**
 * The same params, where what is long is parsed again whenever it is read, since values take many times the bytes of their
 * text. Not so `_meta`, which nearly everything that handles a call looks at. Undefined when that is not possible. `text` is their JSON, in which no name comes twice.
 */
export function light(params: Params, text: string): LightParams | undefined {
  if (text.length <= LONG_BYTES) return { params, parsedBytes: text.length };
  const members = membersOf(text);
  if (members === undefined || members.length > MAX_MEMBERS) return undefined;
  const kept = {};
  let parsedBytes = 0;
  for (const { key, valueStart, end } of members) {
    const long = key !== '_meta' && end - valueStart > LONG_BYTES;
    if (!long) parsedBytes += end - valueStart;
    if (long) keepAsText(kept, key, text.slice(valueStart, end));
    else setMember(kept, key, params[key]);
  }
  return { params: kept, parsedBytes };
}

export function setMember(params: object, key: string, value: unknown): void {
  Object.defineProperty(params, key, { value, writable: true, enumerable: true, configurable: true });
}

/** A member whose value is kept as its JSON alone, if that is long. */
export function setText(params: object, key: string, text: string): void {
  if (text.length > LONG_BYTES) keepAsText(params, key, text);
  else setMember(params, key, JSON.parse(text));
}

/** All that read it in one turn of the event loop share what it was parsed to: to parse it may take most of what a turn may. */
function keepAsText(params: object, key: string, text: string): void {
  let parsed: WeakRef<{ readonly value: unknown }> | undefined;
  const get = (): unknown => {
    let known = parsed?.deref();
    if (known === undefined) {
      known = { value: JSON.parse(text) as unknown };
      // What a reference was made for, or gave, stays until the turn is over.
      parsed = new WeakRef(known);
    }
    return known.value;
  };
  Object.defineProperty(params, key, { get, enumerable: true, configurable: true });
}

/** What of params is held as values takes in memory, in bytes, about. */
export const memoryOfValues = (params: Params | undefined): number =>
  memoryOf(Object.values(Object.getOwnPropertyDescriptors(params ?? {})).map(({ value }) => value as unknown));

/** A copy with other members, in which what is long stays text. `changes`: values by name; undefined leaves one out. */
export function withChanges(params: Params | undefined = {}, changes: Params): Record<string, unknown> {
  const copy: Record<string, unknown> = {};
  for (const name of Object.keys(params)) {
    if (Object.hasOwn(changes, name)) put(copy, name, changes[name]);
    else {
      const given = Object.getOwnPropertyDescriptor(params, name);
      if (given?.get === undefined) put(copy, name, given?.value);
      else Object.defineProperty(copy, name, given);
    }
  }
  for (const name of Object.keys(changes)) if (!Object.hasOwn(params, name)) put(copy, name, changes[name]);
  return copy;
}

function put(copy: Record<string, unknown>, name: string, value: unknown): void {
  if (value === undefined) return;
  if (name === '__proto__') setMember(copy, name, value);
  else copy[name] = value;
}
