import type { FetchLike } from '@modelcontextprotocol/client';
import { LRUCache } from 'lru-cache';
import type { CredentialSet } from '../connection/checkCredentials.js';
import type { Clock } from '../core/clock.js';
import { show, UnauthorizedError } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import { within } from '../core/time/within.js';
import type { CredentialsRequest } from '../pool/server/callers/Credentials.js';
import { type Authority, authorityOf, sameIssuer } from './discover.js';
import { keyOf, type OAuthServer } from './OAuthServer.js';
import type { RenewalPauses } from './RenewalPauses.js';
import { refreshed } from './requests.js';
import type { Grants } from './store/Grants.js';
import type { StoredGrant } from './store/TokenStore.js';
import { failedAt, isFinal } from './tokens.js';

export interface GrantedTokensOptions {
  readonly grants: Grants;
  readonly pauses: RenewalPauses;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly fetching: (server: OAuthServer, signal?: AbortSignal) => FetchLike;
}

/** Why a token is asked for, and until when. */
export interface Ask extends Pick<CredentialsRequest, 'reason' | 'signal'> {
  readonly challenge: string | undefined;
}

/** As close to its expiry a token is taken for expired. */
const EARLY_MS = 5_000;
/** Grants that were handed out last. */
const MAX_GIVEN = 10_000;
/** For no longer is a token handed out without a look at the store: another process may have signed out, or in anew. In ms. */
const LOOK_MS = 60_000;

/** A grant as it was handed out last. */
interface Given {
  readonly grant: StoredGrant;
  /** Whether it is good for longer than was said. */
  readonly longer: boolean;
}

/** The tokens of people's sign-ins: as they are stored while they are good, and renewed by their refresh token. */
export class GrantedTokens {
  readonly #options: GrantedTokensOptions;
  readonly #given = new LRUCache<string, Given>({ max: MAX_GIVEN });
  /** Renewals that the authorization server has been asked for, by key. They go on to their end without those who asked. */
  readonly #sent = new Map<string, Promise<unknown>>();

  constructor(options: GrantedTokensOptions) {
    this.#options = options;
  }

  /** Undefined when there is nothing better than what was given. @throws UnauthorizedError when a person has to sign in; SignInError */
  async get(server: OAuthServer, principal: string | undefined, ask: Ask): Promise<CredentialSet | undefined> {
    const { grants, pauses, clock } = this.#options;
    const key = keyOf(server, principal);
    const sent = this.#sent.get(key);
    if (sent !== undefined) await within(sent, { clock, signal: ask.signal });
    const given = this.#given.get(key);
    const isGood = ({ expiresAt = Number.POSITIVE_INFINITY }: StoredGrant): boolean =>
      expiresAt - EARLY_MS > clock.wallNow();
    const grant = await grants.get(server, principal).catch((error: unknown) => {
      // What fails while a token is good costs nothing.
      if (ask.reason !== '401' && given?.longer === true && isGood(given.grant)) return given.grant;
      throw error;
    });
    if (grant === undefined) throw needsSignIn(server, 'there was none yet', ask);
    const { issuer = grant.issuer, clientId = grant.client.id } = server.auth;
    if (!sameIssuer(issuer, grant.issuer) || clientId !== grant.client.id) {
      throw needsSignIn(
        server,
        'the config names another authorization server or client than the last one was with',
        ask,
      );
    }
    // One that was not handed out before is another process's renewal, or a person's new sign-in.
    const known = given?.grant.accessToken === grant.accessToken;
    const stands = ask.reason === 'start' || !known || (ask.reason === 'renewal' && given.longer);
    if (stands && isGood(grant)) return this.#give(key, grant);
    if (grant.refreshToken === undefined) {
      if (ask.reason === 'renewal') return undefined;
      throw needsSignIn(server, 'its token is not taken any more and cannot be renewed', ask);
    }
    // What is new there is used at once: a new sign-in waits for no pause.
    if (ask.reason === '401' && !pauses.begin(key)) return this.#give(key, grant);
    const work = (): Promise<StoredGrant> => this.#renew(server, principal, grant, ask);
    return this.#give(key, await grants.exclusive(server, principal, work, ask.signal));
  }

  /** `seen`: what was found before it was this one's turn. */
  async #renew(server: OAuthServer, principal: string | undefined, seen: StoredGrant, ask: Ask): Promise<StoredGrant> {
    const { grants } = this.#options;
    const grant = await grants.get(server, principal);
    if (grant === undefined) throw needsSignIn(server, 'the last one is over', ask);
    // Another process was first: a refresh token that rotates is good once.
    if (grant.accessToken !== seen.accessToken) return grant;
    const { refreshToken } = grant;
    if (refreshToken === undefined) throw needsSignIn(server, 'its token cannot be renewed', ask);
    const key = keyOf(server, principal);
    return this.#options.pauses.run(key, async () => {
      // By the issuer of the grant: whatever the server names by now, the refresh token is shown to no other.
      const asked = authorityOf(server.name, grant.issuer, this.#options.fetching(server, ask.signal));
      const authority = await asked.finally(() => ask.signal.throwIfAborted());
      const renewal = this.#send(server, principal, { ...grant, refreshToken }, authority, ask);
      const over = renewal.then(noop, noop).finally(() => this.#sent.delete(key));
      this.#sent.set(key, over);
      return renewal;
    });
  }

  /** The refresh token may be spent as soon as it was sent: the answer is waited for, whatever the asker's signal says, and stored. */
  async #send(
    server: OAuthServer,
    principal: string | undefined,
    grant: StoredGrant & { readonly refreshToken: string },
    authority: Pick<Authority, 'issuer' | 'metadata'>,
    ask: Ask,
  ): Promise<StoredGrant> {
    const { grants, clock, logger, fetching } = this.#options;
    const { refreshToken, expiresAt: _, ...rest } = grant;
    let fresh: Awaited<ReturnType<typeof refreshed>>;
    try {
      fresh = await refreshed(server, grant, authority, fetching(server), clock.wallNow());
    } catch (error) {
      const secrets = [refreshToken, grant.client.secret, server.auth.clientSecret];
      if (!isFinal(error)) throw failedAt(server, authority.metadata, error, secrets);
      // Something else there: a new sign-in, or a store that cannot keep processes apart, where the other was faster.
      const other = await grants.delete(server, principal, grant);
      if (other !== undefined) return other;
      throw needsSignIn(server, `${grant.issuer} has ended the last one`, ask);
    }
    const now = await grants.replace(server, principal, grant, { ...rest, refreshToken, ...fresh });
    if (now === undefined) throw needsSignIn(server, 'the last one was signed out of meanwhile', ask);
    logger.debug({ server: server.name }, 'a token was renewed');
    return now;
  }

  #give(key: string, grant: StoredGrant): CredentialSet {
    const { accessToken, expiresAt = Number.POSITIVE_INFINITY } = grant;
    const lookAt = this.#options.clock.wallNow() + LOOK_MS;
    const longer = expiresAt > lookAt;
    this.#given.set(key, { grant, longer });
    return bearer({ accessToken, expiresAt: longer ? lookAt : expiresAt });
  }
}

const noop = (): void => undefined;

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
