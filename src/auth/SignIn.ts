import { createHash, timingSafeEqual } from 'node:crypto';
import {
  exchangeAuthorization,
  type FetchLike,
  validateAuthorizationResponseIssuer,
} from '@modelcontextprotocol/client';
import type { Clock } from '../core/clock.js';
import { messageOf, SignInError, show } from '../core/errors.js';
import type { Authority } from './discover.js';
import { lenientTokens } from './net/lenientTokens.js';
import type { OAuthServer } from './OAuthServer.js';
import type { Grants } from './store/Grants.js';
import type { StoredGrant } from './store/TokenStore.js';
import { clientInformation, failedAt, grantOf } from './tokens.js';

/** A sign-in that was begun is good for this long. */
export const SIGN_IN_MS = 600_000;

/** What a sign-in was begun with. */
export interface SignInParts {
  readonly server: OAuthServer;
  readonly principal: string | undefined;
  readonly authority: Authority;
  readonly client: StoredGrant['client'];
  readonly redirectUrl: string;
  readonly authorizationUrl: URL;
  readonly state: string;
  readonly codeVerifier: string;
  readonly scopes: readonly string[];
  readonly grants: Grants;
  readonly fetch: FetchLike;
  readonly clock: Clock;
}

/**
 * One sign-in under way: a person opens `url`, the authorization server sends the browser back to the redirect URL, and what comes there is
 * for `finish`. It is good once, for ten minutes.
 */
export class SignIn {
  readonly #parts: SignInParts;
  readonly #untilMs: number;
  #used = false;

  /** @internal */
  constructor(parts: SignInParts) {
    this.#parts = parts;
    this.#untilMs = parts.clock.now() + SIGN_IN_MS;
  }

  /** What the person opens. */
  get url(): string {
    return this.#parts.authorizationUrl.href;
  }

  /** The authorization server, which the person should recognize. */
  get issuer(): string {
    return this.#parts.authority.issuer;
  }

  /** Whether what came to the redirect URL belongs to this sign-in. Anything else there is to be ignored. */
  owns(callback: URLSearchParams): boolean {
    const given = callback.getAll('state');
    return given.length === 1 && timingSafeEqual(digest(given[0] ?? ''), digest(this.#parts.state));
  }

  /**
   * Takes the query that came to the redirect URL: its `state` must be this sign-in's, its `iss` the authorization server's (RFC 9207), which
   * is looked at before anything else that it says. Then the code is exchanged, and what it gives is stored.
   * @throws SignInError; nothing is stored then
   */
  async finish(callback: URLSearchParams): Promise<void> {
    const { server, principal, authority, client, redirectUrl, codeVerifier, grants, fetch, clock, scopes } =
      this.#parts;
    const refuse = (why: string, cause?: unknown): SignInError => new SignInError(server.name, why, cause);
    if (!this.owns(callback)) throw refuse('what came back belongs to another sign-in (state)');
    if (this.#used) throw refuse('it has been finished already: begin another');
    if (clock.now() > this.#untilMs) throw refuse(`it took longer than ${SIGN_IN_MS / 60_000} minutes: begin another`);
    this.#used = true;
    const { issuer, metadata, resource } = authority;
    const iss = callback.get('iss') ?? undefined;
    try {
      validateAuthorizationResponseIssuer({
        iss,
        expectedIssuer: issuer,
        issParameterSupported: metadata['authorization_response_iss_parameter_supported'] === true,
      });
    } catch (error) {
      throw refuse(`what came back is not from ${show(issuer)} (iss): ${messageOf(error)}`, error);
    }
    const error = callback.get('error');
    if (error !== null) {
      const description = callback.get('error_description');
      throw refuse(`${issuer} says ${show(error)}${description === null ? '' : `: ${show(description)}`}`);
    }
    const code = callback.get('code');
    if (code === null || code === '' || callback.getAll('code').length > 1) throw refuse('no code came back');
    const information = clientInformation(server, client);
    const askedAt = clock.wallNow();
    let grant: ReturnType<typeof grantOf>;
    try {
      const tokens = await exchangeAuthorization(issuer, {
        metadata,
        clientInformation: information,
        authorizationCode: code,
        ...(iss !== undefined && { iss }),
        codeVerifier,
        redirectUri: redirectUrl,
        resource,
        fetchFn: lenientTokens(fetch),
      });
      grant = grantOf(server, tokens, askedAt);
    } catch (failed) {
      throw failedAt(server, metadata, failed, [code, codeVerifier, information.client_secret]);
    }
    const scope = grant.scope ?? (scopes.length > 0 ? scopes.join(' ') : undefined);
    await grants.set(server, principal, {
      server: server.url,
      ...(principal !== undefined && { principal }),
      issuer,
      resource,
      client,
      ...grant,
      ...(scope !== undefined && { scope }),
    });
  }
}

const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
