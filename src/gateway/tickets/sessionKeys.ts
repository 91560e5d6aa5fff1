import { hkdfSync } from 'node:crypto';
import { OptionError } from '../../core/errors.js';

/** Bytes of a secret, from this many on: as long as the key that is made of it. */
const MIN_SECRET_BYTES = 32;
/** Secrets at once: while keys change there are two, sometimes three. */
const MAX_SECRETS = 16;
/** Bytes of the name that a ticket carries of its key. */
export const KEY_NAME_BYTES = 4;

/** A key that seals tickets, and what a ticket names it by. */
export interface SessionKey {
  readonly key: Uint8Array;
  /** Says nothing of the key. */
  readonly name: string;
}

/** The keys made of secrets, in their order. The error never shows a secret. @throws OptionError */
export function sessionKeysOf(secrets: readonly (string | Uint8Array)[]): readonly SessionKey[] {
  if (!Array.isArray(secrets) || secrets.length === 0 || secrets.length > MAX_SECRETS) {
    const got = Array.isArray(secrets) ? `${secrets.length} secrets` : typeof secrets;
    throw new OptionError('sessionKeys', got, `an array of 1 to ${MAX_SECRETS} secrets`);
  }
  const keys = secrets.map((secret, index) => {
    const bytes = bytesOf(secret);
    if (bytes !== undefined && bytes.length >= MIN_SECRET_BYTES && new Set(bytes).size > 1) return keyOf(bytes);
    const got = bytes === undefined ? typeof secret : `${bytes.length} bytes`;
    throw new OptionError(`sessionKeys[${index}]`, got, `a secret of ${MIN_SECRET_BYTES} random bytes or more`);
  });
  if (new Set(keys.map(({ name }) => name)).size < keys.length) {
    throw new OptionError('sessionKeys', `${keys.length} secrets`, 'secrets that are not alike');
  }
  return keys;
}

const bytesOf = (secret: unknown): Uint8Array | undefined => {
  if (typeof secret === 'string') return Buffer.from(secret, 'utf8');
  return secret instanceof Uint8Array ? secret : undefined;
};

function keyOf(secret: Uint8Array): SessionKey {
  const made = (what: string, length: number): Uint8Array =>
    new Uint8Array(hkdfSync('sha256', secret, '', `mcp-poolkit session ticket 1: ${what}`, length));
  return { key: made('key', 32), name: Buffer.from(made('name', KEY_NAME_BYTES)).toString('base64url') };
}
