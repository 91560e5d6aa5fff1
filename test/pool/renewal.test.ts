import { expect, test } from 'vitest';
import { HTTPClientPool } from '../../src/pool/HTTPClientPool.js';
import type { Caller, McpPool } from '../../src/pool/McpPool.js';
import { SSEPool } from '../../src/pool/SSEPool.js';
import type { CredentialsHook } from '../../src/pool/server/callers/Credentials.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { closeAfter } from '../support/closeAfter.js';
import { type Exchange, RawServer } from '../support/rawServer.js';
import { RawSse, type SsePost } from '../support/rawSse.js';
import { said } from '../support/stdioPool.js';

const LIFE_MS = 60_000;

/** Tokens that live for a minute on a fake clock, and a server's check that refuses expired ones. */
function minting(clock: FakeClock) {
  const asked: string[] = [];
  let refused = 0;
  let broken: 'throws' | 'same' | undefined;
  let last: Awaited<ReturnType<CredentialsHook>>;
  const hook: CredentialsHook = async ({ caller, reason }) => {
    asked.push(`${reason} ${caller?.principal}`);
    if (broken === 'throws') throw new Error('the vault is shut');
    if (broken === 'same') return last;
    const expiresAt = clock.wallNow() + LIFE_MS;
    last = { headers: { authorization: `${caller?.principal} ${expiresAt}` }, expiresAt };
    return last;
  };
  const refuses = ({ headers, res, message }: Pick<Exchange | SsePost, 'headers' | 'res' | 'message'>): boolean => {
    const expiresAt = Number(String(headers.authorization).split(' ')[1]);
    if (message === undefined || clock.wallNow() < expiresAt) return false;
    refused++;
    res.writeHead(401).end();
    return true;
  };
  const breakIt = (how: typeof broken): void => {
    broken = how;
  };
  return { asked, hook, refuses, breakIt, refused: () => refused };
}

const echo = (pool: McpPool, caller: Caller, text: string): Promise<string> =>
  said(pool.request('raw', 'tools/call', { name: 'echo', arguments: { text } }, { caller }));

const NEVER = Number.POSITIVE_INFINITY;
const OPTIONS = { healthIntervalMs: NEVER, idleTimeoutMs: NEVER, requestTimeoutMs: NEVER, maxTotalTimeoutMs: NEVER };

for (const era of ['legacy', 'modern'] as const) {
  test(`${era}: what expires is renewed ahead of time, once for all connections of a principal, and no call is cut`, async () => {
    const clock = new FakeClock();
    const { asked, hook, refuses, refused } = minting(clock);
    let release: (() => void) | undefined;
    const slow = ({ answer }: Exchange): void => {
      release = () => answer('it took its time');
    };
    const server = await RawServer.listen({ era, before: refuses, tools: { slow } });
    const pool = closeAfter(new HTTPClientPool({ clock, credentials: hook, ...OPTIONS }));
    pool.addServer({ name: 'raw', transport: 'http', url: server.url, era });
    const ann: Caller = { principal: 'ann' };
    const other: Caller = { principal: 'ann', capabilities: { roots: {} } };
    await Promise.all([echo(pool, ann, 'a'), echo(pool, other, 'b'), echo(pool, { principal: 'bob' }, 'c')]);
    const inFlight = said(pool.request('raw', 'tools/call', { name: 'slow', arguments: {} }, { caller: ann }));
    await expect.poll(() => release).toBeDefined();
    expect(asked.sort()).toEqual(['start ann', 'start bob']);

    await clock.advance(LIFE_MS - 29_999);
    expect(asked.sort()).toEqual(['renewal ann', 'renewal bob', 'start ann', 'start bob']);
    await clock.advance(30_000);
    // By the first tokens' time these would be refused.
    expect(await Promise.all([echo(pool, ann, 'a'), echo(pool, other, 'b')])).toEqual(['a', 'b']);
    release?.();
    expect(await inFlight).toBe('it took its time');
    // A new connection takes the renewed ones.
    expect(await echo(pool, { principal: 'ann', capabilities: { sampling: {} } }, 'new')).toBe('new');
    expect(refused()).toBe(0);
    expect(asked.filter((each) => each === 'start ann')).toHaveLength(1);
  });
}

test('over SSE too', async () => {
  const clock = new FakeClock();
  const { asked, hook, refuses, refused } = minting(clock);
  const server = await RawSse.listen({ before: refuses });
  const pool = closeAfter(new SSEPool({ clock, credentials: hook, ...OPTIONS }));
  pool.addServer({ name: 'raw', transport: 'sse', url: server.url });
  expect(await echo(pool, { principal: 'ann' }, 'first')).toBe('first');
  for (let minute = 1; minute <= 3; minute++) {
    await clock.advance(LIFE_MS / 2);
    expect(await echo(pool, { principal: 'ann' }, `in minute ${minute}`)).toBe(`in minute ${minute}`);
  }
  expect(asked).toEqual(['start ann', 'renewal ann', 'renewal ann', 'renewal ann']);
  expect([refused(), server.streams.length]).toEqual([0, 1]);
});

test.each(['throws', 'same'] as const)(
  'a renewal that %s is tried again until the expiry, then a refusal asks',
  async (how) => {
    const clock = new FakeClock();
    const { asked, hook, refuses, breakIt, refused } = minting(clock);
    const server = await RawServer.listen({ before: refuses });
    const pool = closeAfter(new HTTPClientPool({ clock, credentials: hook, ...OPTIONS }));
    pool.addServer({ name: 'raw', transport: 'http', url: server.url, era: 'legacy' });
    await echo(pool, { principal: 'ann' }, 'first');
    breakIt(how);
    await clock.advance(LIFE_MS - 10_000);
    // They are good as long as they last, for a new connection too.
    expect(await echo(pool, { principal: 'ann', capabilities: { roots: {} } }, 'still good')).toBe('still good');
    await clock.advance(3_600_000);
    const renewals = asked.filter((each) => each === 'renewal ann').length;
    expect(renewals).toBeGreaterThan(1);
    expect(renewals).toBeLessThan(12);
    breakIt(undefined);
    expect(await echo(pool, { principal: 'ann' }, 'again')).toBe('again');
    expect(refused()).toBe(1);
    expect(asked.at(-1)).toBe('401 ann');
  },
);

test('a pool that closes renews nothing any more', async () => {
  const clock = new FakeClock();
  const { asked, hook, refuses } = minting(clock);
  const server = await RawServer.listen({ before: refuses });
  const pool = new HTTPClientPool({ clock, credentials: hook, ...OPTIONS });
  pool.addServer({ name: 'raw', transport: 'http', url: server.url, era: 'legacy' });
  await echo(pool, { principal: 'ann' }, 'first');
  await pool.close();
  expect(clock.armedTimers).toBe(0);
  await clock.advance(LIFE_MS);
  expect(asked).toEqual(['start ann']);
});
