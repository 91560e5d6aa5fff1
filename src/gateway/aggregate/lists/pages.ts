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

/** What one server has of a list. */
export interface Section<T> {
  readonly server: string;
  readonly entries: Pick<readonly Entry<T>[], 'length' | 'at'>;
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
 * that entry is gone, the page begins where it stood. It costs what the page has, however much the servers list.
 * @throws Refusal for a cursor that is none of this list
 */
export function pageOf<T>(kind: string, sections: readonly Section<T>[], cursor: unknown, size: number): Page<T> {
  const from = cursor === undefined || cursor === null ? 0 : startOf(sections, placeOf(kind, cursor));
  const page: Entry<T>[] = [];
  let before = 0;
  for (const { entries } of sections) {
    for (let at = Math.max(0, from - before); at < entries.length && page.length < size; at++) {
      page.push(entries.at(at) as Entry<T>);
    }
    before += entries.length;
  }
  const last = page.at(-1);
  if (last === undefined || from + size >= before) return { entries: page };
  const end = from + page.length;
  const place: Place = [kind, last.server, hashOf(last.key), end - firstOf(sections, last.server), end];
  return { entries: page, nextCursor: Buffer.from(JSON.stringify(place)).toString('base64url') };
}

/** How many entries stand before those of the server; of one that is not there, all. */
function firstOf(sections: readonly Section<unknown>[], name: string): number {
  let before = 0;
  for (const { server, entries } of sections) {
    if (server === name) break;
    before += entries.length;
  }
  return before;
}

/** The entries of all, one after the other: they may be hundreds of thousands. */
export function* entriesIn<T>(sections: readonly Section<T>[]): Generator<Entry<T>, undefined> {
  for (const { entries } of sections) {
    for (let at = 0; at < entries.length; at++) yield entries.at(at) as Entry<T>;
  }
  return undefined;
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

function startOf<T>(sections: readonly Section<T>[], [, server, key, inServer, inAll]: Place): number {
  const own = sections.find((section) => section.server === server)?.entries;
  const first = firstOf(sections, server);
  if (own === undefined) return Math.min(inAll, first);
  const isAt = (place: number): boolean => place >= 0 && place < own.length && hashOf(own.at(place)?.key ?? '') === key;
  // Nothing came or went since.
  if (isAt(inAll - 1 - first)) return inAll;
  const stood = Math.min(Math.max(inServer - 1, 0), own.length);
  // A cursor may be made up: the keys of a long list are not all looked at for it.
  const end = Math.min(stood + MAX_MOVED + 1, own.length);
  for (let place = Math.max(0, stood - MAX_MOVED); place < end; place++) if (isAt(place)) return first + place + 1;
  // The one it stood behind is gone: all that followed has moved up by one.
  return first + stood;
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
