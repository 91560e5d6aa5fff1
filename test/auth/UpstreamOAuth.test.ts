import { expect, test } from 'vitest';
import { signInOnLoopback } from '../../src/auth/signInOnLoopback.js';
import { FileTokenStore } from '../../src/auth/store/FileTokenStore.js';
import type { StoredGrant, TokenStore } from '../../src/auth/store/TokenStore.js';
import { UpstreamOAuth } from '../../src/auth/UpstreamOAuth.js';
import { systemClock } from '../../src/core/clock.js';
import { HTTPClientPool } from '../../src/pool/HTTPClientPool.js';
import type { Caller } from '../../src/pool/McpPool.js';
import type { OAuthSettings } from '../../src/registry/config/OAuthSettings.js';
import type { UrlServerConfig } from '../../src/registry/config/ServerConfig.js';
import { closeAfter } from '../support/closeAfter.js';
import {
  AuthorizationServer,
  type AuthorizationServerOptions,
  browse,
  ProtectedServer,
  page,
} from '../support/oauth.js';
import { failure } from '../support/rawCalls.js';
import { said } from '../support/stdioPool.js';
import { tempFolder } from '../support/tempFolder.js';

/** A clock of the wall that a test moves; the rest is the machine's. */
class Wall {
  offsetMs = 0;
  readonly now = (): number => Date.now() + this.offsetMs;
}

/** A store in memory: what a user's own may be. */
class Memory implements TokenStore {
  readonly kept = new Map<string, StoredGrant>();
  get = async (key: string): Promise<StoredGrant | undefined> => this.kept.get(key);
  set = async (key: string, grant: StoredGrant): Promise<void> => void this.kept.set(key, grant);
  delete = async (key: string): Promise<void> => void this.kept.delete(key);
}

async function world(
  options: AuthorizationServerOptions & { readonly auth?: Partial<OAuthSettings>; readonly store?: TokenStore } = {},
) {
  const { auth, store = new Memory(), ...rest } = options;
  const wall = new Wall();
  const authority = await AuthorizationServer.listen({ now: wall.now, ...rest });
  const server = await ProtectedServer.listen(authority);
  const clock = { ...systemClock, wallNow: wall.now };
  const oauth = new UpstreamOAuth({ store, clock });
  const config: UrlServerConfig = { name: 'far', transport: 'http', url: server.url, auth: { type: 'oauth', ...auth } };
  const pool = closeAfter(
    new HTTPClientPool({
      credentials: oauth.credentials,
      clock,
      backoff: { initialMs: 1, maxMs: 1 },
    }),
  );
  pool.addServer(config);
  const who = (caller?: Caller): Promise<string> =>
    said(pool.request('far', 'tools/call', { name: 'who', arguments: {} }, caller && { caller }));
  const signIn = (principal?: string): Promise<void> =>
    signInOnLoopback(oauth, config, {
      ...(principal !== undefined && { principal }),
      onUrl: ({ url }) => void browse(url).then(page),
    });
  return { wall, authority, server, oauth, config, pool, who, signIn, store };
}

test('a person signs in once: tokens are sent, renewed when they expire or are refused, and kept for the next process', async () => {
  const store = new FileTokenStore({ directory: tempFolder() });
  const { wall, authority, server, oauth, config, who, signIn } = await world({ store });
  expect(await failure(who())).toMatchObject({
    code: 'ERR_UNAUTHORIZED',
    message: 'server "far" needs a sign-in (there was none yet): run mcp-poolkit auth far',
  });
  expect(await oauth.status(config)).toEqual({ signedIn: false });
  await signIn();
  expect(await oauth.status(config)).toMatchObject({
    signedIn: true,
    issuer: authority.issuer,
    scope: 'tools',
    renewable: true,
  });
  expect(await who()).toBe('it is you');
  // It is refused though it has not expired.
  authority.revokeAll();
  expect(await who()).toBe('it is you');
  expect(server.refused).toBe(1);
  // It has expired, and another process starts.
  wall.offsetMs += 3_600_000;
  const later = closeAfter(new HTTPClientPool({ credentials: new UpstreamOAuth({ store }).credentials }));
  later.addServer(config);
  expect(await said(later.request('far', 'tools/call', { name: 'who', arguments: {} }))).toBe('it is you');
  expect(authority.asked.filter((each) => each.startsWith('/token'))).toEqual([
    '/token authorization_code',
    '/token refresh_token',
    '/token refresh_token',
  ]);
  expect(await oauth.signOut(config)).toEqual({ revoked: true });
  expect(authority.asked).toContain('/revoke');
  expect(await store.get('x')).toBeUndefined();
  expect(await oauth.status(config)).toEqual({ signedIn: false });
});

test('a refresh token that was ended asks for a person, and is not tried again', async () => {
  const { authority, who, signIn } = await world();
  await signIn();
  await who();
  authority.revokeAll({ refresh: true });
  const why = 'needs a sign-in';
  expect(await failure(who())).toMatchObject({ code: 'ERR_UNAUTHORIZED', message: expect.stringContaining(why) });
  const asked = authority.asked.length;
  expect(await failure(who())).toMatchObject({ code: 'ERR_UNAUTHORIZED', message: expect.stringContaining(why) });
  expect(authority.asked.length).toBe(asked);
  await signIn();
  expect(await who()).toBe('it is you');
});

test('tokens without a type, with members that are null, are taken at a sign-in and at each renewal', async () => {
  const { wall, authority, who, signIn } = await world({
    tokens: { token_type: undefined, scope: null, id_token: null },
  });
  await signIn();
  expect(await who()).toBe('it is you');
  wall.offsetMs += 3_600_000;
  const asked = authority.asked.length;
  expect(await who()).toBe('it is you');
  expect(authority.asked.length).toBeGreaterThan(asked);
});

test('each principal has a sign-in of its own, and nothing that a client brought goes anywhere', async () => {
  const { server, authority, who, signIn, store } = await world();
  const ann: Caller = { principal: 'ann', context: { token: 'of-ann-as-client' } };
  const bob: Caller = { principal: 'bob', context: { token: 'of-bob-as-client' } };
  await signIn('ann');
  expect(await who(ann)).toBe('it is you');
  for (const other of [bob, undefined]) expect(await failure(who(other))).toMatchObject({ code: 'ERR_UNAUTHORIZED' });
  await signIn('bob');
  await Promise.all([who(ann), who(bob), who(ann)]);
  const grants = [...(store as Memory).kept.values()];
  const tokens = new Map(grants.map(({ principal, accessToken }) => [principal, accessToken]));
  expect([...tokens.keys()].sort()).toEqual(['ann', 'bob']);
  const known = new Set([...tokens.values()].map((token) => `Bearer ${token}`));
  expect(known.size).toBe(2);
  expect(new Set(server.shown)).toEqual(known);
  expect(JSON.stringify([server.shown, authority.asked])).not.toContain('as-client');
});

test('a sign-in may belong to the person behind several principals', async () => {
  const { oauth, store, config, signIn } = await world();
  await signIn('ann');
  const own = new UpstreamOAuth({
    store,
    ownerOf: (caller) => (caller?.context as { readonly sub: string } | undefined)?.sub,
  });
  const { signal } = new AbortController();
  const ask = (by: UpstreamOAuth, sub: string) =>
    by.credentials({ server: 'far', config, caller: { principal: 'hash', context: { sub } }, signal, reason: 'start' });
  expect((await ask(own, 'ann'))?.headers).toBeDefined();
  expect(await failure(ask(own, 'bob'))).toMatchObject({ code: 'ERR_UNAUTHORIZED' });
  expect(await failure(ask(oauth, 'ann'))).toMatchObject({ code: 'ERR_UNAUTHORIZED' });
  expect(await failure(ask(own, ''))).toMatchObject({ code: 'ERR_OPTION' });
});

test('a store that mixes up its keys hands no grant to another', async () => {
  const store = new Memory();
  const { who, signIn } = await world({ store });
  await signIn('ann');
  const [grant] = store.kept.values();
  store.get = async () => grant;
  expect(await failure(who({ principal: 'bob' }))).toMatchObject({
    code: 'ERR_START_FAILED',
    message: expect.stringContaining('another server or principal'),
  });
  expect(await who({ principal: 'ann' })).toBe('it is you');
});

test('many calls whose token has expired refresh once, though a second use would end the sign-in', async () => {
  const { authority, who, signIn } = await world();
  await signIn();
  const callers = [undefined, { capabilities: { roots: {} } }, { capabilities: { sampling: {} } }];
  for (const caller of callers) await who(caller);
  authority.revokeAll();
  await Promise.all(Array.from({ length: 30 }, (_, i) => who(callers[i % 3])));
  expect(authority.asked.filter((each) => each === '/token refresh_token')).toHaveLength(1);
});

test('processes that share a folder refresh once', async () => {
  const directory = tempFolder();
  const { authority, config, signIn, wall } = await world({ store: new FileTokenStore({ directory }) });
  await signIn();
  wall.offsetMs += 3_600_000;
  const clock = { ...systemClock, wallNow: wall.now };
  const signal = new AbortController().signal;
  const asked = Array.from({ length: 8 }, () =>
    new UpstreamOAuth({ store: new FileTokenStore({ directory }), clock }).credentials({
      server: 'far',
      config,
      caller: undefined,
      signal,
      reason: 'start',
    }),
  );
  const tokens = new Set((await Promise.all(asked)).map((set) => set?.headers?.['authorization']));
  expect(tokens.size).toBe(1);
  expect(authority.asked.filter((each) => each === '/token refresh_token')).toHaveLength(1);
});

test('an account of its own: client credentials, for the resource, with a new token when one is refused', async () => {
  const { authority, server, config, oauth } = await world();
  authority.clients.set('robot', 'its-secret');
  const auth: OAuthSettings = {
    type: 'oauth',
    grant: 'client_credentials',
    clientId: 'robot',
    clientSecret: 'its-secret',
    issuer: authority.issuer,
  };
  const pool = closeAfter(new HTTPClientPool({ credentials: oauth.credentials }));
  pool.addServer({ ...config, auth });
  const who = (): Promise<string> => said(pool.request('far', 'tools/call', { name: 'who', arguments: {} }));
  expect(await who()).toBe('it is you');
  authority.revokeAll();
  expect(await who()).toBe('it is you');
  expect(server.refused).toBe(1);
  expect(authority.asked.filter((each) => each.startsWith('/token'))).toEqual([
    '/token client_credentials',
    '/token client_credentials',
  ]);
  pool.addServer({ ...config, name: 'wrong', auth: { ...auth, clientSecret: 'not-its-secret' } });
  const error = await failure(pool.request('wrong', 'ping'));
  expect(error).toMatchObject({ code: 'ERR_START_FAILED', message: expect.stringContaining('invalid_client') });
  expect(JSON.stringify(error)).not.toContain('not-its-secret');
});

test.each(['authorization_code', 'client_credentials'] as const)(
  'a server that refuses every token has none fetched with each call, but after growing pauses; a new sign-in is used at once: %s',
  async (grant) => {
    const { authority, config, store, signIn } = await world();
    authority.clients.set('robot', 'its-secret');
    const robot = { clientId: 'robot', clientSecret: 'its-secret', issuer: authority.issuer };
    const auth = { type: 'oauth', grant, ...(grant === 'client_credentials' && robot) } as const;
    let now = 0;
    const oauth = new UpstreamOAuth({ store, clock: { ...systemClock, now: () => now } });
    const pool = closeAfter(new HTTPClientPool({ credentials: oauth.credentials }));
    pool.addServer({ ...config, auth });
    const who = (): Promise<string> => said(pool.request('far', 'tools/call', { name: 'who', arguments: {} }));
    await signIn();
    expect(await who()).toBe('it is you');
    const check = authority.check.bind(authority);
    authority.check = () => undefined;
    const begun = authority.asked.length;
    const fetchedAfter = async (ms: number): Promise<number> => {
      now += ms;
      for (let i = 0; i < 3; i++) expect(await failure(who())).toMatchObject({ code: 'ERR_UNAUTHORIZED' });
      return authority.asked.slice(begun).filter((each) => each.startsWith('/token')).length;
    };
    const fetched: number[] = [];
    for (const ms of [0, 1_000, 1_000, 1_000, 3_000, 1_000]) fetched.push(await fetchedAfter(ms));
    expect(fetched).toEqual([1, 2, 2, 3, 3, 4]);
    authority.check = check;
    authority.revokeAll();
    if (grant === 'authorization_code') await signIn();
    else now += 8_000;
    expect(await who()).toBe('it is you');
    // Tokens were good for a while: the next refusal is a first one.
    now += 60_000;
    for (let i = 0; i < 2; i++) {
      authority.revokeAll();
      expect(await who()).toBe('it is you');
      now += 1_000;
    }
  },
);

test('a client that is known: its id from the config, its metadata by URL, its registration once more', async () => {
  const { authority, oauth, config } = await world({ metadata: { client_id_metadata_document_supported: true } });
  const redirectUrl = 'https://proxy.example/back';
  const begin = async (auth: Partial<OAuthSettings>): Promise<string | null> => {
    const { url } = await oauth.begin({ ...config, auth: { type: 'oauth', ...auth } }, { redirectUrl });
    return new URL(url).searchParams.get('client_id');
  };
  expect(await begin({ clientId: 'known' })).toBe('known');
  expect(await begin({ clientMetadataUrl: 'https://proxy.example/client' })).toBe('https://proxy.example/client');
  expect(await begin({})).toBe('client-0');
  expect(authority.redirects.get('client-0')).toBe(redirectUrl);
  const signIn = await oauth.begin(config, { redirectUrl });
  await signIn.finish((await browse(signIn.url)).searchParams);
  expect(await begin({})).toBe('client-1');
  expect(authority.clients.size).toBe(2);
});

test('a server of before RFC 9728 is its own authorization server', async () => {
  const { authority, oauth, config } = await world();
  const alone = { ...config, url: `${authority.issuer}/mcp` };
  const signIn = await oauth.begin(alone, { redirectUrl: 'http://127.0.0.1/back' });
  expect(new URL(signIn.url).searchParams.get('resource')).toBe(alone.url);
  expect(signIn.issuer).toBe(authority.issuer);
});
