import { isIP } from 'node:net';

/**
 * A name, an IPv4 address or an IPv6 address in brackets, and a port or none (RFC 9110, 7.2): nothing else is read as one. The dot of the root
 * (RFC 1034, 3.1) behind a name, as browsers send it where it was typed, is no part of it.
 */
const HOST = /^(?:(\[[0-9A-Fa-f:.]{2,45}\])|([A-Za-z0-9](?:[A-Za-z0-9._-]{0,253}[A-Za-z0-9])?)\.?)(?::([0-9]{1,5}))?$/;

/** The name of a `Host` header in lower case, without its port; undefined when it is not of the grammar. */
export function hostNameOf(header: string | undefined): string | undefined {
  const hit = header === undefined ? null : HOST.exec(header);
  if (hit === null || Number(hit[3] ?? 0) > 65_535) return undefined;
  return (hit[1] ?? hit[2])?.toLowerCase();
}

/** What stands in `Host` headers for a host that may be asked for; undefined for what stands in none, such as `*.example.com`. */
export function allowedNameOf(given: string): string | undefined {
  return hostNameOf(isIP(given) === 6 ? `[${given}]` : given);
}

/** Whether a text is a name of a host by itself, without a port. */
export const isHostName = (given: string): boolean =>
  allowedNameOf(given) !== undefined && (isIP(given) === 6 || !/:[0-9]+$/.test(given));
