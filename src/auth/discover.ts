import {
  type AuthorizationServerMetadata,
  checkResourceAllowed,
  discoverAuthorizationServerMetadata,
  discoverOAuthProtectedResourceMetadata,
  extractWWWAuthenticateParams,
  type FetchLike,
  type OAuthProtectedResourceMetadata,
  resourceUrlFromServerUrl,
} from '@modelcontextprotocol/client';
import { messageOf, SignInError, show } from '../core/errors.js';
import { GuardError } from './net/guardedFetch.js';
import type { OAuthServer } from './OAuthServer.js';

/** Who gives tokens for a server, and what they are for. */
export interface Authority {
  readonly issuer: string;
  readonly metadata: AuthorizationServerMetadata;
  /** What the token is for (RFC 8707). */
  readonly resource: string;
  /** What the server asks for in its challenge, else all that it names; undefined when it says nothing. */
  readonly scopes: readonly string[] | undefined;
}

/** Makes the `fetch` for one step, and tells it every status. */
export type MakeFetch = (onStatus?: (status: number) => void) => FetchLike;

/**
 * Asks the server who its authorization server is (RFC 9728), and that one for its metadata (RFC 8414). `challenge`: what the server said
 * with a 401. @throws SignInError
 */
export async function discover(server: OAuthServer, makeFetch: MakeFetch, challenge?: string): Promise<Authority> {
  const { name, url, auth } = server;
  const said = challenge === undefined ? {} : extractWWWAuthenticateParams(answerWith(challenge));
  const resource = await resourceOf(server, makeFetch, said.resourceMetadataUrl);
  const named = resource?.authorization_servers ?? [];
  if (auth.issuer !== undefined && named.length > 0 && !named.some((each) => sameIssuer(each, auth.issuer))) {
    const list = named.map(show).join(', ');
    throw new SignInError(
      name,
      `it names the authorization servers ${list}; auth.issuer trusts ${show(auth.issuer)} alone`,
    );
  }
  // Before RFC 9728 a server was its own authorization server.
  const issuer = auth.issuer ?? named[0] ?? new URL('/', url).href;
  return {
    ...(await authorityOf(name, issuer, makeFetch)),
    resource: resource?.resource ?? resourceUrlFromServerUrl(url).href,
    scopes: said.scope?.split(' ').filter((each) => each !== '') ?? resource?.scopes_supported,
  };
}

/** What an authorization server says of itself. @throws SignInError */
export async function authorityOf(
  name: string,
  issuer: string,
  makeFetch: MakeFetch,
): Promise<Pick<Authority, 'issuer' | 'metadata'>> {
  let metadata: AuthorizationServerMetadata | undefined;
  try {
    metadata = await discoverAuthorizationServerMetadata(issuer, { fetchFn: makeFetch() });
  } catch (error) {
    throw new SignInError(name, `the metadata of ${show(issuer)} are of no use: ${messageOf(error)}`, error);
  }
  if (metadata === undefined) {
    throw new SignInError(name, `${show(issuer)} publishes no metadata of an authorization server (RFC 8414)`);
  }
  return { issuer: metadata.issuer, metadata };
}

/** A person's sign-in should last: a refresh token is asked for where that takes a scope. */
export function withOffline({ scopes = [], metadata }: Authority): readonly string[] {
  const offline = 'offline_access';
  const known = metadata.scopes_supported?.includes(offline) === true && !scopes.includes(offline);
  return known && scopes.length > 0 ? [...scopes, offline] : scopes;
}

/** Undefined where the server has none, as before RFC 9728: where every answer was a refusal of the client's asking. */
async function resourceOf(
  { name, url }: OAuthServer,
  makeFetch: MakeFetch,
  at: URL | undefined,
): Promise<OAuthProtectedResourceMetadata | undefined> {
  const statuses: number[] = [];
  let metadata: OAuthProtectedResourceMetadata;
  try {
    metadata = await discoverOAuthProtectedResourceMetadata(
      url,
      at === undefined ? {} : { resourceMetadataUrl: at },
      makeFetch((status) => statuses.push(status)),
    );
  } catch (error) {
    const absent = statuses.length > 0 && statuses.every((status) => status >= 400 && status < 500);
    if (absent && at === undefined && !(error instanceof GuardError)) return undefined;
    throw new SignInError(name, `what it says of its authorization server is of no use: ${messageOf(error)}`, error);
  }
  const requestedResource = resourceUrlFromServerUrl(url);
  // Else a token for another server would be asked for, and handed to this one.
  if (!checkResourceAllowed({ requestedResource, configuredResource: metadata.resource })) {
    throw new SignInError(
      name,
      `its metadata are for ${show(metadata.resource)}, not for ${show(requestedResource.href)}`,
    );
  }
  return metadata;
}

const sameIssuer = (a: string, b: string | undefined): boolean => a.replace(/\/$/, '') === b?.replace(/\/$/, '');

function answerWith(challenge: string): Response {
  const headers = new Headers();
  try {
    headers.set('www-authenticate', challenge);
  } catch {
    // What is no header value says nothing.
  }
  return new Response(null, { headers });
}
