import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { inspect } from 'node:util';
import { exportJWK, generateKeyPair, type JWTPayload, SignJWT } from 'jose';
import { expect, test, vi } from 'vitest';
import { OptionError } from '../../../src/core/errors.js';
import { Gateway } from '../../../src/gateway/Gateway.js';
import { bearerTokens } from '../../../src/gateway/users/bearerTokens.js';
import { jwtUsers } from '../../../src/gateway/users/jwtUsers.js';
import type { RequestOptions } from '../../../src/pool/McpPool.js';
import { FakeClock } from '../../../src/testing/FakeClock.js';
import { closeAfter } from '../../support/closeAfter.js';
import { FakePool } from '../../support/FakePool.js';
import { exchange, type Reply } from '../../support/httpClient.js';

const ACCEPT = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
const INIT = {
  jsonrpc: '2.0',
  id: 0,
  method: 'initialize',
  params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 't', version: '1' } },
};

const post = (url: string, message: unknown, headers: Record<string, string>): Promise<Reply> =>
  exchange(url, { headers: { ...ACCEPT, ...headers }, body: JSON.stringify(message) });
const bearer = (token: string): Record<string, string> => ({ authorization: `Bearer ${token}` });

function pool(): FakePool {
  return new FakePool({
    a: {
      capabilities: { tools: { listChanged: true }, logging: {} },
      lists: { tools: [{ name: 'who', inputSchema: { type: 'object' } }] },
      methods: {
        'tools/call': (_params, { caller }) =>
          Buffer.from(JSON.stringify({ content: [], principal: caller?.principal ?? null, context: caller?.context })),
      },
    },
  });
}

/** An issuer of tokens, whose keys can be replaced. */
async function issuer() {
  let keys = await generateKeyPair('ES256', { extractable: true });
  let kid = 'first';
  let asked = 0;
  const server = createServer(async (_request, response) => {
    asked++;
    response.end(JSON.stringify({ keys: [{ ...(await exportJWK(keys.publicKey)), kid, alg: 'ES256' }] }));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closeAfter({
    close: async () => {
      server.closeAllConnections();
      await once(server.close(), 'close');
    },
  });
  const sign = (claims: JWTPayload = {}, header: object = {}, key = keys.privateKey): Promise<string> =>
    new SignJWT({
      iss: 'https://issuer.example',
      aud: 'https://proxy.example/mcp',
      sub: 'ann',
      client_id: 'c',
      scope: 'tools',
      ...claims,
    })
      .setProtectedHeader({ alg: 'ES256', kid, ...header })
      .setExpirationTime((claims['exp'] as number | undefined) ?? '5m')
      .sign(key);
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`,
    sign,
    asked: () => asked,
    replace: async () => {
      keys = await generateKeyPair('ES256', { extractable: true });
      kid = 'second';
    },
  };
}

const RESOURCE = { resource: 'https://proxy.example/mcp', authorizationServers: ['https://issuer.example'] };

test('tokens that are not in order are refused on every request: audience, issuer, time, none, keys, and what is smuggled', async () => {
  const from = await issuer();
  const authenticate = jwtUsers({
    issuer: 'https://issuer.example',
    audience: RESOURCE.resource,
    jwks: from.url,
    scopes: ['tools'],
    clockToleranceMs: 0,
    cooldownMs: 0,
  });
  const gateway = closeAfter(new Gateway({ pool: pool(), port: 0, authenticate, resourceMetadata: RESOURCE }));
  const { url } = await gateway.listen();
  const status = async (headers: Record<string, string>): Promise<number> =>
    (await post(`${url}/mcp`, INIT, headers)).status;
  const good = await from.sign();
  expect(await status(bearer(good))).toBe(200);

  const none = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${good.split('.')[1]}.`;
  const hmac = await new SignJWT({ iss: 'https://issuer.example', aud: RESOURCE.resource, sub: 'ann', scope: 'tools' })
    .setProtectedHeader({ alg: 'HS256', kid: 'first' })
    .setExpirationTime('5m')
    .sign(new TextEncoder().encode('a secret of thirty-two characters'));
  const stranger = await generateKeyPair('ES256', { extractable: true });
  const past = Math.floor(Date.now() / 1_000) - 60;
  const attacks: Record<string, Record<string, string>> = {
    nothing: {},
    'wrong audience': bearer(await from.sign({ aud: 'https://other.example/mcp' })),
    'other issuer': bearer(await from.sign({ iss: 'https://evil.example' })),
    expired: bearer(await from.sign({ exp: past })),
    'not yet': bearer(await from.sign({ nbf: past + 3_600 })),
    'no subject': bearer(await from.sign({ sub: undefined } as unknown as JWTPayload)),
    'an empty subject': bearer(await from.sign({ sub: '' })),
    'a subject of another type': bearer(await from.sign({ sub: ['ann'] } as unknown as JWTPayload)),
    'alg none': bearer(none),
    'shared secret': bearer(hmac),
    'foreign key': bearer(await from.sign({}, {}, stranger.privateKey)),
    'key of its own in the header': bearer(
      await from.sign({}, { jwk: await exportJWK(stranger.publicKey) }, stranger.privateKey),
    ),
    'unknown critical header': bearer(await from.sign({}, { crit: ['exp'] }).catch(() => `${good}x`)),
    'two tokens': { authorization: `Bearer ${good}, Bearer ${good}` },
    'another scheme': { authorization: `Basic ${good}` },
    'in a parameter': {},
    'a proxy’s header': { 'x-forwarded-user': 'ann', 'proxy-authorization': `Bearer ${good}` },
    'a long one': bearer('x'.repeat(10_000)),
  };
  for (const [name, headers] of Object.entries(attacks)) {
    const target = name === 'in a parameter' ? `${url}/mcp?access_token=${good}` : `${url}/mcp`;
    const reply = await post(target, INIT, headers);
    expect([name, reply.status]).toEqual([name, 401]);
    expect(reply.headers['www-authenticate']).toContain(
      'resource_metadata="https://proxy.example/.well-known/oauth-protected-resource/mcp"',
    );
  }
  // What is signed well, but may too little, is told so.
  const poor = await post(`${url}/mcp`, INIT, bearer(await from.sign({ scope: 'other' })));
  expect([poor.status, poor.headers['www-authenticate']]).toEqual([403, expect.stringContaining('insufficient_scope')]);

  // Keys that were replaced: the old ones are worth nothing once the new are known.
  await from.replace();
  expect(await status(bearer(await from.sign()))).toBe(200);
  expect(await status(bearer(good))).toBe(401);

  const metadata = await exchange(`${url}/.well-known/oauth-protected-resource/mcp`, { method: 'GET', headers: {} });
  expect(JSON.parse(metadata.text)).toEqual({
    resource: RESOURCE.resource,
    authorization_servers: RESOURCE.authorizationServers,
    bearer_methods_supported: ['header'],
  });
  expect(() => jwtUsers({ issuer: 'x', audience: 'y', jwks: 'file:///etc/passwd' })).toThrow(OptionError);
  expect(() => jwtUsers({ issuer: 'x', audience: 'y', jwks: from.url, algorithms: ['none'] })).toThrow(OptionError);
});

test('a session is its principal’s alone: another’s is 404, every request says anew who it is from, and no token goes upstream', async () => {
  const tokens = { 'token-of-ann-0001': 'ann', 'token-of-bob-0001': 'bob' };
  const fake = pool();
  const gateway = closeAfter(new Gateway({ pool: fake, port: 0, authenticate: bearerTokens(tokens) }));
  const { url } = await gateway.listen();
  const ann = bearer('token-of-ann-0001');
  const bob = bearer('token-of-bob-0001');
  const target = `${url}/servers/a/mcp`;
  const session = { 'mcp-session-id': String((await post(target, INIT, ann)).headers['mcp-session-id']) };
  const call = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'who' } };
  const answer = await post(target, call, { ...ann, ...session });
  expect(answer.messages[0]?.result).toEqual({ content: [], principal: 'ann' });
  expect((await post(target, call, { ...bob, ...session })).status).toBe(404);
  expect((await post(target, call, session)).status).toBe(401);
  expect((await exchange(target, { method: 'DELETE', headers: { ...bob, ...session } })).status).toBe(404);
  expect((await exchange(target, { method: 'GET', headers: { ...ACCEPT, ...bob, ...session } })).status).toBe(404);
  expect((await post(target, call, { ...ann, ...session })).status).toBe(200);
  expect(inspect(fake.calls, { depth: 6 })).not.toContain('token-of-ann-0001');

  for (const bad of [{ short: 'x' }, { 'with a space in it': 'x' }, { 'token-of-nobody-1': '' }]) {
    expect(() => bearerTokens(bad as unknown as Record<string, string>)).toThrow(OptionError);
  }
});

test('what a server says on a principal’s connection reaches its sessions alone; list changes too, and the newest context is asked for', async () => {
  let n = 0;
  const fake = pool();
  const authenticate = async ({ headers }: { headers: Record<string, unknown> }) => {
    const name = headers['x-user'];
    return typeof name === 'string' ? { principal: name, context: { n: ++n } } : undefined;
  };
  const gateway = closeAfter(new Gateway({ pool: fake, port: 0, authenticate }));
  const { url } = await gateway.listen();
  const open = async (user: string) => {
    const headers = { 'x-user': user };
    const id = String((await post(`${url}/servers/a/mcp`, INIT, headers)).headers['mcp-session-id']);
    return { ...headers, 'mcp-session-id': id };
  };
  const [ann, bob] = await Promise.all([open('ann'), open('bob')]);
  const reader = async (headers: Record<string, string>) => {
    const control = new AbortController();
    const response = await gateway.fetch(
      new Request(`${url}/servers/a/mcp`, { headers: { ...ACCEPT, ...headers }, signal: control.signal }),
    );
    let text = '';
    const done = (async () => {
      for await (const chunk of response.body ?? []) text += Buffer.from(chunk).toString();
    })();
    return {
      end: async () => {
        control.abort();
        await expect(done).rejects.toThrow('aborted');
        return text;
      },
    };
  };
  const [hers, his] = await Promise.all([reader(ann), reader(bob)]);
  fake.emit('notification', { server: 'a', principal: 'ann', notice: { method: 'notifications/tools/list_changed' } });
  fake.emit('notification', { server: 'a', notice: { method: 'notifications/prompts/list_changed' } });
  fake.emit('notification', {
    server: 'a',
    principal: 'eve',
    notice: { method: 'notifications/resources/list_changed' },
  });
  const call = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'who' } };
  const first = (await post(`${url}/servers/a/mcp`, call, ann)).messages[0]?.result;
  const second = (await post(`${url}/servers/a/mcp`, call, ann)).messages[0]?.result;
  const newest = (result: unknown): number => Number((result as { context?: { n: number } } | undefined)?.context?.n);
  expect(newest(second)).toBeGreaterThan(newest(first));
  const heard = await hers.end();
  expect([heard.includes('tools/list_changed'), heard.includes('prompts'), heard.includes('resources')]).toEqual([
    true,
    false,
    false,
  ]);
  expect(await his.end()).toBe('');
});

test('authenticate that does not answer keeps no gateway from closing: its requests are answered 503', async () => {
  let asked = (): void => undefined;
  const begun = new Promise<void>((resolve) => {
    asked = resolve;
  });
  const authenticate = (): Promise<never> => {
    asked();
    return new Promise(() => undefined);
  };
  const gateway = closeAfter(new Gateway({ pool: pool(), port: 0, authenticate }));
  const { url } = await gateway.listen();
  const reply = post(`${url}/mcp`, INIT, bearer('x'));
  await begun;
  await gateway.close({ graceMs: 10_000 });
  expect((await reply).status).toBe(503);
});

test('a connection that starts concerns the user whose it is: the lists of the others are not read anew', async () => {
  const servers = pool();
  const authenticate = async ({ headers }: { headers: IncomingHttpHeaders }) => ({
    principal: String(headers.authorization),
  });
  const gateway = closeAfter(new Gateway({ pool: servers, port: 0, authenticate }));
  const url = `${(await gateway.listen()).url}/mcp`;
  const list = { jsonrpc: '2.0', id: 1, method: 'tools/list' };
  for (const user of ['ann', 'bob']) {
    const { headers } = await post(url, INIT, { authorization: user });
    const session = { authorization: user, 'mcp-session-id': String(headers['mcp-session-id']) };
    expect((await post(url, list, session)).messages).toMatchObject([{ result: { tools: [{ name: 'a__who' }] } }]);
  }
  const asked = vi.spyOn(servers, 'listAll');
  for (const principal of ['ann', undefined, 'nobody']) {
    servers.emit('started', { server: 'a', pid: 1, startMs: 1, others: 0, ...(principal && { principal }) });
  }
  await expect.poll(() => asked.mock.calls.length).toBeGreaterThan(0);
  const principals = asked.mock.calls.map((call) => (call as unknown as [string, string, RequestOptions])[2]);
  expect(principals.map((options) => options?.caller?.principal)).toEqual(['ann']);
});

test('what a server says, and whom other tools are shown, costs no more for all the principals that it is not for', async () => {
  const shared = pool();
  const on = vi.spyOn(shared, 'on');
  const gateway = closeAfter(
    new Gateway({
      pool: shared,
      port: 0,
      authenticate: async ({ headers }) => ({ principal: String(headers.authorization) }),
    }),
  );
  const url = `${(await gateway.listen()).url}/mcp`;
  const listeners = (): number => on.mock.calls.filter(([event]) => event === 'notification').length;
  const alone = listeners();
  for (const user of ['ann', 'bob', 'cid']) expect((await post(url, INIT, bearer(user))).status).toBe(200);
  expect(listeners()).toBe(alone);
  // The sessions of each are looked up, and not looked for among those of all.
  const values = vi.spyOn(Map.prototype, 'values');
  gateway.curate({ servers: { a: { deny: ['who'] } } });
  const looked = (values.mock.contexts as Map<unknown, unknown>[]).filter((each) => each.size === 3).length;
  values.mockRestore();
  expect(looked).toBeLessThan(3);
});

test('authenticate that does not answer fails its request in the end', async () => {
  const clock = new FakeClock();
  let asked = (): void => undefined;
  const begun = new Promise<void>((resolve) => {
    asked = resolve;
  });
  const authenticate = (): Promise<never> => {
    asked();
    return new Promise(() => undefined);
  };
  const gateway = closeAfter(new Gateway({ pool: pool(), port: 0, authenticate, clock }));
  const reply = post(`${(await gateway.listen()).url}/mcp`, INIT, bearer('x'));
  await begun;
  await clock.advance(30_000);
  expect((await reply).status).toBe(500);
});
