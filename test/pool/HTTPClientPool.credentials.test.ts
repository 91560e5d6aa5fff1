import { expect, test } from 'vitest';
import { systemClock } from '../../src/core/clock.js';
import type { CredentialsHook } from '../../src/pool/server/callers/Credentials.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { echoFor, rawPool, tool } from '../support/httpPool.js';
import { failure } from '../support/rawCalls.js';
import type { Exchange, RawOptions } from '../support/rawServer.js';

/** Tokens that a server takes, and a hook that gives each principal the next of its own. */
function tokens(options: { readonly expiresAt?: () => number } = {}): {
  readonly valid: Set<string>;
  readonly asked: string[];
  readonly hook: CredentialsHook;
  readonly guard: RawOptions;
} {
  const valid = new Set<string>();
  const asked: string[] = [];
  const hook: CredentialsHook = async ({ server, caller, reason }) => {
    const principal = caller?.principal ?? 'nobody';
    asked.push(`${server} ${principal} ${reason}`);
    await new Promise((resolve) => setImmediate(resolve));
    const token = `${principal}-${asked.length}`;
    valid.add(token);
    const expiresAt = options.expiresAt?.();
    return { headers: { authorization: `Bearer ${token}` }, ...(expiresAt !== undefined && { expiresAt }) };
  };
  const before = ({ headers, res }: Exchange): boolean => {
    const known = valid.has(String(headers.authorization).replace('Bearer ', ''));
    if (!known) res.writeHead(401).end();
    return !known;
  };
  return { valid, asked, hook, guard: { before } };
}

test('credentials are asked for once a principal, and each acts with its own', async () => {
  const { asked, hook, guard } = tokens();
  const { server, pool } = await rawPool(guard, { credentials: hook });
  await Promise.all(['ann', 'bob', 'ann', 'bob', 'ann'].map((principal) => echoFor(pool, { principal }, principal)));
  expect(asked.sort()).toEqual(['raw ann start', 'raw bob start']);
  for (const { message, headers } of server.of('tools/call')) {
    expect(headers.authorization).toMatch(`Bearer ${message.params.arguments.text}-`);
  }
});

test('when they are refused they are asked for once by all, and every call is sent once more', async () => {
  const { valid, asked, hook, guard } = tokens();
  const { server, pool } = await rawPool(guard, { credentials: hook });
  const caller = { principal: 'ann' };
  await echoFor(pool, caller);
  valid.clear();
  const texts = Array.from({ length: 20 }, (_, i) => `t${i}`);
  expect(await Promise.all(texts.map((text) => echoFor(pool, caller, text)))).toEqual(texts);
  expect(asked).toEqual(['raw ann start', 'raw ann 401']);
  expect(server.initialises).toBe(1);
});

test('a second refusal stands, and only for that principal', async () => {
  const { valid, asked, hook, guard } = tokens();
  const { pool } = await rawPool(guard, {
    credentials: async (request) => {
      const set = await hook(request);
      if (request.caller?.principal === 'mallory') valid.delete(`mallory-${asked.length}`);
      return set;
    },
  });
  expect(await failure(echoFor(pool, { principal: 'mallory' }))).toMatchObject({ code: 'ERR_UNAUTHORIZED' });
  expect(asked).toEqual(['raw mallory start', 'raw mallory 401']);
  expect(await echoFor(pool, { principal: 'ann' }, 'fine')).toBe('fine');
});

test('a hook that fails fails the start with its own reason, and is asked again by the next', async () => {
  const { hook, guard } = tokens();
  let broken = true;
  const credentials: CredentialsHook = async (request) => {
    if (broken) throw new Error('the vault is shut');
    return hook(request);
  };
  const { pool } = await rawPool(guard, { credentials, backoff: { initialMs: 1, maxMs: 1 } });
  const caller = { principal: 'ann' };
  expect(await failure(echoFor(pool, caller))).toMatchObject({
    code: 'ERR_START_FAILED',
    message: expect.stringContaining('the vault is shut'),
  });
  broken = false;
  await expect.poll(() => echoFor(pool, caller, 'open').catch((error: Error) => error.message)).toBe('open');
});

test('expired ones are not used for a new connection', async () => {
  const { asked, hook, guard } = tokens({ expiresAt: () => systemClock.wallNow() + 1_000 });
  const { pool } = await rawPool(guard, { credentials: hook });
  await echoFor(pool, { principal: 'ann' });
  await echoFor(pool, { principal: 'ann', capabilities: { roots: {} } });
  // Their second is less than the five seconds ahead of their expiry in which they are no longer handed out.
  expect(asked).toEqual(['raw ann start', 'raw ann start']);
});

test.each([
  ['a token by itself', 'Bearer secret-word', 'credentials'],
  ['headers that are none', { headers: 'secret-word' }, 'credentials.headers'],
  ['a value on two lines', { headers: { authorization: 'secret-word\r\nx: y' } }, 'credentials.headers.authorization'],
  ['an end that is no time', { headers: {}, expiresAt: 'soon' }, 'credentials.expiresAt'],
])('%s is no credentials: no call is sent without any in their place', async (_what, given, option) => {
  const taken: CredentialsHook = async () => given as unknown as Awaited<ReturnType<CredentialsHook>>;
  const { server, pool } = await rawPool({}, { credentials: taken });
  const refused = await failure(echoFor(pool, { principal: 'ann' }));
  expect(refused).toMatchObject({ code: 'ERR_OPTION', option });
  expect(JSON.stringify([refused, String(refused)])).not.toContain('secret-word');
  expect(server.seen).toEqual([]);
});

test.each([
  ['what is no credentials', 'secret-word'],
  ['headers that cannot be sent', { headers: { authorization: 'two\nlines' } }],
  ['null', null],
])(
  'a refusal stands when %s is given in answer to it, and what was given before goes on to be used',
  async (_what, given) => {
    let refuse = false;
    const before = ({ res, message }: Exchange): boolean => {
      const now = refuse && message?.method === 'tools/call';
      if (now) res.writeHead(401).end();
      refuse &&= !now;
      return now;
    };
    const { server, pool } = await rawPool(
      { before },
      {
        credentials: async ({ reason }) =>
          (reason === 'start' ? { headers: { authorization: 'first' } } : given) as Awaited<
            ReturnType<CredentialsHook>
          >,
      },
    );
    await echoFor(pool, {});
    refuse = true;
    expect(await failure(echoFor(pool, {}))).toMatchObject({ code: 'ERR_UNAUTHORIZED' });
    await echoFor(pool, {});
    expect(server.of('tools/call').map(({ headers }) => headers.authorization)).toEqual(['first', 'first', 'first']);
  },
);

test('a hook that gives nothing in answer to a refusal is asked again at the next', async () => {
  const { valid, hook, guard } = tokens();
  let none = true;
  const credentials: CredentialsHook = async (request) => {
    const set = await hook(request);
    return none && request.reason === '401' ? undefined : set;
  };
  const { pool } = await rawPool(guard, { credentials });
  await echoFor(pool, {});
  valid.clear();
  expect(await failure(echoFor(pool, {}))).toMatchObject({ code: 'ERR_UNAUTHORIZED' });
  none = false;
  expect(await echoFor(pool, {}, 'again')).toBe('again');
});

test('a hook that never answers a refusal fails its call after 30 s, is asked again by the next, and holds up no close', async () => {
  const clock = new FakeClock();
  const { valid, asked, hook, guard } = tokens();
  let hung = false;
  const hangs: CredentialsHook = async (request) => {
    const answer = await hook(request);
    return hung ? new Promise(() => undefined) : answer;
  };
  const { pool } = await rawPool({ ...guard, lost: 404 }, { credentials: hangs, clock });
  const caller = { principal: 'ann' };
  await echoFor(pool, caller);
  valid.clear();
  hung = true;
  const refused = failure(echoFor(pool, caller));
  await expect.poll(() => asked.length).toBe(2);
  await clock.advance(30_000);
  expect(await refused).toMatchObject({
    code: 'ERR_UNAUTHORIZED',
    cause: { message: 'the credentials hook has not answered within 30000 ms' },
  });
  hung = false;
  valid.clear();
  expect(await echoFor(pool, caller, 'again')).toBe('again');
  valid.clear();
  hung = true;
  const closed = pool.close();
  // The DELETE was refused, and the hook is asked for it.
  await expect.poll(() => asked.at(-1) === 'raw ann 401' && asked.length).toBe(4);
  await clock.advance(5_000);
  await closed;
});

test('while other credentials are asked for, the time of a call goes on', async () => {
  const clock = new FakeClock();
  await clock.advance(1);
  const { valid, asked, hook, guard } = tokens();
  const { pool } = await rawPool(guard, {
    clock,
    credentials: async (request) => {
      const answer = await hook(request);
      return request.reason === '401' ? new Promise(() => undefined) : answer;
    },
  });
  const caller = { principal: 'ann' };
  await echoFor(pool, caller);
  valid.clear();
  const call = failure(tool(pool, 'echo', { text: 'x' }, { caller, timeoutMs: 1_000 }));
  await expect.poll(() => asked.length).toBe(2);
  await clock.advance(1_100);
  expect(await call).toMatchObject({
    code: 'ERR_ACQUIRE_TIMEOUT',
    message: expect.stringContaining('could not be sent again: nothing free within 1000 ms'),
  });
});
