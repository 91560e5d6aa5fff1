import { expect, test } from 'vitest';
import type { LimiterSource } from '../../../src/concurrent/limiter/Limiter.js';
import { MultiServerRateLimiter } from '../../../src/concurrent/limiter/MultiServerRateLimiter.js';
import { RateLimiter } from '../../../src/concurrent/limiter/RateLimiter.js';
import { FakeClock } from '../../../src/testing/FakeClock.js';
import { closeAfter } from '../../support/closeAfter.js';
import { countTurns } from '../../support/countTurns.js';
import { MEMORY, memoryPool, outcome } from '../../support/memoryPool.js';

const EVE = { caller: { origin: '192.0.2.1' } };
const BOB = { caller: { origin: '192.0.2.2' } };
const LIMITS = { maxRequests: 1, windowMs: 1_000, maxQueue: 8 };

/** One limiter, or one name of several, and what pauses it before its callers come. */
const limiters: Record<string, (clock: FakeClock) => LimiterSource> = {
  RateLimiter: (clock) => closeAfter(new RateLimiter({ ...LIMITS, clock })),
  'RateLimiter, a server paused': (clock) => {
    const limiter = closeAfter(new RateLimiter({ ...LIMITS, clock }));
    limiter.for({ server: 's' }).pauseFor(500);
    return limiter;
  },
  'MultiServerRateLimiter by server': (clock) => closeAfter(new MultiServerRateLimiter({ ...LIMITS, clock })),
  'MultiServerRateLimiter by tool': (clock) =>
    closeAfter(new MultiServerRateLimiter({ ...LIMITS, clock, keyOf: () => 'all' })),
};

test.each(Object.entries(limiters))('callers take turns at a limiter that they share: %s', async (_name, make) => {
  const clock = new FakeClock();
  const { pool, call, connector } = memoryPool({ clock, limiter: make(clock) });
  pool.addServer(MEMORY);
  const came: unknown[] = [];
  connector.onMessage = ({ id, params }, connection) => {
    if (params?.['name'] !== undefined) came.push(params['name']);
    if (id !== undefined) connection.answer(id, {});
  };
  const eve = Array.from({ length: 12 }, () => outcome(call('eve', EVE)));
  await clock.advance(0);
  const bob = [outcome(call('bob', BOB)), outcome(call('bob', BOB))];
  await clock.advance(5_600);
  const [first, ...next] = came.slice(0, 5);
  expect([first, next.slice(0, 2).sort(), next.slice(2).sort()]).toEqual(['eve', ['bob', 'eve'], ['bob', 'eve']]);
  expect(await Promise.all(bob)).toEqual([{}, {}]);
  await pool.close();
  // One is granted at once where the server is not paused; 6 of 8 places are one caller's at most.
  const refused = (await Promise.all(eve)).filter((each) => each === 'ERR_QUEUE_FULL').length;
  expect([5, 6]).toContain(refused);
});

test("maxConcurrent: 'auto': callers take turns, and one leaves places in the queue to others", async () => {
  const { pool, connector, call } = memoryPool({ maxConcurrent: 'auto', maxQueue: 8 });
  pool.addServer(MEMORY);
  const came: unknown[] = [];
  const open: (() => void)[] = [];
  connector.onMessage = ({ id, method, params }, connection) => {
    if (id === undefined || method !== 'tools/call') return;
    came.push(params?.['name']);
    open.push(() => connection.answer(id, {}));
  };
  const eve = Array.from({ length: 20 }, () => outcome(call('eve', EVE)));
  await expect.poll(() => came.length).toBe(20);
  eve.push(...Array.from({ length: 8 }, () => outcome(call('eve', EVE))));
  // One who has none under way has one let in beyond the limit.
  const bob = Array.from({ length: 3 }, () => outcome(call('bob', BOB)));
  await expect.poll(() => came.length).toBe(21);
  expect(came[20]).toBe('bob');
  await expect.poll(() => pool.stats('s').queued).toBe(8);
  open.shift()?.();
  for (let count = 21; count < 29; count++) {
    open.shift()?.();
    await expect.poll(() => came.length).toBe(count + 1);
  }
  expect(came.slice(21, 25).sort()).toEqual(['bob', 'bob', 'eve', 'eve']);
  for (const answer of open) answer();
  expect(await Promise.all(bob)).toEqual([{}, {}, {}]);
  expect((await Promise.all(eve)).filter((each) => each === 'ERR_QUEUE_FULL')).toHaveLength(2);
});

test("maxConcurrent: 'auto': one caller's calls that hang, and wait, lock no other out", async () => {
  const { pool, clock, call } = memoryPool({ maxConcurrent: 'auto' });
  pool.addServer(MEMORY);
  const over = new AbortController();
  const eve = Array.from({ length: 40 }, () => outcome(call('hang', { ...EVE, signal: over.signal })));
  await expect.poll(() => pool.stats('s').inFlight).toBe(20);
  const others = Array.from({ length: 8 }, (_, i) => ({ caller: { principal: `other ${i % 4}` } }));
  const answered = others.map((options) => outcome(call('echo', { ...options, acquireTimeoutMs: 1_000 })));
  await clock.advance(1_100);
  expect(await Promise.all(answered)).not.toContain('ERR_ACQUIRE_TIMEOUT');
  expect(pool.stats('s')).toMatchObject({ limit: 20, inFlight: 20, queued: 20 });
  over.abort('enough');
  expect(new Set(await Promise.all(eve))).toEqual(new Set(['enough']));
});

test('hundreds that wait for a slot of a connection that dies once more hear in turns of the event loop that it backs off', async () => {
  const { pool, connector, call } = memoryPool();
  pool.addServer({ ...MEMORY, maxConcurrent: 1 });
  for (let start = 0; start < 2; start++) {
    if (start > 0) connector.last.die('it crashed');
    await call('warm');
  }
  using turns = countTurns();
  const told = new Set<number>();
  const calls = ['hang', ...Array.from({ length: 500 }, (_, at) => `${at}`)].map(async (name) => {
    const end = await outcome(call(name));
    told.add(turns.count);
    return end;
  });
  await expect.poll(() => pool.stats('s').queued).toBe(500);
  connector.last.die('it crashed again');
  expect(new Set(await Promise.all(calls))).toEqual(new Set(['ERR_OUTCOME_UNKNOWN', 'ERR_BACKING_OFF']));
  expect(told.size).toBeGreaterThan(3);
});
