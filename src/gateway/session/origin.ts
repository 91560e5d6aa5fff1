import { isIPv6 } from 'node:net';
import type { Endpoint } from '../endpoint/Endpoint.js';

/** Whose share of the sessions a session counts to: its principal's, else that of where its client connected from. */
export function originOf({ anyone }: Endpoint, address: string | undefined): string {
  const principal = anyone.caller?.principal;
  return principal === undefined ? addressOrigin(address) : `principal ${principal}`;
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
