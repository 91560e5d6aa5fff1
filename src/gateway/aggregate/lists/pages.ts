import { RPC_CODES } from '../../../connection/protocol/rpcCodes.js';
import { Refusal } from '../../rpc/failure.js';
import type { ListHints } from './KnownLists.js';
import type { ServerList } from './ServerList.js';

/** An item of the aggregate as its server has it, with that server and what it is known by. */
export interface Entry<T> {
  readonly server: string;
  readonly key: string;
  readonly item: T;
}

export interface Page<T> {
  readonly entries: readonly Entry<T>[];
  readonly nextCursor?: string;
}

/** Behind which entry a page begins: its server, a hash of its key, its place among its server's entries and among all. */
type Place = readonly [kind: string, server: string, key: string, inServer: number, inAll: number];

/** By so many places an entry may have moved within its server's list and is still found. */
const MAX_MOVED = 1_000;

/**
 * One page of a list. A cursor names the entry it stands behind, so that what comes and goes on other servers moves nothing; when
 * that entry is gone, the page begins where it stood.
 * @throws Refusal for a cursor that is none of this list
 */
export function pageOf<T>(kind: string, entries: readonly Entry<T>[], cursor: unknown, size: number): Page<T> {
  const from = cursor === undefined ? 0 : startOf(entries, placeOf(kind, cursor));
  const page = entries.slice(from, from + size);
  const last = page.at(-1);
  if (last === undefined || from + size >= entries.length) return { entries: page };
  const first = entries.findIndex(({ server }) => server === last.server);
  const end = from + page.length;
  const place: Place = [kind, last.server, hashOf(last.key), end - first, end];
  return { entries: page, nextCursor: Buffer.from(JSON.stringify(place)).toString('base64url') };
}

/** The entries of all lists, which may be hundreds of thousands: `flat` and `flatMap` take a hundred times as long. */
export function joined<T>(lists: readonly (readonly Entry<T>[])[]): readonly Entry<T>[] {
  const none: readonly Entry<T>[] = [];
  return none.concat(...lists);
}

/** What holds of several lists together: the shortest time, and `private` if one is; no time when one is missing. */
export function mergedHints(lists: readonly ServerList<unknown>[]): Required<Pick<ListHints, 'ttlMs' | 'cacheScope'>> {
  const times = lists.map(({ hints, missing }) => (missing ? 0 : (hints.ttlMs ?? 0)));
  const ttlMs = times.reduce((least, each) => Math.min(least, each), Number.POSITIVE_INFINITY);
  const open = lists.every(({ hints, missing }) => !missing && hints.cacheScope === 'public');
  return {
    ttlMs: Number.isFinite(ttlMs) ? Math.max(0, Math.floor(ttlMs)) : 0,
    cacheScope: open && lists.length > 0 ? 'public' : 'private',
  };
}

function startOf<T>(entries: readonly Entry<T>[], [, server, key, inServer, inAll]: Place): number {
  const isIt = (entry: Entry<T> | undefined): boolean => entry?.server === server && hashOf(entry.key) === key;
  // Nothing came or went since.
  if (isIt(entries[inAll - 1])) return inAll;
  const first = entries.findIndex((entry) => entry.server === server);
  if (first === -1) return Math.min(inAll, entries.length);
  const count = entries.findLastIndex((entry) => entry.server === server) + 1 - first;
  const stood = first + Math.min(Math.max(inServer - 1, 0), count);
  // A cursor may be made up: the keys of a long list are not all looked at for it.
  const near = entries.slice(Math.max(first, stood - MAX_MOVED), stood + MAX_MOVED + 1);
  const behind = near.findIndex(isIt);
  // The one it stood behind is gone: all that followed has moved up by one.
  return behind === -1 ? stood : Math.max(first, stood - MAX_MOVED) + behind + 1;
}

function placeOf(kind: string, cursor: unknown): Place {
  try {
    const place = JSON.parse(Buffer.from(String(cursor), 'base64url').toString()) as Place;
    const [own, server, key, inServer, inAll] = place;
    const counts = [inServer, inAll].every((count) => Number.isSafeInteger(count) && count >= 0);
    if (own === kind && typeof server === 'string' && typeof key === 'string' && counts) return place;
  } catch {
    // It is none.
  }
  throw new Refusal(RPC_CODES.invalidParams, 'the cursor is none of this list');
}

/**
 * Tells keys apart, in 52 bits (FNV-1a, twice). A cheap one, since a cursor may have two thousand keys of a list looked at, and what a
 * server gains by equal ones is that its own list goes on at another place.
 */
function hashOf(key: string): string {
  let [a, b] = [0x811c9dc5, 0x1000193];
  for (let at = 0; at < key.length; at++) {
    const code = key.charCodeAt(at);
    a = Math.imul(a ^ code, 0x01000193);
    b = Math.imul(b ^ code, 0x85ebca6b);
  }
  return ((a >>> 0) * 2 ** 20 + (b >>> 12)).toString(36);
}
