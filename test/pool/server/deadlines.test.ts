import { expect, test } from 'vitest';
import { RateLimiter } from '../../../src/concurrent/limiter/RateLimiter.js';
import { closeAfter } from '../../support/closeAfter.js';
import { MEMORY, memoryPool, outcome } from '../../support/memoryPool.js';

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A server of one slot, which a call holds; `older` stands in the queue before whatever comes next. */
async function busy(acquireTimeoutMs: number) {
  const world = memoryPool({ acquireTimeoutMs, maxConcurrent: 1, stableAfterMs: 0, breakerThreshold: 1_000 });
  const { pool, call, connector, clock } = world;
  pool.addServer(MEMORY);
  const held = outcome(call('hang'));
  await settled();
  /** The connection dies under its call, and the next one is up: the oldest waiter has its slot. */
  const die = async (): Promise<void> => {
    connector.last.die('it crashed');
    await clock.advance(0);
    await settled();
  };
  return { ...world, held, die };
}

test.each([
  ['the server’s acquireTimeoutMs', 1_000, {}],
  ['an acquireTimeoutMs of the call’s own', 60_000, { acquireTimeoutMs: 1_000 }],
  ['a deadline', 60_000, { deadlineMs: 1_000 }],
] as const)(
  '%s is one time: a connection that dies under the wait does not start it anew',
  async (_, ofServer, options) => {
    const { call, clock, connector, held, die } = await busy(ofServer);
    const older = outcome(call('hang'));
    await settled();
    const waiting = outcome(call('late', options));
    let settledAs: unknown;
    void waiting.then((value) => {
      settledAs = value;
    });
    await clock.advance(600);
    await die();
    expect(await held).toBe('ERR_OUTCOME_UNKNOWN');
    expect(connector.made).toHaveLength(2);
    expect(connector.last.calls).toEqual(['hang']);
    await clock.advance(390);
    expect(settledAs).toBeUndefined();
    await clock.advance(200);
    expect(settledAs).toBe('ERR_ACQUIRE_TIMEOUT');
    await die();
    expect(await older).toBe('ERR_OUTCOME_UNKNOWN');
  },
);

test('a limiter that never answers holds no call past its deadline, its signal or the close', async () => {
  const hung = closeAfter(new RateLimiter({ maxRequests: 1, windowMs: 60_000 }));
  hung.tryAcquire = () => false;
  hung.acquire = () => new Promise(() => undefined);
  const { pool, clock, call } = memoryPool({ limiter: { for: () => hung } });
  pool.addServer(MEMORY);
  const late = outcome(call('echo', { deadlineMs: 1_000 }));
  await clock.advance(1_000);
  expect(await late).toBe('ERR_ACQUIRE_TIMEOUT');
  const controller = new AbortController();
  const given = call('echo', { signal: controller.signal });
  const left = given.catch((error: unknown) => error);
  await clock.advance(1);
  controller.abort(new Error('enough'));
  expect(await left).toMatchObject({ message: 'enough' });
  const open = outcome(call('echo'));
  await clock.advance(1);
  await pool.close();
  expect(await open).toBe('ERR_CLOSED');
});
