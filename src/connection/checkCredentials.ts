import { OptionError } from '../core/errors.js';

/** What a server needs to act for a principal. */
export interface CredentialSet {
  /** Added to every HTTP request to the server's origin. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Added to the environment of a process started for the principal. */
  readonly env?: Readonly<Record<string, string>>;
  /**
   * Epoch ms at which they expire; never when undefined. On connections to URLs they are asked for anew 30 s before (half of their time
   * before, when that is shorter); a process keeps the environment that it was started with.
   */
  readonly expiresAt?: number;
}

/**
 * What a credentials hook gave; undefined for nothing, however it says so. A token by itself, for one, would be sent nowhere, and its
 * calls be made as no one's. What it gave may be a secret: no error shows it. @throws OptionError
 */
export function checkCredentials(given: CredentialSet | null | undefined): CredentialSet | undefined {
  if (given === undefined || given === null) return undefined;
  if (!isTable(given))
    throw new OptionError('credentials', undefined, 'an object with headers, env and expiresAt, or nothing');
  for (const name of ['headers', 'env'] as const) {
    if (given[name] === undefined || isTable(given[name])) continue;
    throw new OptionError(`credentials.${name}`, undefined, 'an object of names and values');
  }
  const { expiresAt = 0 } = given;
  if (typeof expiresAt === 'number' && !Number.isNaN(expiresAt)) return given;
  throw new OptionError('credentials.expiresAt', expiresAt, 'ms since the epoch');
}

const isTable = (value: unknown): boolean => typeof value === 'object' && value !== null && !Array.isArray(value);
