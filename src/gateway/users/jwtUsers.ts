import { createHash } from 'node:crypto';
import type { JWTPayload, JWTVerifyGetKey, jwtVerify } from 'jose';
import { ForbiddenError, OptionError } from '../../core/errors.js';
import { checkArray, checkMs, checkText, withDefaults } from '../../core/options.js';
import type { Authenticate } from './Authenticate.js';
import { bearerOf } from './bearerTokens.js';
import { remoteKeys } from './remoteKeys.js';

export interface JwtOptions {
  /** Who issues the tokens: their `iss`, to the letter. */
  readonly issuer: string;
  /** Whom they are for: their `aud`. The resource that clients name (RFC 8707); a token for another is refused. */
  readonly audience: string;
  /** Where the issuer's keys are; or a function of `jose` that gives a key. */
  readonly jwks: string | JWTVerifyGetKey;
  /** Signatures that are taken. Never `none`, nor one with a shared secret. @defaultValue RS256, PS256, ES256, EdDSA and their longer kin */
  readonly algorithms?: readonly string[];
  /** Scopes that every token must have; without one of them: 403. @defaultValue [] */
  readonly scopes?: readonly string[];
  /** How far clocks may differ, in ms, from 0. @defaultValue 30000 */
  readonly clockToleranceMs?: number;
  /** How old keys may be, in ms, from 1. Then they are asked for anew behind the calls, as for a token with a key id that is not among them, and stand for a day where the issuer fails. @defaultValue 600000 */
  readonly cacheMs?: number;
  /** Keys are asked for anew no sooner than this after the last time, in ms, from 0, so that bad tokens are no weapon; where that failed and none are kept, after a second. @defaultValue 30000 */
  readonly cooldownMs?: number;
  /** Longest wait for the keys, in ms, from 1. @defaultValue 5000 */
  readonly timeoutMs?: number;
}

const ALGORITHMS = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
];

export const JWT_DEFAULTS = Object.freeze({
  algorithms: Object.freeze([...ALGORITHMS]) as readonly string[],
  scopes: Object.freeze([]) as readonly string[],
  clockToleranceMs: 30_000,
  cacheMs: 600_000,
  cooldownMs: 30_000,
  timeoutMs: 5_000,
});

/** What the credentials hook gets as a caller's context. */
export interface JwtContext {
  readonly claims: JWTPayload;
  readonly scopes: readonly string[];
}

/**
 * Users by JWT: signature, issuer, audience and times are checked by `jose` for every request. The principal is a hash of issuer, subject,
 * client and scopes, so that a token with fewer scopes never meets what one with more has opened; all of a subject have one share of what is bounded. The token itself is kept nowhere and
 * goes nowhere. @throws OptionError, and Error where this process may not address the memory that asking for keys takes
 */
export function jwtUsers(given: JwtOptions): Authenticate {
  const options = withDefaults('jwtUsers', given, JWT_DEFAULTS, { issuer: true, audience: true, jwks: true });
  const { issuer, audience, algorithms, scopes: needed, clockToleranceMs } = options;
  checkText('issuer', issuer);
  checkText('audience', audience);
  checkMs('clockToleranceMs', clockToleranceMs);
  for (const each of checkArray('scopes', needed)) checkText('scopes', each);
  for (const each of checkArray('algorithms', algorithms)) {
    if (!ALGORITHMS.includes(each)) throw new OptionError('algorithms', each, `of ${ALGORITHMS.join(', ')}`);
  }
  checkKeys(options);
  let keys: Promise<JWTVerifyGetKey> | undefined;
  const verifying = { issuer, audience, algorithms: [...algorithms], clockTolerance: clockToleranceMs / 1_000 };
  return async ({ headers }) => {
    const token = bearerOf(headers.authorization);
    if (token === undefined) return undefined;
    keys ??= typeof options.jwks === 'function' ? Promise.resolve(options.jwks) : remoteKeys(options.jwks, options);
    const claims = await verified(token, await keys, {
      ...verifying,
      requiredClaims: ['sub', 'exp'],
    });
    // `jose` asks that there is a subject, of whatever type (RFC 7519, 4.1.2: a string).
    if (claims === undefined || typeof claims.sub !== 'string' || claims.sub === '') return undefined;
    const scopes = scopesOf(claims);
    const missing = needed.find((each) => !scopes.includes(each));
    if (missing !== undefined)
      throw new ForbiddenError('gateway', { why: `the scope ${missing} is missing`, scope: missing });
    const client = claims['client_id'] ?? claims['azp'];
    const principal = hashOf([claims.iss, claims.sub, client ?? null, [...new Set(scopes)].sort()]);
    return {
      principal,
      subject: hashOf([claims.iss, claims.sub]),
      scopes,
      context: { claims, scopes } satisfies JwtContext,
    };
  };
}

const hashOf = (identity: unknown): string => createHash('sha256').update(JSON.stringify(identity)).digest('base64url');

/** Failures to get the keys, which say nothing of a token. */
const OF_THE_KEYS: ReadonlySet<string> = new Set(['ERR_JWKS_TIMEOUT', 'ERR_JWKS_INVALID', 'ERR_JOSE_GENERIC']);

/** So many keys a token is held against where several fit what it says of its own: an issuer's keys may have no ids, or one for two. */
const MAX_TRIED = 16;

/** The claims of a token that is in order; undefined for one that is not. Rejects when the keys cannot be had. */
async function verified(
  token: string,
  keys: JWTVerifyGetKey,
  options: Parameters<typeof jwtVerify>[2],
): Promise<JWTPayload | undefined> {
  const { jwtVerify, errors } = await jose();
  try {
    return (await jwtVerify(token, keys, options)).payload;
  } catch (error) {
    if (error instanceof errors.JWKSMultipleMatchingKeys) {
      let tried = 0;
      for await (const key of error) {
        if (tried++ === MAX_TRIED) break;
        // One that is too short to be used, as an old one may be, takes no other with it.
        const claims = await verified(token, async () => key, options).catch(() => undefined);
        if (claims !== undefined) return claims;
      }
      return undefined;
    }
    const { code } = error as { readonly code?: unknown };
    const ours = typeof code !== 'string' || OF_THE_KEYS.has(code);
    if (ours) throw error;
    return undefined;
  }
}

/** Loaded by the first token: most programs that import the gateway have no users by JWT. */
const jose = (): Promise<typeof import('jose')> => import('jose');

function checkKeys({ jwks, cacheMs, cooldownMs, timeoutMs }: Required<JwtOptions>): void {
  checkMs('cacheMs', cacheMs, { min: 1 });
  checkMs('cooldownMs', cooldownMs);
  checkMs('timeoutMs', timeoutMs, { min: 1 });
  if (typeof jwks === 'function') return;
  if (typeof jwks !== 'string' || !URL.canParse(jwks) || !/^https?:$/.test(new URL(jwks).protocol)) {
    throw new OptionError('jwks', jwks, 'an http or https URL, or a function of jose');
  }
}

function scopesOf({
  scope,
  scp,
}: JWTPayload & { readonly scope?: unknown; readonly scp?: unknown }): readonly string[] {
  const given = scope ?? scp ?? [];
  const all = typeof given === 'string' ? given.split(' ') : Array.isArray(given) ? given : [];
  return all.filter((each): each is string => typeof each === 'string' && each !== '');
}
