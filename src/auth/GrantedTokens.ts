import { LRUCache } from 'lru-cache';
import type { Clock } from '../core/clock.js';
import { show, UnauthorizedError } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import type { CredentialSet, CredentialsRequest } from '../pool/server/callers/Credentials.js';
import { authorityOf, type MakeFetch } from './discover.js';
import type { Grants } from './Grants.js';
import { keyOf, type OAuthServer } from './OAuthServer.js';
import { refreshed } from './requests.js';
import type { StoredGrant } from './store/TokenStore.js';
import { failedAt, isFinal } from './tokens.js';

export interface GrantedTokensOptions {
  readonly grants: Grants;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly fetching: (server: OAuthServer, signal: AbortSignal) => MakeFetch;
}

/** Why a token is asked for, and until when. */
export interface Ask extends Pick<CredentialsRequest, 'reason' | 'signal'> {
  readonly challenge: string | undefined;
}

/** As close to its expiry a token is taken for expired. */
const EARLY_MS = 5_000;
/** Tokens that were handed out last, by grant. */
const MAX_GIVEN = 10_000;

/** The tokens of people's sign-ins: as they are stored while they are good, and renewed by their refresh token. */
export class GrantedTokens {
  readonly #options: GrantedTokensOptions;
  readonly #given = new LRUCache<string, string>({ max: MAX_GIVEN });

  constructor(options: GrantedTokensOptions) {
    this.#options = options;
  }

  /** Undefined when there is nothing better than what was given. @throws UnauthorizedError when a person has to sign in; SignInError */
  async get(server: OAuthServer, principal: string | undefined, ask: Ask): Promise<CredentialSet | undefined> {
    const { grants, clock } = this.#options;
    const grant = await grants.get(server, principal);
    if (grant === undefined) throw needsSignIn(server, 'there was none yet', ask);
    const { issuer = grant.issuer, clientId = grant.client.id } = server.auth;
    if (issuer !== grant.issuer || clientId !== grant.client.id) {
      throw needsSignIn(
        server,
        'the config names another authorization server or client than the last one was with',
        ask,
      );
    }
    const key = keyOf(server, principal);
    const { expiresAt = Number.POSITIVE_INFINITY, refreshToken } = grant;
    const good = expiresAt - EARLY_MS > clock.wallNow();
    // One that was not handed out before is another process's renewal, or a person's new sign-in.
    if (good && (ask.reason === 'start' || this.#given.get(key) !== grant.accessToken)) return this.#give(key, grant);
    if (refreshToken === undefined) {
      if (ask.reason === 'renewal') return undefined;
      throw needsSignIn(server, 'its token is not taken any more and cannot be renewed', ask);
    }
    const work = (): Promise<StoredGrant> => this.#renew(server, principal, grant, ask);
    return this.#give(key, await grants.exclusive(server, principal, work, ask.signal));
  }

  /** `seen`: what was found before it was this one's turn. */
  async #renew(server: OAuthServer, principal: string | undefined, seen: StoredGrant, ask: Ask): Promise<StoredGrant> {
    const { grants, clock, logger, fetching } = this.#options;
    const grant = await grants.get(server, principal);
    if (grant === undefined) throw needsSignIn(server, 'the last one is over', ask);
    // Another process was first: a refresh token that rotates is good once.
    if (grant.accessToken !== seen.accessToken) return grant;
    const { refreshToken } = grant;
    if (refreshToken === undefined) throw needsSignIn(server, 'its token cannot be renewed', ask);
    const makeFetch = fetching(server, ask.signal);
    // By the issuer of the grant: whatever the server names by now, the refresh token is shown to no other.
    const authority = await authorityOf(server.name, grant.issuer, makeFetch);
    const { metadata } = authority;
    try {
      const fresh = await refreshed(server, { ...grant, refreshToken }, authority, makeFetch(), clock.wallNow());
      const { expiresAt: _, ...rest } = grant;
      const renewed = { ...rest, ...fresh };
      await grants.set(server, principal, renewed);
      logger.debug({ server: server.name }, 'a token was renewed');
      return renewed;
    } catch (error) {
      const secrets = [refreshToken, grant.client.secret, server.auth.clientSecret];
      if (!isFinal(error)) throw failedAt(server, metadata, error, secrets);
      const now = await grants.get(server, principal);
      // A store that cannot keep processes apart: the other was faster.
      if (now !== undefined && now.accessToken !== grant.accessToken) return now;
      await grants.delete(server, principal);
      throw needsSignIn(server, `${grant.issuer} has ended the last one`, ask);
    }
  }

  #give(key: string, grant: StoredGrant): CredentialSet {
    this.#given.set(key, grant.accessToken);
    return bearer(grant);
  }
}

function needsSignIn({ name }: OAuthServer, why: string, { challenge }: Ask): UnauthorizedError {
  // As a shell takes it, whatever the name holds.
  const command = /^[\w.-]+$/.test(name) ? name : `'${name.replaceAll("'", "'\\''")}'`;
  const text = `server ${show(name)} needs a sign-in (${why}): run mcp-poolkit auth ${command}`;
  return new UnauthorizedError(name, { why: text, ...(challenge !== undefined && { challenge }) });
}

/** What a pool acts with. */
export function bearer({ accessToken, expiresAt }: Pick<StoredGrant, 'accessToken' | 'expiresAt'>): CredentialSet {
  return { headers: { authorization: `Bearer ${accessToken}` }, ...(expiresAt !== undefined && { expiresAt }) };
}
