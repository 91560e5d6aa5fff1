import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, generateKeyPair, type JWTVerifyGetKey, SignJWT } from 'jose';
import { expect, test } from 'vitest';
import { jwtUsers } from '../../../src/gateway/users/jwtUsers.js';
import { remoteKeys } from '../../../src/gateway/users/remoteKeys.js';
import { FakeClock } from '../../../src/testing/FakeClock.js';
import { closeAfter } from '../../support/closeAfter.js';

type Answer = (response: ServerResponse) => void;
const pair = await generateKeyPair('ES256', { extractable: true });
const KEYS = JSON.stringify({ keys: [{ ...(await exportJWK(pair.publicKey)), kid: 'known', alg: 'ES256' }] });
const good: Answer = (response) => response.end(KEYS);
const TIMES = { cacheMs: 600_000, cooldownMs: 30_000, timeoutMs: 10_000 };
/** The others fail by what is said; a short time would be over before a busy machine has asked. */
const timesOf = (failure: string) => (failure === 'nothing' ? { ...TIMES, timeoutMs: 300 } : TIMES);

async function issuer() {
  const state = { answer: good, asked: 0 };
  const server = createServer((_, response) => {
    state.asked++;
    state.answer(response);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  closeAfter({ close: async () => void server.close().closeAllConnections() });
  return Object.assign(state, { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks` });
}

async function outcome(keys: JWTVerifyGetKey, kid: string): Promise<'found' | 'failed'> {
  try {
    await keys({ alg: 'ES256', kid }, { payload: '', signature: '' });
    return 'found';
  } catch {
    return 'failed';
  }
}

const FAILURES: readonly (readonly [string, Answer])[] = [
  ['500', (response) => void response.writeHead(500).end()],
  ['nothing', () => undefined],
  ['no JSON', (response) => void response.end('<html>')],
  ['no keys', (response) => void response.end('{"keys":7}')],
  ['a list of none', (response) => void response.end('{"keys":[null,7]}')],
  ['an empty list', (response) => void response.end('{"keys":[]}')],
  [
    'more keys than each token may be held against',
    (response) => void response.end(`{"keys":[${'{},'.repeat(1_000)}{}]}`),
  ],
  ['a redirect', (response) => void response.writeHead(302, { location: '/' }).end()],
  [
    'no end',
    (response) => {
      const more = (): void => {
        while (response.write(' '.repeat(65_536)));
      };
      response.on('drain', more);
      more();
    },
  ],
  [
    'chunks whose extensions are long',
    ({ socket }) => {
      const chunk = `1;${'x'.repeat(12_000)}\r\n \r\n`.repeat(8);
      const more = (): void => {
        while (socket?.write(chunk));
      };
      socket?.on('drain', more).write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n');
      more();
    },
  ],
];

test.each(FAILURES)(
  'keys that cannot be had are asked for once in a while, not with each token: %s',
  async (name, failure) => {
    const from = await issuer();
    const clock = new FakeClock();
    const keys = await remoteKeys(from.url, { ...timesOf(name), cooldownMs: 0 }, clock);
    const cooled = await remoteKeys(from.url, timesOf(name), clock);
    const ask = (kid: string, of = cooled) => outcome(of, kid);
    // Before there are any: after a second again.
    from.answer = failure;
    expect([await ask('known'), await ask('known'), from.asked]).toEqual(['failed', 'failed', 1]);
    await clock.advance(1_000);
    expect([await ask('known'), await ask('known'), from.asked]).toEqual(['failed', 'failed', 2]);
    await clock.advance(1_000);
    from.answer = good;
    expect([await ask('known'), from.asked]).toEqual(['found', 3]);
    // Without a cooldown each asks.
    expect(await ask('known', keys)).toBe('found');
    from.answer = failure;
    const before = from.asked;
    expect([await ask('other', keys), await ask('other', keys), from.asked - before]).toEqual(['failed', 'failed', 2]);
    expect(await ask('known', keys)).toBe('found');
  },
);

test('an issuer that is down is asked once in the cooldown for all tokens of unknown keys; those of known ones go on', async () => {
  const from = await issuer();
  const clock = new FakeClock();
  const keys = await remoteKeys(from.url, { ...TIMES, cooldownMs: 50 }, clock);
  const ask = (kid: string) => outcome(keys, kid);
  expect(await ask('known')).toBe('found');
  from.answer = (response) => void response.writeHead(500).end();
  expect([await ask('other'), from.asked]).toEqual(['failed', 1]);
  await clock.advance(50);
  expect([await ask('other'), from.asked]).toEqual(['failed', 2]);
  for (let i = 0; i < 20; i++) expect(await ask(`other ${i}`)).toBe('failed');
  expect([await ask('known'), from.asked]).toEqual(['found', 2]);
  await clock.advance(50);
  expect([await ask('other'), from.asked]).toEqual(['failed', 3]);
});

test.each(FAILURES)('keys that are known stand until newer ones are there, for a day: %s', async (name, failure) => {
  const from = await issuer();
  const clock = new FakeClock();
  const keys = await remoteKeys(from.url, timesOf(name), clock);
  const ask = () => outcome(keys, 'known');
  expect([await ask(), from.asked]).toEqual(['found', 1]);
  from.answer = failure;
  // Behind the calls: the answer is there before the issuer was asked.
  await clock.advance(TIMES.cacheMs);
  expect([await ask(), from.asked]).toEqual(['found', 1]);
  await expect.poll(() => from.asked).toBe(2);
  expect(await ask()).toBe('found');
  // Nothing was heard for long: the first waits, the next are told of what is known at once.
  await clock.advance(TIMES.cacheMs);
  expect([await ask(), await ask()]).toEqual(['found', 'found']);
  await clock.advance(23 * 3_600_000);
  expect(await ask()).toBe('found');
  await clock.advance(3_600_000);
  expect(await ask()).toBe('failed');
  from.answer = good;
  await clock.advance(1_000);
  expect(await ask()).toBe('found');
});

test('keys are asked for behind the calls once their time is over; after a long rest the first call waits for them', async () => {
  const from = await issuer();
  const clock = new FakeClock();
  const keys = await remoteKeys(from.url, TIMES, clock);
  expect(await outcome(keys, 'known')).toBe('found');
  from.answer = (response) => void response.end(KEYS.replace('known', 'newer'));
  await clock.advance(TIMES.cacheMs);
  expect([await outcome(keys, 'known'), from.asked]).toEqual(['found', 1]);
  await expect.poll(() => outcome(keys, 'known')).toBe('failed');
  expect([await outcome(keys, 'newer'), from.asked]).toEqual(['found', 2]);
  from.answer = good;
  await clock.advance(2 * TIMES.cacheMs);
  expect([await outcome(keys, 'newer'), await outcome(keys, 'known'), from.asked]).toEqual(['failed', 'found', 3]);
});

/** Whom a gateway takes the bearer of a token for. */
async function userOf(jwks: string, claims: object, key: typeof pair.privateKey, kid?: string, alg = 'ES256') {
  const [issuer, audience] = ['https://issuer.example', 'https://proxy.example'];
  const authenticate = jwtUsers({ issuer, audience, jwks });
  const token = await new SignJWT({ sub: 'ann', ...claims })
    .setProtectedHeader({ alg, ...(kid !== undefined && { kid }) })
    .setIssuer(issuer)
    .setAudience(audience)
    .setExpirationTime('5m')
    .sign(key);
  const headers = { authorization: `Bearer ${token}` };
  return authenticate({ method: 'POST', url: '/mcp', headers, address: undefined } as never);
}

test('scopes of a signed token that are no text count for nothing', async () => {
  const from = await issuer();
  const user = await userOf(from.url, { scp: [{ toString: 1 }, 7, null, 'tools', ''] }, pair.privateKey, 'known');
  expect(user).toMatchObject({ scopes: ['tools'] });
});

const own = await exportJWK(pair.publicKey);
const other = await exportJWK((await generateKeyPair('ES256', { extractable: true })).publicKey);
const deep = `{"kty":"EC","d":${'['.repeat(20_000)}${']'.repeat(20_000)}}`;

test.each([
  ['two without an id', [other, own], undefined],
  [
    'two of one id',
    [
      { ...other, kid: 'same' },
      { ...own, kid: 'same' },
    ],
    'same',
  ],
  [
    'one that is listed twice',
    [
      { ...own, kid: 'k' },
      { ...own, kid: 'k' },
    ],
    'k',
  ],
  [
    'several, and no id in the token',
    [
      { ...other, kid: 'a' },
      { ...own, kid: 'b' },
    ],
    undefined,
  ],
  ['null, texts and numbers beside it', [null, 'x', 7, { ...own, kid: 'k' }], 'k'],
  ['one that cannot be imported beside it', [{ ...own, x: '!!' }, own], undefined],
  ['one that is nested too deep beside it', ['deep', { ...own, kid: 'k' }], 'k'],
])('a token is held against each key that may be its own, whatever else is listed: %s', async (_, keys, kid) => {
  const from = await issuer();
  from.answer = (response) => response.end(JSON.stringify({ keys }).replace('"deep"', deep));
  expect(await userOf(from.url, {}, pair.privateKey, kid)).toMatchObject({ scopes: [] });
  const stranger = await generateKeyPair('ES256');
  expect(await userOf(from.url, {}, stranger.privateKey, kid)).toBeUndefined();
});

test('a token is held against sixteen keys at most', async () => {
  const from = await issuer();
  const keys = [...Array.from({ length: 16 }, () => other), own];
  from.answer = (response) => response.end(JSON.stringify({ keys }));
  expect(await userOf(from.url, {}, pair.privateKey)).toBeUndefined();
  from.answer = (response) => response.end(JSON.stringify({ keys: keys.slice(1) }));
  expect(await userOf(from.url, {}, pair.privateKey)).toMatchObject({ scopes: [] });
});

test('a key too short to be used, beside the one that a token is of, takes nothing with it', async () => {
  const from = await issuer();
  const short: unknown = generateKeyPairSync('rsa', { modulusLength: 1_024 }).publicKey.export({ format: 'jwk' });
  const rsa = await generateKeyPair('RS256', { extractable: true });
  const long = await exportJWK(rsa.publicKey);
  from.answer = (response) => response.end(JSON.stringify({ keys: [short, long] }));
  expect(await userOf(from.url, {}, rsa.privateKey, undefined, 'RS256')).toMatchObject({ scopes: [] });
  const stranger = await generateKeyPair('RS256');
  expect(await userOf(from.url, {}, stranger.privateKey, undefined, 'RS256')).toBeUndefined();
});
