import type { ServerResponse } from 'node:http';
import { isIPv6 } from 'node:net';
import type { ClientCapabilities } from '@modelcontextprotocol/client';
import type { Endpoint } from '../endpoint/Endpoint.js';

/** What names a user. */
interface Named {
  readonly principal?: string | undefined;
  readonly subject?: string | undefined;
}

/** Whose share of the sessions a session counts to: its user's, else that of where its client connected from. */
export function originOf({ anyone }: Endpoint, address: string | undefined): string {
  return callerOrigin(anyone.caller, address);
}

export function callerOrigin({ principal, subject = principal }: Named = {}, address?: string): string {
  return subject === undefined ? addressOrigin(address) : `user ${subject}`;
}

const OWNER = Symbol('owner');
/** No entry of a table beside it: each request has one. */
type Owned = ServerResponse & { [OWNER]?: string };

/** Says whose share what is held of a response counts to, from here on. */
export function ownedBy(response: Owned, owner: string): void {
  response[OWNER] = owner;
}

/** Whose share what is held of a response counts to: as long as nothing was said, that of where its client connected from. */
export function ownerOf(response: Owned): string {
  response[OWNER] ??= addressOrigin(response.req?.socket?.remoteAddress);
  return response[OWNER];
}

/**
 * Whose share of the sessions an address counts to: an IPv4 address is one client; of an IPv6 address the first 64 bits are,
 * since a holder of one has 2^64 of them.
 */
export function addressOrigin(address: string | undefined): string {
  if (address === undefined) return 'unknown';
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  if (!isIPv6(address)) return address;
  const [head = '', tail] = address.replace(/%.*$/, '').toLowerCase().split('::');
  const before = head === '' ? [] : head.split(':');
  const after = tail === undefined || tail === '' ? [] : tail.split(':');
  // What `::` stands for; without one there is nothing to fill.
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - before.length - after.length);
  return `${[...before, ...Array.from({ length: zeros }, () => '0'), ...after].slice(0, 4).join(':')}::/64`;
}

/** What the protocol names of what tells clients apart: few variants, which any client may have. */
const NAMED: ReadonlyMap<string, readonly string[]> = new Map([
  ['sampling', ['context', 'tools']],
  ['elicitation', ['form', 'url']],
  ['roots', ['listChanged']],
]);

/**
 * Whose share a connection counts to that is started for those capabilities alone. Of one address, clients that write what they
 * like (extensions) do not end the connections of those that say what the protocol names.
 */
export function variantOrigin(
  origin: string | undefined,
  capabilities: ClientCapabilities,
): { readonly origin?: string } {
  if (origin === undefined) return {};
  const named = Object.entries(capabilities).every(([name, value]) =>
    Object.entries(value ?? {}).every(([member, set]) => NAMED.get(name)?.includes(member) === true && isPlain(set)),
  );
  return { origin: named && !Object.hasOwn(capabilities, 'extensions') ? origin : `${origin} with extensions` };
}

const isPlain = (value: unknown): boolean =>
  typeof value === 'boolean' || (typeof value === 'object' && value !== null && Object.keys(value).length === 0);

/** What is full when an address has its most sessions, or its share of them, and when a user has that of principals. */
export const OF_ADDRESS = 'sessions of this address';
export const OF_USER = 'principals of this user';
