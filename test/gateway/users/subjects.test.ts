import { generateKeyPair, SignJWT } from 'jose';
import { expect, test } from 'vitest';
import { MultiServerRateLimiter } from '../../../src/concurrent/limiter/MultiServerRateLimiter.js';
import { shareOf } from '../../../src/concurrent/Shares.js';
import { type Caller, callerName } from '../../../src/connection/calls/Caller.js';
import { QueueFullError } from '../../../src/core/errors.js';
import { silentLogger } from '../../../src/core/logger.js';
import { Gateway } from '../../../src/gateway/Gateway.js';
import { GATEWAY_DEFAULTS, type GatewayOptions } from '../../../src/gateway/GatewayOptions.js';
import type { Authenticate, User } from '../../../src/gateway/users/Authenticate.js';
import { jwtUsers } from '../../../src/gateway/users/jwtUsers.js';
import type { Tenant } from '../../../src/gateway/users/Tenant.js';
import { Tenants } from '../../../src/gateway/users/Tenants.js';
import { limit } from '../../../src/middleware/ready/limit.js';
import { starterOf } from '../../../src/pool/server/callers/callerKey.js';
import { FakeClock } from '../../../src/testing/FakeClock.js';
import { closeAfter } from '../../support/closeAfter.js';
import { FakePool } from '../../support/FakePool.js';
import { exchange, type Reply } from '../../support/httpClient.js';

/** One person has several principals: of each client, with each scope. */

const INIT = {
  jsonrpc: '2.0',
  id: 0,
  method: 'initialize',
  params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 't', version: '1' } },
};

async function started(options: Partial<GatewayOptions>): Promise<(token: string) => Promise<Reply>> {
  const gateway = closeAfter(new Gateway({ pool: new FakePool({ one: {} }), port: 0, ...options }));
  const { url } = await gateway.listen();
  return (token) => {
    const headers = { accept: 'application/json, text/event-stream', 'content-type': 'application/json' };
    const own = { ...headers, authorization: `Bearer ${token}` };
    return exchange(`${url}/servers/one/mcp`, { headers: own, body: JSON.stringify(INIT) });
  };
}

test('tokens of one subject are one user to all that is shared, whatever their scopes and clients', async () => {
  const { publicKey, privateKey } = await generateKeyPair('ES256');
  const issuer = 'https://issuer.example';
  const audience = 'https://proxy.example/mcp';
  const authenticate = jwtUsers({ issuer, audience, jwks: async () => publicKey });
  const sign = (sub: string, scope: string, client = 'c'): Promise<string> =>
    new SignJWT({ iss: issuer, aud: audience, sub, scope, client_id: client })
      .setProtectedHeader({ alg: 'ES256' })
      .setExpirationTime('5m')
      .sign(privateKey);
  const userOf = async (token: string): Promise<User | undefined> =>
    authenticate({ method: 'POST', url: '/', headers: { authorization: `Bearer ${token}` }, address: undefined });
  const same = [await sign('eve', 'a b'), await sign('eve', 'b a'), await sign('eve', 'b a a')];
  const others = [await sign('eve', 'a'), await sign('eve', 'a b', 'd')];
  const users = await Promise.all([...same, ...others, await sign('bob', 'a b')].map(userOf));
  expect(new Set(users.map((user) => user?.principal)).size).toBe(4);
  expect(new Set(users.slice(0, 5).map((user) => user?.subject)).size).toBe(1);
  expect(users[5]?.subject).not.toBe(users[0]?.subject);

  const initialize = await started({ authenticate, maxSessions: 8 });
  for (let at = 0; at < 8; at++) expect((await initialize(await sign('eve', `s${at}`))).status).toBe(200);
  expect((await initialize(await sign('eve', 's8'))).status).toBe(429);
  const bob = await sign('bob', 'a');
  for (let at = 0; at < 4; at++) expect((await initialize(bob)).status).toBe(200);
});

test('where the gateway has rules by scope a principal is one user, unless authenticate names another', async () => {
  const authenticate: Authenticate = async ({ headers: { authorization = '' } }) => {
    const [principal = '', scope = '', subject] = authorization.slice('Bearer '.length).split('.');
    return { principal, scopes: [scope], ...(subject !== undefined && { subject }) };
  };
  const scopes = Object.fromEntries(Array.from({ length: 6 }, (_, at) => [`s${at}`, { servers: ['one'] }]));
  const initialize = await started({ authenticate, scopes, maxSessions: 4 });
  for (let at = 0; at < 4; at++) expect((await initialize(`eve.s${at}`)).status).toBe(200);
  expect((await initialize('eve.s4')).status).toBe(429);
  expect((await initialize('other.s5.eve')).status).toBe(429);
  expect((await initialize('bob.s0')).status).toBe(200);
  expect((await initialize('bob.s0.')).status).toBe(500);
});

test('a caller counts to its subject: shares, votes, starts and the limit by user', async () => {
  const [eve, other]: Caller[] = [
    { principal: 'eve with a', subject: 'eve' },
    { principal: 'eve with b', subject: 'eve', origin: '192.0.2.1' },
  ];
  for (const of of [shareOf, callerName, starterOf]) {
    expect([of(eve), of({ principal: 'bob' })]).toEqual([of(other), of({ principal: 'x', subject: 'bob' })]);
    expect(of(eve)).not.toBe(of({ principal: 'bob' }));
  }
  const rate = closeAfter(new MultiServerRateLimiter({ maxRequests: 1, windowMs: 60_000, maxQueue: 0 }));
  const limited = limit({ rate });
  const call = async (caller: Caller): Promise<unknown> =>
    limited(
      { kind: 'request', from: 'client', caller, signal: new AbortController().signal } as never,
      (async () => 'answered') as never,
    );
  expect(await call(eve as Caller)).toBe('answered');
  await expect(call(other as Caller)).rejects.toMatchObject({ code: 'ERR_RATE_LIMITED' });
  expect(await call({ principal: 'bob' })).toBe('answered');
});

test('one user’s principals are three quarters of those that a gateway keeps at most, and make room for their own', () => {
  // One session of each of eve's first 15 is there.
  const inUse: { caller: { principal: string } }[] = [];
  const tenants = new Tenants({
    gateway: { pool: new FakePool({}) },
    settings: GATEWAY_DEFAULTS,
    maxTenants: 20,
    sessions: () => inUse,
    middleware: { around: (endpoint: unknown) => endpoint },
    onEndpoint: () => undefined,
    clock: new FakeClock(),
    logger: silentLogger,
    signal: new AbortController().signal,
  } as never);
  closeAfter(tenants);
  const eve = (at: number): Tenant => tenants.of({ principal: `eve ${at}`, subject: 'eve' });
  for (let at = 0; at < 15; at++) {
    eve(at);
    if (at > 0) inUse.push({ caller: { principal: `eve ${at}` } });
  }
  const bob = tenants.of({ principal: 'bob' });
  eve(15);
  expect([tenants.find('eve 0'), tenants.find('bob')]).toEqual([undefined, bob]);
  inUse.push({ caller: { principal: 'eve 15' } });
  expect(() => eve(16)).toThrow(QueueFullError);
  expect(tenants.of({ principal: 'carol' }).principal).toBe('carol');
});
