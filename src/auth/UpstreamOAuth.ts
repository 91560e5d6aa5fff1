import { randomBytes } from 'node:crypto';
import type { LookupFunction } from 'node:net';
import { type FetchLike, startAuthorization } from '@modelcontextprotocol/client';
import type { CredentialSet } from '../connection/checkCredentials.js';
import { assertFetch } from '../connection/net/assertFetch.js';
import { type Clock, systemClock } from '../core/clock.js';
import { messageOf, OptionError, SignInError, show } from '../core/errors.js';
import { type Logger, silentLogger } from '../core/logger.js';
import {
  checkArray,
  checkBytes,
  checkFunction,
  checkMs,
  checkString,
  checkText,
  withDefaults,
} from '../core/options.js';
import { isLoopbackHost } from '../core/text/isLoopbackHost.js';
import { withDeadline } from '../core/time/within.js';
import { SingleFlight } from '../core/wait/SingleFlight.js';
import type { Caller } from '../pool/McpPool.js';
import type { CredentialsHook, CredentialsRequest } from '../pool/server/callers/Credentials.js';
import type { SingleServerConfig } from '../registry/config/ServerConfig.js';
import { type Authority, authorityOf, discover, withOffline } from './discover.js';
import { bearer, GrantedTokens } from './GrantedTokens.js';
import { checkTarget, guardedFetch } from './net/guardedFetch.js';
import { keyOf, type OAuthServer, oauthServerOf, reachOf } from './OAuthServer.js';
import { RenewalPauses } from './RenewalPauses.js';
import { ownToken, registered, revoked } from './requests.js';
import { SignIn } from './SignIn.js';
import { Grants } from './store/Grants.js';
import type { StoredGrant, TokenStore } from './store/TokenStore.js';
import { failedAt } from './tokens.js';

export interface UpstreamOAuthOptions {
  /** Where what a sign-in gave is kept. */
  readonly store: TokenStore;
  /** What people are shown at the authorization server. @defaultValue 'mcp-poolkit' */
  readonly clientName?: string;
  /** Longest request to an authorization server, in ms, from 1. A renewal as a whole may take three times as long. @defaultValue 10000 */
  readonly requestTimeoutMs?: number;
  /** Most bytes of one of its answers, from 1024. @defaultValue 262144 */
  readonly maxResponseBytes?: number;
  /**
   * Whose sign-in a caller uses, as `begin` names it in `principal`: where the principal is more than a person (with client and scopes in it),
   * the person. It must be as unique as a user. @defaultValue the caller's principal
   */
  readonly ownerOf?: (caller: Caller | undefined) => string | undefined;
  /** Names to addresses, as `dns.lookup`; what it gives is checked. @defaultValue the system's */
  readonly lookup?: LookupFunction;
  /** Where time comes from. @defaultValue the system's clock */
  readonly clock?: Clock;
  /** Told of renewals and what went wrong with them; never of tokens. @defaultValue none */
  readonly logger?: Logger;
}

export const UPSTREAM_OAUTH_DEFAULTS = Object.freeze({
  clientName: 'mcp-poolkit',
  requestTimeoutMs: 10_000,
  maxResponseBytes: 262_144,
});

/** Of the page to sign in at: no authorization server's front takes a longer one, and a person is to see it. */
const MAX_PAGE_URL = 8_192;

/** How a server's sign-in stands; without any secret. */
export interface SignInStatus {
  readonly signedIn: boolean;
  readonly issuer?: string;
  readonly scope?: string;
  /** Epoch ms at which the token expires; absent when that is not known. */
  readonly expiresAt?: number;
  /** Whether it is renewed without a person. */
  readonly renewable?: boolean;
}

/** What a sign-in begins with. */
export interface BeginOptions {
  /** Where the authorization server sends the browser back to: https, or http on loopback. What comes there is for `SignIn.finish`. */
  readonly redirectUrl: string;
  /** Whose sign-in it is: the caller's principal. @defaultValue that of callers without one */
  readonly principal?: string;
  /** What is asked for. @defaultValue `auth.scopes` of the config, else what the server asks for */
  readonly scopes?: readonly string[];
  /** What the server said with its refusal (`WWW-Authenticate`). @defaultValue nothing */
  readonly challenge?: string;
  /** Ends it. @defaultValue none */
  readonly signal?: AbortSignal;
}

/**
 * Signs in to servers whose config has `auth: { type: 'oauth' }`, and gives pools what they act with: hand `credentials` to a pool. A grant is
 * kept and used by server and principal, and never for another of either; nothing that a client brought goes to a server or an
 * authorization server. It holds nothing open and needs no end: a renewal that was sent goes on until its answer is stored, and the close of a
 * pool waits for it.
 */
export class UpstreamOAuth {
  /** For a pool's `credentials`. Undefined for servers without `auth`. @throws UnauthorizedError, SignInError */
  readonly credentials: CredentialsHook = Object.assign(
    (request: CredentialsRequest): Promise<CredentialSet | undefined> => this.#credentials(request),
    { settled: (): Promise<void> => this.#grants.settled() },
  );
  readonly #options: Required<Omit<UpstreamOAuthOptions, 'lookup'>> & Pick<UpstreamOAuthOptions, 'lookup'>;
  readonly #grants: Grants;
  readonly #granted: GrantedTokens;
  readonly #pauses: RenewalPauses;
  readonly #flights = new SingleFlight();

  /** @throws OptionError */
  constructor(given: UpstreamOAuthOptions) {
    const others = { store: true, ownerOf: true, lookup: true, clock: true, logger: true } as const;
    const options = withDefaults('UpstreamOAuth', given, UPSTREAM_OAUTH_DEFAULTS, others);
    const { store, ownerOf = principalOf, clock = systemClock, logger = silentLogger } = options;
    for (const method of ['get', 'set', 'delete'] as const) checkFunction(`store.${method}`, store?.[method]);
    if (options.lookup !== undefined) checkFunction('lookup', options.lookup);
    this.#options = {
      ...options,
      clientName: checkText('clientName', options.clientName),
      requestTimeoutMs: checkMs('requestTimeoutMs', options.requestTimeoutMs, { min: 1 }),
      maxResponseBytes: checkBytes('maxResponseBytes', options.maxResponseBytes, { min: 1_024 }),
      ownerOf: checkFunction('ownerOf', ownerOf),
      clock,
      logger,
    };
    this.#grants = new Grants({ store, clock, logger, revoke: (server, grant) => this.#revoke(server, grant) });
    this.#pauses = new RenewalPauses(clock);
    this.#granted = new GrantedTokens({
      grants: this.#grants,
      pauses: this.#pauses,
      clock,
      logger,
      fetching: (server, signal) => this.#fetching(server, signal),
    });
  }

  /** Begins a person's sign-in to a server. @throws OptionError, SignInError */
  async begin(config: SingleServerConfig, options: BeginOptions): Promise<SignIn> {
    const { redirectUrl, principal, challenge, signal } = options;
    if (principal !== undefined) checkString('principal', principal);
    if (challenge !== undefined) checkString('challenge', challenge);
    for (const scope of checkArray('scopes', options.scopes ?? [])) checkText('scopes', scope);
    const server = signInServer(config);
    const { protocol, hostname } = URL.canParse(redirectUrl) ? new URL(redirectUrl) : { protocol: '', hostname: '' };
    if (protocol !== 'https:' && !(protocol === 'http:' && isLoopbackHost(hostname))) {
      throw new OptionError('redirectUrl', redirectUrl, 'an https URL, or an http URL on loopback');
    }
    const fetch = this.#fetching(server, signal);
    const authority = await discover(server, fetch, challenge);
    const { issuer, metadata, resource } = authority;
    // Without PKCE a stolen code is worth a token; a server that takes it says so (MCP authorization, 2025-11-25).
    if (metadata.code_challenge_methods_supported?.includes('S256') !== true) {
      throw new SignInError(
        server.name,
        `${issuer} does not say that it takes PKCE (S256), without which codes can be stolen`,
      );
    }
    try {
      checkTarget(new URL(metadata.authorization_endpoint), reachOf(server));
    } catch (error) {
      throw new SignInError(server.name, `the page of ${issuer} to sign in at: ${messageOf(error)}`, error);
    }
    const scopes = options.scopes ?? server.auth.scopes ?? withOffline(authority);
    const client = await this.#client(server, principal, authority, { redirectUrl, scopes }, fetch);
    const state = randomBytes(32).toString('base64url');
    const { authorizationUrl, codeVerifier } = await startAuthorization(issuer, {
      metadata,
      clientInformation: { client_id: client.id },
      redirectUrl,
      state,
      resource,
      ...(scopes.length > 0 && { scope: scopes.join(' ') }),
    }).catch((error: unknown) => {
      throw failedAt(server, metadata, error, []);
    });
    const { length } = authorizationUrl.href;
    if (length > MAX_PAGE_URL) {
      throw new SignInError(
        server.name,
        `the page of ${show(issuer)} to sign in at: its URL has ${length} characters, ${MAX_PAGE_URL} are allowed`,
      );
    }
    const grants = this.#grants;
    const { clock } = this.#options;
    const parts = { server, principal, authority, client, redirectUrl, authorizationUrl, state, codeVerifier, scopes };
    return new SignIn({ ...parts, grants, fetch, clock });
  }

  /** How the sign-in to a server stands; nothing is asked over the network. @throws OptionError, SignInError */
  async status(config: SingleServerConfig, { principal }: { readonly principal?: string } = {}): Promise<SignInStatus> {
    const grant = await this.#grants.get(signInServer(config), principal);
    if (grant === undefined) return { signedIn: false };
    const { issuer, scope, expiresAt, refreshToken } = grant;
    const renewable = refreshToken !== undefined;
    const over = !renewable && expiresAt !== undefined && expiresAt <= this.#options.clock.wallNow();
    return {
      signedIn: !over,
      issuer,
      ...(scope !== undefined && { scope }),
      ...(expiresAt !== undefined && { expiresAt }),
      renewable,
    };
  }

  /**
   * Forgets what a sign-in gave, and has the authorization server forget it where it can: `revoked` says whether it has.
   * @throws OptionError, SignInError
   */
  async signOut(
    config: SingleServerConfig,
    { principal, signal }: { readonly principal?: string; readonly signal?: AbortSignal } = {},
  ): Promise<{ readonly revoked: boolean }> {
    const server = signInServer(config);
    // What cannot be read is removed too.
    const grant = await this.#grants.get(server, principal).catch(() => undefined);
    await this.#grants.delete(server, principal);
    return { revoked: grant !== undefined && (await this.#revoke(server, grant, signal)) };
  }

  /** Never rejects. */
  async #revoke(server: OAuthServer, grant: StoredGrant, signal?: AbortSignal): Promise<boolean> {
    try {
      const fetch = this.#fetching(server, signal);
      return await revoked(server, grant, await authorityOf(server.name, grant.issuer, fetch), fetch);
    } catch (error) {
      this.#options.logger.debug({ server: server.name, error: messageOf(error) }, 'the token could not be revoked');
      return false;
    }
  }

  async #credentials({
    config,
    caller,
    signal,
    reason,
    challenge,
  }: CredentialsRequest): Promise<CredentialSet | undefined> {
    const server = oauthServerOf(config);
    if (server === undefined) return undefined;
    const { clock, requestTimeoutMs } = this.#options;
    const principal = this.#options.ownerOf(caller);
    if (principal !== undefined) checkText('ownerOf', principal);
    const late = (): unknown => new SignInError(server.name, `a token did not come within ${3 * requestTimeoutMs} ms`);
    const key = keyOf(server, principal);
    const work = (bound: AbortSignal): Promise<CredentialSet | undefined> =>
      withDeadline({ clock, timeoutMs: 3 * requestTimeoutMs, late, signal: bound }, async (end) => {
        if (server.auth.grant !== 'client_credentials') {
          return this.#granted.get(server, principal, { reason, challenge, signal: end });
        }
        if (reason === '401' && !this.#pauses.begin(key)) return undefined;
        return this.#pauses.run(key, () => this.#own(server, challenge, end).finally(() => end.throwIfAborted()));
      });
    return this.#flights.run(key, work, signal);
  }

  async #own(server: OAuthServer, challenge: string | undefined, signal: AbortSignal): Promise<CredentialSet> {
    const fetch = this.#fetching(server, signal);
    const authority = await discover(server, fetch, challenge);
    return bearer(await ownToken(server, authority, fetch, this.#options.clock.wallNow()));
  }

  async #client(
    server: OAuthServer,
    principal: string | undefined,
    authority: Authority,
    { redirectUrl, scopes }: { readonly redirectUrl: string; readonly scopes: readonly string[] },
    fetch: FetchLike,
  ): Promise<StoredGrant['client']> {
    const { clientId, clientMetadataUrl } = server.auth;
    if (clientId !== undefined) return { id: clientId };
    if (clientMetadataUrl !== undefined && authority.metadata['client_id_metadata_document_supported'] === true) {
      return { id: clientMetadataUrl };
    }
    const known = await this.#grants.get(server, principal);
    if (known?.issuer === authority.issuer && known.client.redirectUrl === redirectUrl) return known.client;
    const { clientName } = this.#options;
    return registered(server, authority, { redirectUrl, clientName, scopes }, fetch);
  }

  #fetching(server: OAuthServer, signal?: AbortSignal): FetchLike {
    assertFetch();
    const { requestTimeoutMs: timeoutMs, maxResponseBytes: maxBytes, lookup } = this.#options;
    const reach = reachOf(server);
    return guardedFetch({ reach, timeoutMs, maxBytes, signal, ...(lookup && { lookup }) });
  }
}

const principalOf = (caller: Caller | undefined): string | undefined => caller?.principal;

/** @throws OptionError for a server that no person signs in to */
function signInServer(config: SingleServerConfig): OAuthServer {
  const server = oauthServerOf(config);
  if (server === undefined)
    throw new OptionError('config.auth', undefined, `"auth": { "type": "oauth" } for a sign-in`);
  if (server.auth.grant === 'client_credentials') {
    throw new OptionError('config.auth.grant', 'client_credentials', 'authorization_code: this one signs in by itself');
  }
  return server;
}
