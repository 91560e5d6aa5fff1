import { OptionError } from '../core/errors.js';

interface Given {
  readonly headers?: unknown;
  readonly env?: unknown;
  readonly expiresAt?: unknown;
}

/**
 * What a credentials hook gave; undefined for nothing, however it says so. A token by itself, for one, would be sent nowhere, and its
 * calls be made as no one's. What it gave may be a secret: no error shows it. @throws OptionError
 */
export function checkCredentials<T extends Given>(given: T | null | undefined): T | undefined {
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
