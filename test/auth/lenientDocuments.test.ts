import { expect, test } from 'vitest';
import type { StoredGrant } from '../../src/auth/store/TokenStore.js';
import { UpstreamOAuth } from '../../src/auth/UpstreamOAuth.js';
import type { UrlServerConfig } from '../../src/registry/config/ServerConfig.js';
import { AuthorizationServer, type AuthorizationServerOptions, browse, ProtectedServer } from '../support/oauth.js';
import { failure } from '../support/rawCalls.js';

type Before = NonNullable<AuthorizationServerOptions['before']>;

interface World {
  readonly options?: AuthorizationServerOptions;
  /** Of the protected resource. */
  readonly metadata?: (url: string, issuer: string) => object | string;
  readonly auth?: (issuer: string) => object;
  /** Behind the server's URL. */
  readonly tail?: string;
  readonly after?: (oauth: UpstreamOAuth, config: UrlServerConfig) => Promise<unknown>;
}

/** A sign-in from its begin to a call's credentials; the grant that is kept. */
async function signedIn({ options, metadata, auth, tail = '', after }: World): Promise<StoredGrant | undefined> {
  const authority = await AuthorizationServer.listen(options);
  const { issuer } = authority;
  const server = await ProtectedServer.listen(authority, metadata && ((url) => metadata(url, issuer)));
  const kept = new Map<string, StoredGrant>();
  const oauth = new UpstreamOAuth({
    store: {
      get: async (key) => kept.get(key),
      set: async (key, grant) => void kept.set(key, grant),
      delete: async (key) => void kept.delete(key),
    },
  });
  const config: UrlServerConfig = {
    name: 'far',
    transport: 'http',
    url: `${server.url}${tail}`,
    auth: { type: 'oauth', ...auth?.(issuer) },
  };
  const signIn = await oauth.begin(config, { redirectUrl: 'https://proxy.example/back' });
  await signIn.finish((await browse(signIn.url)).searchParams);
  const { signal } = new AbortController();
  const asked = { server: 'far', config, caller: undefined, signal, reason: 'start' } as const;
  const [grant] = kept.values();
  expect((await oauth.credentials(asked))?.headers).toEqual({ authorization: `Bearer ${grant?.accessToken}` });
  await after?.(oauth, config);
  return grant;
}

test.each([
  ['nulls', { client_uri: null, scope: null, client_secret: null, client_secret_expires_at: null, grant_types: null }],
  ['more nulls', { redirect_uris: null, contacts: null, client_id_issued_at: null, jwks: null }],
  ['empty texts', { client_uri: '', logo_uri: '', tos_uri: '', jwks_uri: '', client_secret: '' }],
  ['members of other types', { client_id_issued_at: '1700000000', redirect_uris: 'none', contacts: {} }],
])('a registration that is answered with %s is one', async (_, registration) => {
  expect((await signedIn({ options: { registration } }))?.client.secret).toBeUndefined();
});

test('a registration without a client id says so', async () => {
  const error = await failure(signedIn({ options: { registration: { client_id: null } } }));
  expect(error).toMatchObject({ code: 'ERR_SIGN_IN', message: expect.stringContaining('no client_id') });
});

test.each([
  ['nulls', { scopes_supported: null, revocation_endpoint: null, response_types_supported: null, jwks_uri: null }],
  ['empty texts', { revocation_endpoint: '', service_documentation: '', op_policy_uri: '' }],
  ['members of other types that no sign-in uses', { service_documentation: '/docs', ui_locales_supported: 'en' }],
])('metadata of an authorization server with %s are taken', async (_, metadata) => {
  expect(await signedIn({ options: { metadata } })).toBeDefined();
});

test.each([
  ['nulls', { scopes_supported: null, jwks_uri: null, resource_name: null, bearer_methods_supported: null }],
  ['empty texts', { jwks_uri: '', resource_documentation: '', resource_policy_uri: '' }],
])('metadata of a server with %s are taken', async (_, more) => {
  const metadata: World['metadata'] = (resource, issuer) => ({ resource, authorization_servers: [issuer], ...more });
  expect(await signedIn({ metadata })).toBeDefined();
});

test('null where authorization servers are named is that none is; a member that is of no use is named', async () => {
  const metadata: World['metadata'] = (resource) => ({ resource, authorization_servers: null });
  expect(await signedIn({ metadata, auth: (issuer) => ({ issuer }) })).toBeDefined();
  const error = await failure(signedIn({ options: { metadata: { token_endpoint: null } } }));
  expect(error).toMatchObject({ message: expect.stringContaining('of no use: token_endpoint: ') });
});

/** Tells at this place what an authorization server is, with `more` put over it. */
function describing(place: string, more: (at: string) => object = () => ({})): Before {
  return (request, response) => {
    if (request.url !== `/.well-known/${place}`) return false;
    const at = `http://${request.headers.host}`;
    const said = {
      issuer: at,
      authorization_endpoint: `${at}/authorize`,
      token_endpoint: `${at}/token`,
      registration_endpoint: `${at}/register`,
      code_challenge_methods_supported: ['S256'],
    };
    response.writeHead(200).end(JSON.stringify({ ...said, ...more(at) }));
    return true;
  };
}

const PAGE = `\n<!doctype html><script>${'a(1,2,3);'.repeat(3_000)}</script>`;

test.each([
  ['a page for every path', 200, 'publishes no metadata'],
  ['a failure', 500, 'of no use: HTTP 500 at '],
])('%s where its metadata may be: the next place is asked', async (_, status, why) => {
  const before: Before = ({ url }, response) => {
    if (url !== '/.well-known/oauth-authorization-server') return false;
    response.writeHead(status, { 'content-type': 'text/html' }).end(PAGE);
    return true;
  };
  const openId = describing('openid-configuration');
  const both: Before = (...asked) => before(...asked) || openId(...asked);
  expect(await failure(signedIn({ options: { before } }))).toMatchObject({ message: expect.stringContaining(why) });
  expect(await signedIn({ options: { before: both } })).toBeDefined();
});

test('a server with a page for every path says nothing of its authorization server', async () => {
  expect(await signedIn({ metadata: () => PAGE, auth: (issuer) => ({ issuer }) })).toBeDefined();
  const own = await failure(signedIn({ metadata: () => PAGE }));
  expect(own).toMatchObject({ message: expect.stringContaining('publishes no metadata') });
});

const slashed = {
  before: describing('oauth-authorization-server', (at) => ({ issuer: `${at}/` })),
  callback: { iss: undefined },
};

test('an issuer is the same with a slash at its end, for a sign-in and for what was kept of it', async () => {
  for (const auth of [undefined, (issuer: string) => ({ issuer }), (issuer: string) => ({ issuer: `${issuer}/` })]) {
    expect((await signedIn({ options: slashed, ...(auth && { auth }) }))?.issuer).toMatch(/\d\/$/);
    expect((await signedIn(auth ? { auth } : {}))?.issuer).toMatch(/\d$/);
  }
});

test.each(['/x', '//', '?', '#'])('an issuer with %s at its end is another', async (tail) => {
  const before = describing('oauth-authorization-server', (at) => ({ issuer: `${at}${tail}` }));
  const error = await failure(signedIn({ options: { ...slashed, before } }));
  expect(error).toMatchObject({ code: 'ERR_SIGN_IN', message: expect.stringContaining('of no use: they are of') });
});

test('what comes back names the issuer to the letter (RFC 9207)', async () => {
  const error = await failure(signedIn({ options: { before: slashed.before } }));
  expect(error).toMatchObject({ code: 'ERR_SIGN_IN', message: expect.stringContaining('(iss)') });
});

test('a resource is the same with a slash at its end, and is asked for as it was published', async () => {
  const metadata: World['metadata'] = (url, issuer) => ({ resource: `${url}/`, authorization_servers: [issuer] });
  expect((await signedIn({ metadata }))?.resource).toMatch(/\/mcp\/$/);
  expect((await signedIn({ tail: '/' }))?.resource).toMatch(/\/mcp$/);
});

test.each([
  ['client_secret_post', [undefined, 's']],
  ['client_secret_basic', ['Basic Y2xpZW50LTA6cw==', null]],
  ['none', [undefined, null]],
  ['private_key_jwt', ['Basic Y2xpZW50LTA6cw==', null]],
])('a client that was registered for %s says so who it is, to its last request', async (method, shown) => {
  const asked: unknown[] = [];
  const openId = describing('openid-configuration', (at) => ({
    token_endpoint_auth_methods_supported: ['client_secret_basic', 'none', 'client_secret_post'],
    revocation_endpoint: `${at}/revoke`,
  }));
  const before: Before = (request, response, body) => {
    const { url, headers } = request;
    if (url === '/.well-known/oauth-authorization-server') {
      response.writeHead(404).end();
      return true;
    }
    if (url !== '/token' && url !== '/revoke') return openId(request, response, body);
    asked.push([url, headers.authorization, body.get('client_secret')]);
    response.end(JSON.stringify({ access_token: `at${asked.length}`, refresh_token: 'rt', expires_in: 1_000 }));
    return true;
  };
  const registration = { client_secret: 's', token_endpoint_auth_method: method };
  const after: World['after'] = async (oauth, config) => {
    const { signal } = new AbortController();
    await oauth.credentials({ server: 'far', config, caller: undefined, signal, reason: '401' });
    expect(await oauth.signOut(config)).toEqual({ revoked: true });
  };
  await signedIn({ options: { before, registration }, after });
  expect(asked).toEqual(['/token', '/token', '/revoke', '/revoke'].map((path) => [path, ...shown]));
});

test('a client without a secret is a public one, whatever it was registered for', async () => {
  const registration = { token_endpoint_auth_method: 'client_secret_basic' };
  expect(await signedIn({ options: { registration } })).toBeDefined();
});
