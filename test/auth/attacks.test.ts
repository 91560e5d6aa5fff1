import { once } from 'node:events';
import { createServer } from 'node:http';
import { connect, type LookupFunction } from 'node:net';
import { expect, test } from 'vitest';
import { mayReach } from '../../src/auth/net/addresses.js';
import { guardedFetch } from '../../src/auth/net/guardedFetch.js';
import type { SignIn } from '../../src/auth/SignIn.js';
import { signInOnLoopback } from '../../src/auth/signInOnLoopback.js';
import type { StoredGrant, TokenStore } from '../../src/auth/store/TokenStore.js';
import { UpstreamOAuth } from '../../src/auth/UpstreamOAuth.js';
import type { UrlServerConfig } from '../../src/registry/config/ServerConfig.js';
import { HttpListener } from '../../src/testing/wire/http/HttpListener.js';
import { closeAfter } from '../support/closeAfter.js';
import {
  AuthorizationServer,
  type AuthorizationServerOptions,
  browse,
  ProtectedServer,
  page,
} from '../support/oauth.js';
import { failure } from '../support/rawCalls.js';

const REDIRECT = 'https://proxy.example/back';

/** Puts nothing anywhere, and tells what was put. */
function store(): TokenStore & { readonly kept: Map<string, StoredGrant> } {
  const kept = new Map<string, StoredGrant>();
  return {
    kept,
    get: async (key) => kept.get(key),
    set: async (key, grant) => void kept.set(key, grant),
    delete: async (key) => void kept.delete(key),
  };
}

async function world(options: AuthorizationServerOptions = {}, resource?: (url: string) => object | undefined) {
  const authority = await AuthorizationServer.listen(options);
  const server = await ProtectedServer.listen(authority, resource);
  const tokens = store();
  const oauth = new UpstreamOAuth({ store: tokens });
  const config: UrlServerConfig = { name: 'far', transport: 'http', url: server.url, auth: { type: 'oauth' } };
  const begin = (): Promise<SignIn> => oauth.begin(config, { redirectUrl: REDIRECT });
  return { authority, server, oauth, config, begin, tokens };
}

/** Signs in with what the browser is sent back with; gives what went wrong. */
async function signedIn({ begin }: { readonly begin: () => Promise<SignIn> }): Promise<unknown> {
  const signIn = await begin();
  return failure(signIn.finish((await browse(signIn.url)).searchParams));
}

test.each([
  ['another issuer (mix-up)', { iss: 'https://evil.example' }, /not from .*\(iss\)/],
  ['no issuer though it says that it gives one', { iss: undefined }, /not from .*\(iss\)/],
  [
    'another issuer and an error, whose text is not shown',
    { iss: 'https://evil.example', error: 'call-me' },
    /^((?!call-me).)*$/,
  ],
  ['another state', { state: 'guessed' }, /another sign-in \(state\)/],
  ['no state', { state: undefined }, /another sign-in \(state\)/],
  ['a code of someone else', { code: 'injected' }, /invalid_grant/],
  ['no code', { code: undefined }, /no code came back/],
  ['a refusal', { error: 'access_denied', error_description: 'no\u001b[2J' }, /access_denied.*no\\u001b/],
] as const)('what comes back with %s signs no one in', async (_, callback, why) => {
  const it = await world({ callback });
  expect(await signedIn(it)).toMatchObject({ code: 'ERR_SIGN_IN', message: expect.stringMatching(why) });
  expect(it.tokens.kept.size).toBe(0);
  const exchanged = it.authority.asked.filter((each) => each.startsWith('/token'));
  expect(exchanged.length).toBe('code' in callback && callback.code === 'injected' ? 1 : 0);
});

test('a code is bound to the sign-in that it was asked for by (PKCE), and a sign-in is good once', async () => {
  const { begin, tokens } = await world();
  const [mine, theirs] = [await begin(), await begin()];
  const stolen = (await browse(theirs.url)).searchParams;
  const injected = (await browse(mine.url)).searchParams;
  injected.set('code', stolen.get('code') ?? '');
  expect(await failure(mine.finish(injected))).toMatchObject({ message: expect.stringContaining('invalid_grant') });
  expect(await failure(mine.finish(injected))).toMatchObject({ message: expect.stringContaining('finished already') });
  expect(tokens.kept.size).toBe(0);
});

test.each([
  ['metadata of another issuer', { issuer: 'https://evil.example' }, /are of no use/],
  ['no PKCE', { code_challenge_methods_supported: undefined }, /PKCE/],
  ['plain PKCE alone', { code_challenge_methods_supported: ['plain'] }, /PKCE/],
  ['a page that is a script', { authorization_endpoint: 'javascript:alert(1)' }, /of no use|page of/],
  ['a page over plain http', { authorization_endpoint: 'http://evil.example/authorize' }, /page of .* not https/],
  [
    'a page that no browser opens',
    { authorization_endpoint: `https://issuer.example/${'p'.repeat(9_000)}` },
    /page of .* its URL has 9\d+ characters, 8192 are allowed$/,
  ],
  ['a page at a private address', { authorization_endpoint: 'https://192.168.0.1/' }, /page of .* private/],
  [
    'a registration at the metadata service of a cloud',
    { registration_endpoint: 'http://169.254.169.254/latest' },
    /not https/,
  ],
  ['a registration at a private address', { registration_endpoint: 'https://10.0.0.1/' }, /private or reserved/],
  ['no registration', { registration_endpoint: undefined }, /registers no clients/],
])('an authorization server with %s is refused', async (_, metadata, why) => {
  const it = await world({ metadata });
  expect(await failure(it.begin())).toMatchObject({ code: 'ERR_SIGN_IN', message: expect.stringMatching(why) });
});

test.each([
  ['a token endpoint over plain http', { metadata: { token_endpoint: 'http://evil.example/token' } }],
  ['a token endpoint at a private address', { metadata: { token_endpoint: 'https://[fd00::1]/token' } }],
  ['a token that is no bearer token', { tokens: { token_type: 'mac' } }],
  ['a token that would be two headers', { tokens: { access_token: 'a\r\nx: y' } }],
  ['a token of 100 kB', { tokens: { access_token: 'a'.repeat(100_000) } }],
  ['a refresh token of 100 kB', { tokens: { refresh_token: 'a'.repeat(100_000) } }],
])('%s gets no code and no use', async (_, options) => {
  const it = await world(options);
  expect(await signedIn(it)).toMatchObject({ code: 'ERR_SIGN_IN' });
  expect(it.tokens.kept.size).toBe(0);
});

test.each([
  [
    'of another server',
    (url: string) => ({ resource: 'https://bank.example/mcp', authorization_servers: [url] }),
    /are for "https:\/\/bank/,
  ],
  ['of another path', (url: string) => ({ resource: `${url}/other`, authorization_servers: [url] }), /are for/],
  [
    'at a private address',
    (url: string) => ({ resource: url, authorization_servers: ['https://10.1.2.3'] }),
    /private or reserved/,
  ],
  [
    'at the metadata service of a cloud',
    (url: string) => ({ resource: url, authorization_servers: ['http://169.254.169.254'] }),
    /not https/,
  ],
  ['of files', (url: string) => ({ resource: url, authorization_servers: ['file:///etc/passwd'] }), /of no use/],
])('a server that names an authorization server %s is refused', async (_, resource, why) => {
  const it = await world({}, resource);
  expect(await failure(it.begin())).toMatchObject({ code: 'ERR_SIGN_IN', message: expect.stringMatching(why) });
});

test.each([
  ['scopes_supported', '1'],
  ['response_types_supported', '{}'],
])('metadata with very many values are refused before they are checked (%s)', async (name, value) => {
  const many = Array(60_000).fill(JSON.parse(value));
  const error = (await failure((await world({ metadata: { [name]: many } })).begin())) as Error;
  expect(error).toMatchObject({ code: 'ERR_SIGN_IN', message: expect.stringContaining('more than 4000 values') });
});

test('what a sign-in failed by is as long as a person reads, whatever is told of it', async () => {
  const authorization_servers = Array.from({ length: 3_000 }, (_, i) => `https://issuer-${i}.example`);
  const it = await world({}, (url) => ({ resource: url, authorization_servers }));
  const config: UrlServerConfig = { ...it.config, auth: { type: 'oauth', issuer: 'https://trusted.example' } };
  const error = (await failure(it.oauth.begin(config, { redirectUrl: REDIRECT }))) as Error;
  expect(error).toMatchObject({ code: 'ERR_SIGN_IN', message: expect.stringContaining('issuer-0.example') });
  expect(error.message.length).toBeLessThan(1_200);
});

test('a server that names another authorization server than the config trusts gets neither code nor secret', async () => {
  const evil = await AuthorizationServer.listen();
  const { oauth, config, authority } = await world({}, (resource) => ({
    resource,
    authorization_servers: [evil.issuer],
  }));
  const auth = { type: 'oauth', issuer: authority.issuer, clientId: 'robot', clientSecret: 's3cret' } as const;
  const why = /trusts .* alone/;
  expect(await failure(oauth.begin({ ...config, auth }, { redirectUrl: REDIRECT }))).toMatchObject({
    message: expect.stringMatching(why),
  });
  const robot = { ...config, auth: { ...auth, grant: 'client_credentials' as const } };
  const { signal } = new AbortController();
  const asked = oauth.credentials({ server: 'far', config: robot, caller: undefined, signal, reason: 'start' });
  expect(await failure(asked)).toMatchObject({ code: 'ERR_SIGN_IN', message: expect.stringMatching(why) });
  expect([...evil.asked, ...authority.asked]).toEqual([]);
});

test('a server that changes its authorization server later is not shown the refresh token', async () => {
  const evil = await AuthorizationServer.listen();
  let named: string | undefined;
  const it = await world({ lifeMs: 1 }, (resource) => ({
    resource,
    authorization_servers: [named ?? it.authority.issuer],
  }));
  const signIn = await it.begin();
  await signIn.finish((await browse(signIn.url)).searchParams);
  named = evil.issuer;
  const { signal } = new AbortController();
  const challenge = `Bearer resource_metadata="${evil.issuer}/x"`;
  const asked = { server: 'far', config: it.config, caller: undefined, signal, reason: '401', challenge } as const;
  expect((await it.oauth.credentials(asked))?.headers).toBeDefined();
  expect(evil.asked).toEqual([]);
  expect(it.authority.asked).toContain('/token refresh_token');
});

test('what is stored for one URL is not used for the next, though the name is the same', async () => {
  const it = await world();
  const signIn = await it.begin();
  await signIn.finish((await browse(signIn.url)).searchParams);
  const moved = { ...it.config, url: 'https://evil.example/mcp' };
  const { signal } = new AbortController();
  const asked = it.oauth.credentials({ server: 'far', config: moved, caller: undefined, signal, reason: 'start' });
  expect(await failure(asked)).toMatchObject({ code: 'ERR_UNAUTHORIZED' });
});

test('what comes to the callback from elsewhere neither ends the sign-in nor takes its place', async () => {
  const { oauth, config, tokens } = await world();
  const statuses: (number | undefined)[] = [];
  let visit: Promise<void> | undefined;
  await signInOnLoopback(oauth, config, {
    onUrl: ({ url }) => {
      visit = (async () => {
        const back = await browse(url);
        for (const query of ['', 'code=x', 'code=x&state=guessed', 'error=access_denied&state=']) {
          statuses.push((await page(`${back.origin}/callback?${query}`)).statusCode);
        }
        statuses.push((await page(`http://localhost:${back.port}${back.pathname}${back.search}`)).statusCode);
        statuses.push((await page(`${back.origin}/other${back.search}`)).statusCode);
        const { text } = await page(back);
        expect(text).not.toContain(back.searchParams.get('code'));
      })();
    },
  });
  await visit;
  expect(statuses).toEqual([400, 400, 400, 400, 400, 400]);
  expect(tokens.kept.size).toBe(1);
});

test('connections to a sign-in that say nothing give way to the browser', async () => {
  const { oauth, config, tokens } = await world();
  let visit: Promise<unknown> | undefined;
  await signInOnLoopback(oauth, config, {
    onUrl: ({ url }) => {
      visit = (async () => {
        const back = await browse(url);
        const silent = Array.from({ length: 80 }, () =>
          connect(Number(back.port), '127.0.0.1').on('error', () => undefined),
        );
        await Promise.all(silent.map((socket) => once(socket, 'connect')));
        expect((await page(back)).statusCode).toBe(200);
        for (const socket of silent) socket.destroy();
      })();
    },
  });
  await visit;
  expect(tokens.kept.size).toBe(1);
});

test.each([
  '10.0.0.1',
  '172.16.0.1',
  '192.168.1.1',
  '169.254.169.254',
  '100.64.0.1',
  '0.0.0.0',
  '255.255.255.255',
  '224.0.0.1',
  '::',
  'fe80::1',
  'fd00::1',
  'ff02::1',
  '::ffff:10.0.0.1',
  '::ffff:8.8.8.8',
  '64:ff9b::a00:1',
  '2002:a00:1::',
  '2001::1',
  '2001:db8::1',
])('%s is no address for a sign-in', (address) => {
  expect([mayReach(address, 'public'), mayReach(address, 'loopback'), mayReach(address, 'any')]).toEqual([
    false,
    false,
    true,
  ]);
});

test.each(['127.0.0.1', '127.9.9.9', '::1', '::ffff:127.0.0.1'])(
  '%s is one for a server on loopback alone',
  (address) => {
    expect([mayReach(address, 'public'), mayReach(address, 'loopback')]).toEqual([false, true]);
  },
);

test.each(['8.8.8.8', '93.184.215.14', '2606:4700::1111', '2a00:1450:4001::1'])('%s is public', (address) => {
  expect(mayReach(address, 'public')).toBe(true);
});

const FETCH = { reach: 'public', timeoutMs: 5_000, maxBytes: 1_024 } as const;

test('answers are bounded in size and time, as the options say', async () => {
  const { server, authority } = await world({ before: (request) => request.url === '/token' });
  const config = { name: 'far', url: server.url, auth: { type: 'oauth' } } as const;
  const small = new UpstreamOAuth({ store: store(), maxResponseBytes: 1_024 });
  authority.long = 2_000;
  expect(await failure(small.begin(config, { redirectUrl: REDIRECT }))).toMatchObject({
    message: expect.stringContaining('1024 bytes'),
  });
  authority.long = 0;
  const hasty = new UpstreamOAuth({ store: store(), requestTimeoutMs: 200 });
  const signIn = await hasty.begin(config, { redirectUrl: REDIRECT });
  const back = (await browse(signIn.url)).searchParams;
  expect(await failure(signIn.finish(back))).toMatchObject({
    code: 'ERR_SIGN_IN',
    message: expect.stringContaining('cannot be asked'),
  });
});

test.each([
  'https://127.0.0.1/',
  'https://2130706433/',
  'https://0x7f.1/',
  'https://[::1]/',
  'https://[::ffff:7f00:1]/',
  'http://public.example/',
  'ftp://public.example/',
  'https://user:password@public.example/',
])('%s is not asked', async (url) => {
  expect(await failure(guardedFetch(FETCH)(url))).toBeInstanceOf(TypeError);
});

test('a name is checked by every address that the socket may take, and looked up once', async () => {
  const asked: string[] = [];
  const lookup: LookupFunction = (hostname, _options, callback) => {
    asked.push(hostname);
    // A second look-up would bring a private address: nothing does one.
    const address = asked.length === 1 ? '93.184.215.14' : '10.0.0.1';
    callback(null, [
      { address, family: 4 },
      { address: '192.168.0.1', family: 4 },
    ]);
  };
  const error = await failure(guardedFetch({ ...FETCH, lookup })('https://rebound.example/'));
  expect(error).toMatchObject({ message: expect.stringContaining('private or reserved address (192.168.0.1)') });
  expect(asked).toEqual(['rebound.example']);
});

test('what a name leads to is asked at that very address', async () => {
  const server = closeAfter(new HttpListener(async (request, response) => void response.end(request.headers.host)));
  await server.listen('listen', {});
  let asked = 0;
  const lookup: LookupFunction = (_hostname, _options, callback) => {
    asked++;
    callback(null, [{ address: '127.0.0.1', family: 4 }]);
  };
  const fetch = guardedFetch({ ...FETCH, reach: 'loopback', lookup });
  const response = await fetch(`http://any.localhost:${server.port}/`);
  expect([await response.text(), asked]).toEqual([`any.localhost:${server.port}`, 1]);
});

test('redirects, long bodies, silence and interim responses without end are not waited for', async () => {
  const server = closeAfter(
    new HttpListener(async ({ url }, response) => {
      if (url === '/interim') for (let at = 0; at < 21; at++) response.writeProcessing();
      else if (url === '/redirect') response.writeHead(302, { location: 'http://169.254.169.254/' }).end();
      else if (url === '/long') response.end('x'.repeat(2_000));
      else if (url === '/blanks') response.socket?.write(`HTTP/1.1 200 OK\r\nX:${' '.repeat(300_000)}`);
    }),
  );
  await server.listen('listen', {});
  const fetch = guardedFetch({ ...FETCH, reach: 'loopback', timeoutMs: 300 });
  const why = async (path: string): Promise<string> =>
    ((await failure(fetch(`${server.origin}${path}`))) as Error).message;
  expect(await why('/redirect')).toContain('redirect (302), which is not followed');
  expect(await why('/long')).toContain('more than 1024 bytes');
  expect(await why('/blanks')).toContain('neither header nor body');
  expect(await why('/silence')).toContain('cannot be asked');
  expect(await why('/interim')).toContain('more than 20 interim responses in a second');
});

test('a port that is taken is an error of the sign-in, which leaves nothing', async () => {
  const { oauth, config } = await world();
  const taken = createServer().listen(0, '127.0.0.1');
  closeAfter({ close: async () => void (await new Promise((resolve) => taken.close(resolve))) });
  await new Promise((resolve) => taken.once('listening', resolve));
  const redirectPort = (taken.address() as { readonly port: number }).port;
  const options = { onUrl: () => undefined };
  expect(
    await failure(signInOnLoopback(oauth, { ...config, auth: { type: 'oauth', redirectPort } }, options)),
  ).toMatchObject({
    code: 'EADDRINUSE',
  });
  expect(await failure(signInOnLoopback(oauth, config, { ...options, timeoutMs: 1 }))).toMatchObject({
    code: 'ERR_SIGN_IN',
  });
});
