import { createHash, timingSafeEqual } from 'node:crypto';
import { OptionError } from '../../core/errors.js';
import { checkRecord } from '../../core/options.js';
import type { Authenticate, User } from './Authenticate.js';

/** The token of a `Bearer` header (RFC 6750, 2.1); undefined without one, or with anything beside it. */
export function bearerOf(header: string | undefined): string | undefined {
  return /^bearer +([A-Za-z0-9\-._~+/]+=*) *$/i.exec(header ?? '')?.[1];
}

const digest = (text: string): Buffer => createHash('sha256').update(text).digest();

/** Who a fixed token is of. */
export interface TokenUser {
  /** As limits, audit, logs and hooks are told it: the text given here, nothing added. */
  readonly principal: string;
  /** What it allows, where the gateway has rules by scope. @defaultValue [] */
  readonly scopes?: readonly string[];
}

/**
 * Users by fixed tokens: `{ token: principal }`, or `{ token: { principal, scopes } }`, from a file or the environment. All are compared, by hashes of one length, so that the
 * time says nothing of them. @throws OptionError for one that is shorter than 16 characters or no bearer token
 */
export function bearerTokens(tokens: Readonly<Record<string, string | TokenUser>>): Authenticate {
  const known = Object.entries(checkRecord('tokens', tokens)).map(([token, given]) => {
    const { principal, scopes = [] } = typeof given === 'string' ? { principal: given } : given;
    if (token.length < 16 || bearerOf(`Bearer ${token}`) !== token) {
      throw new OptionError(
        'tokens',
        `one of ${token.length} characters`,
        'tokens of 16 characters or more of RFC 6750',
      );
    }
    if (typeof principal !== 'string' || principal === '') throw new OptionError('tokens', principal, 'a principal');
    if (!Array.isArray(scopes) || scopes.some((each) => typeof each !== 'string')) {
      throw new OptionError('tokens', scopes, 'scopes as an array of strings');
    }
    return { hash: digest(token), user: { principal, scopes } satisfies User };
  });
  return async ({ headers }) => {
    const given = bearerOf(headers.authorization);
    if (given === undefined) return undefined;
    const hash = digest(given);
    let found: User | undefined;
    for (const each of known) if (timingSafeEqual(each.hash, hash)) found = each.user;
    return found;
  };
}
