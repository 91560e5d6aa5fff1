import { hash } from 'node:crypto';

/**
 * Names of tools and prompts as clients of the aggregate see them: `prefix__name`, out of characters that MCP and model
 * APIs take (`A-Z a-z 0-9 _ -`), 128 at most. A name depends on the server's name in the config and the item's own name,
 * on nothing else: not on what other servers offer, who is up, or in which order they came. A prefix holds no `__` and does not
 * end in `_`, so that the first `__` of a name ends its prefix, and one name never leads to two servers. What had to be changed carries
 * a hash of the original, and so does what looks as if it did: two originals never share a name.
 */

const MAX_NAME = 128;
const MAX_PREFIX = 48;
const HASH_LENGTH = 8;
const HASHED = /-[0-9a-f]{8}$/;
const FOREIGN = /[^A-Za-z0-9_-]/g;
export const SEPARATOR = '__';

/** The part of a server's items' names that is the server's. */
export function prefixOf(server: string): string {
  const clean = server.replace(FOREIGN, '_');
  const plain = clean === server && !clean.includes(SEPARATOR) && !/^_|_$/.test(clean) && !HASHED.test(clean);
  if (plain && clean.length <= MAX_PREFIX) return clean;
  const short = clean
    .replace(/_{2,}/g, '_')
    .replace(/^_+|_+$/g, '')
    .slice(0, MAX_PREFIX - HASH_LENGTH - 1);
  return `${short === '' ? 'server' : short}-${hashOf(server)}`;
}

/** An item's name under a server's prefix. */
export function exposedName(prefix: string, name: string, separator = SEPARATOR): string {
  const room = MAX_NAME - prefix.length - separator.length;
  const clean = name.replace(FOREIGN, '_');
  if (clean === name && clean.length <= room && !HASHED.test(clean)) return `${prefix}${separator}${clean}`;
  return `${prefix}${separator}${clean.slice(0, room - HASH_LENGTH - 1)}-${hashOf(name)}`;
}

/** The prefix of an exposed name; undefined when it has none. */
export function prefixIn(exposed: string, separator = SEPARATOR): string | undefined {
  const end = exposed.indexOf(separator);
  return end <= 0 ? undefined : exposed.slice(0, end);
}

const hashOf = (text: string): string => hash('sha256', text).slice(0, HASH_LENGTH);
