import {
  type FetchLike,
  fetchToken,
  type OAuthClientProvider,
  refreshAuthorization,
  registerClient,
  selectClientAuthMethod,
} from '@modelcontextprotocol/client';
import { SignInError } from '../core/errors.js';
import { isLoopbackHost } from '../core/text/isLoopbackHost.js';
import { packageVersion } from '../core/version.js';
import type { Authority } from './discover.js';
import { membersOf } from './net/documents.js';
import { lenientTokens } from './net/lenientTokens.js';
import type { OAuthServer } from './OAuthServer.js';
import { CLIENT_METHODS, type StoredGrant } from './store/TokenStore.js';
import { clientInformation, failedAt, grantOf } from './tokens.js';

type Fresh = ReturnType<typeof grantOf>;

/** A token for this program's own account. @throws SignInError */
export async function ownToken(
  server: OAuthServer,
  authority: Authority,
  fetch: FetchLike,
  now: number,
): Promise<Fresh> {
  const { name, auth } = server;
  const { issuer, metadata, resource, scopes } = authority;
  const scope = (auth.scopes ?? scopes ?? []).join(' ');
  // The secret is shown to no other than the one it was issued by: the config names it (`auth.issuer`).
  const information = { client_id: auth.clientId ?? '', client_secret: auth.clientSecret ?? '', issuer };
  const provider: OAuthClientProvider = {
    redirectUrl: undefined,
    clientMetadata: { redirect_uris: [] },
    clientInformation: () => information,
    prepareTokenRequest: () =>
      new URLSearchParams({ grant_type: 'client_credentials', ...(scope !== '' && { scope }) }),
    tokens: () => undefined,
    saveTokens: () => undefined,
    redirectToAuthorization: () => undefined,
    saveCodeVerifier: () => undefined,
    codeVerifier: () => {
      throw new SignInError(name, 'there is no code to verify');
    },
  };
  try {
    return grantOf(
      server,
      await fetchToken(provider, issuer, { metadata, resource, fetchFn: lenientTokens(fetch) }),
      now,
    );
  } catch (error) {
    throw failedAt(server, metadata, error, [auth.clientSecret]);
  }
}

/** What the refresh token gives. Rejects with the SDK's own error: what is final is for the caller to tell. */
export async function refreshed(
  server: OAuthServer,
  grant: StoredGrant & { readonly refreshToken: string },
  { issuer, metadata }: Pick<Authority, 'issuer' | 'metadata'>,
  fetch: FetchLike,
  now: number,
): Promise<Fresh> {
  const tokens = await refreshAuthorization(issuer, {
    metadata,
    clientInformation: clientInformation(server, grant.client),
    refreshToken: grant.refreshToken,
    resource: grant.resource,
    fetchFn: lenientTokens(fetch),
  });
  return grantOf(server, tokens, now);
}

/** Registers this program with the authorization server (RFC 7591). @throws SignInError */
export async function registered(
  server: OAuthServer,
  { issuer, metadata }: Authority,
  {
    redirectUrl,
    clientName,
    scopes,
  }: { readonly redirectUrl: string; readonly clientName: string; readonly scopes: readonly string[] },
  fetch: FetchLike,
): Promise<StoredGrant['client']> {
  if (metadata.registration_endpoint === undefined) {
    const how = 'get a client id there, and write it into auth.clientId';
    throw new SignInError(server.name, `${issuer} registers no clients: ${how}`);
  }
  const methods = metadata.token_endpoint_auth_methods_supported ?? ['none'];
  const method = CLIENT_METHODS.find((each) => methods.includes(each)) ?? 'none';
  try {
    const {
      client_id: id,
      client_secret: secret,
      token_endpoint_auth_method: told,
    } = await registerClient(issuer, {
      metadata,
      clientMetadata: {
        client_name: clientName,
        redirect_uris: [redirectUrl],
        grant_types: ['authorization_code', 'refresh_token'],
        response_types: ['code'],
        token_endpoint_auth_method: method,
        application_type: isLoopbackHost(new URL(redirectUrl).hostname) ? 'native' : 'web',
        software_id: 'mcp-poolkit',
        software_version: packageVersion(),
      },
      ...(scopes.length > 0 && { scope: scopes.join(' ') }),
      fetchFn: async (url, init) => {
        const response = await fetch(url, init);
        if (!response.ok) return response;
        const { client_id, client_secret, token_endpoint_auth_method } = membersOf(await response.text()) ?? {};
        if (typeof client_id !== 'string')
          throw new SignInError(server.name, `${issuer} registered no client: no client_id came`);
        // The rest is what was asked for, told again in many ways.
        return Response.json({ redirect_uris: [redirectUrl], client_id, client_secret, token_endpoint_auth_method });
      },
    });
    if (secret === undefined) return { id, redirectUrl };
    // Another than the one that was asked for may be registered (RFC 7591, 3.2.1).
    const registeredMethod = CLIENT_METHODS.find((each) => each === told);
    return { id, secret, redirectUrl, ...(registeredMethod && { method: registeredMethod }) };
  } catch (error) {
    throw failedAt(server, metadata, error, []);
  }
}

/**
 * Has the authorization server forget what it gave (RFC 7009): the refresh token, and the access token, which need not end with it. False
 * where it cannot. Rejects when it cannot be reached.
 */
export async function revoked(
  server: OAuthServer,
  { accessToken, refreshToken, client }: StoredGrant,
  { metadata }: Pick<Authority, 'metadata'>,
  fetch: FetchLike,
): Promise<boolean> {
  const { revocation_endpoint: endpoint } = metadata as { readonly revocation_endpoint?: unknown };
  if (typeof endpoint !== 'string' || !URL.canParse(endpoint)) return false;
  const information = clientInformation(server, client);
  const { client_id, client_secret } = information;
  const method = selectClientAuthMethod(information, metadata.token_endpoint_auth_methods_supported ?? []);
  const headers = new Headers({ 'content-type': 'application/x-www-form-urlencoded' });
  if (method === 'client_secret_basic') headers.set('authorization', `Basic ${btoa(`${client_id}:${client_secret}`)}`);
  const revoke = async (token: string, hint: string): Promise<boolean> => {
    const body = new URLSearchParams({ token, token_type_hint: hint, client_id });
    if (method === 'client_secret_post' && client_secret !== undefined) body.set('client_secret', client_secret);
    return (await fetch(endpoint, { method: 'POST', headers, body })).ok;
  };
  const access = revoke(accessToken, 'access_token');
  if (refreshToken === undefined) return access;
  // Not all end access tokens: what counts is that there will be no others.
  const [done] = await Promise.all([revoke(refreshToken, 'refresh_token'), access.catch(() => false)]);
  return done;
}
