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

test('scopes of a signed token that are no text count for nothing', async () => {
  const from = await issuer();
  const authenticate = jwtUsers({
    issuer: 'https://issuer.example',
    audience: 'https://proxy.example',
    jwks: from.url,
  });
  const token = await new SignJWT({ sub: 'ann', scp: [{ toString: 1 }, 7, null, 'tools', ''] })
    .setProtectedHeader({ alg: 'ES256', kid: 'known' })
    .setIssuer('https://issuer.example')
    .setAudience('https://proxy.example')
    .setExpirationTime('5m')
    .sign(pair.privateKey);
  const headers = { authorization: `Bearer ${token}` };
  const user = await authenticate({ method: 'POST', url: '/mcp', headers, address: undefined } as never);
  expect(user).toMatchObject({ scopes: ['tools'] });
});
