import { Redis } from 'ioredis';
import { Redis as Redis6 } from 'ioredis6';
import { describe, expect, test, vi } from 'vitest';
import { ClusterRateLimiter, type OnStoreLost } from '../../src/concurrent/index.js';
import { systemClock } from '../../src/core/clock.js';
import { TcpFaultProxy } from '../../src/testing/proxy/TcpFaultProxy.js';
import { closeAfter } from '../support/closeAfter.js';
import { fullestWindow, sleep } from '../support/fleet.js';
import { HAVE_REDIS, TestRedis } from '../support/redis.js';
import { Driven, until } from '../support/stamped.js';

// Stores start here, and the machine may be busy.
vi.setConfig({ testTimeout: 60_000 });

const WINDOW_MS = 300;
const WINDOW_US = WINDOW_MS * 1_000;
const MAX = 40;
const CALLERS = 30;

interface Outage {
  readonly all: readonly number[];
  /** Everybody had lost the store. */
  readonly lostUs: number;
  /** The first had it back, the last had it back. */
  readonly backUs: readonly [number, number];
  readonly endUs: number;
  readonly between: (fromUs: number, toUs: number) => number[];
}

/** Two limiters of one id: Redis up, killed for two windows and more, started again empty, up. */
async function outage(onStoreLost: OnStoreLost): Promise<Outage> {
  await using server = await TestRedis.start();
  const clients = [new Redis(server.port, '127.0.0.1'), new Redis6(server.port, '127.0.0.1') as unknown as Redis];
  // The users' clients report what happens to them to the users.
  for (const client of clients) client.on('error', () => undefined);
  const options = { id: 'outage', maxRequests: MAX, windowMs: WINDOW_MS, onStoreLost, maxClockSkewMs: 100 };
  const drivens = clients.map((client) => new Driven(client, options));
  const since = (fromUs: number): number =>
    drivens.reduce((sum, { grants }) => sum + grants.filter((each) => each >= fromUs).length, 0);
  /** Resolves two windows and a half after now, or later, when as much was granted as is looked for. */
  const granted = async (count: number): Promise<void> => {
    const fromUs = systemClock.now() * 1_000 + WINDOW_US;
    await sleep(2.5 * WINDOW_MS);
    await until(() => since(fromUs) >= count);
  };
  try {
    await Promise.all(drivens.map(({ limiter }) => limiter.acquire()));
    await until(() => drivens.every(({ limiter }) => limiter.stats.processes === 2));
    for (const each of drivens) each.drive(CALLERS);
    await sleep(1.5 * WINDOW_MS);

    await server.stop();
    await until(() => drivens.every(({ limiter }) => limiter.stats.store === 'lost'));
    await granted({ 'fail-closed': 0, 'local-share': MAX / 2, 'fail-open': 10 * MAX }[onStoreLost]);
    await server.start();
    await until(() => drivens.every(({ limiter }) => limiter.stats.store === 'up'));
    await granted(MAX + 1);
  } finally {
    await Promise.all(drivens.map(({ limiter }) => limiter.close()));
    for (const client of clients) client.disconnect();
  }
  for (const { events } of drivens) expect(events.map(({ name }) => name)).toEqual(['storeLost', 'storeRestored']);
  const all = drivens.flatMap(({ grants }) => grants).sort((a, b) => a - b);
  const back = drivens.map((each) => each.atUs('storeRestored'));
  return {
    all,
    lostUs: Math.max(...drivens.map((each) => each.atUs('storeLost'))),
    backUs: [Math.min(...back), Math.max(...back)],
    endUs: all.at(-1) ?? 0,
    between: (fromUs, toUs) => all.filter((each) => each >= fromUs && each < toUs),
  };
}

describe.skipIf(!HAVE_REDIS)('Redis stopped and started again, empty, in the middle of a run', () => {
  test('local-share: each grants its share meanwhile, the limit holds within the outage and after it', async () => {
    const { all, between, lostUs, backUs, endUs } = await outage('local-share');
    const during = between(lostUs + WINDOW_US, backUs[0]);
    expect(during.length).toBeGreaterThanOrEqual(MAX / 2);
    expect(fullestWindow(during, WINDOW_US)).toBeLessThanOrEqual(MAX);
    const after = between(backUs[1] + WINDOW_US, endUs);
    expect(after.length).toBeGreaterThanOrEqual(MAX / 2);
    expect(fullestWindow(after, WINDOW_US)).toBeLessThanOrEqual(MAX);
    expect(fullestWindow(all, WINDOW_US)).toBeLessThanOrEqual(2 * MAX);
  });

  test('fail-closed: nothing is granted meanwhile, and no window at all exceeds the limit', async () => {
    const { all, between, lostUs, backUs, endUs } = await outage('fail-closed');
    expect(between(lostUs, backUs[0])).toEqual([]);
    expect(between(backUs[1], endUs).length).toBeGreaterThanOrEqual(MAX);
    expect(fullestWindow(all, WINDOW_US)).toBeLessThanOrEqual(MAX);
  });

  test('fail-open: everything is granted meanwhile, and the limit holds again a window later', async () => {
    const { between, lostUs, backUs, endUs } = await outage('fail-open');
    expect(between(lostUs, backUs[0]).length).toBeGreaterThan(10 * MAX);
    const after = between(backUs[1] + WINDOW_US, endUs);
    expect(after.length).toBeGreaterThanOrEqual(MAX / 2);
    expect(fullestWindow(after, WINDOW_US)).toBeLessThanOrEqual(MAX);
  });

  test('a Redis that hangs is lost after storeTimeoutMs, and found again when it answers', async () => {
    await using server = await TestRedis.start();
    const redis = new Redis(server.port, '127.0.0.1');
    const limiter = new ClusterRateLimiter({ redis, id: 'h', maxRequests: 10, windowMs: 100, storeTimeoutMs: 1_000 });
    const events: string[] = [];
    limiter.on('storeLost', ({ error }) => events.push(String(error)));
    limiter.on('storeRestored', () => events.push('restored'));
    await limiter.acquire();
    process.kill(server.pid, 'SIGSTOP');
    await until(() => limiter.stats.store === 'lost');
    expect(limiter.tryAcquire()).toBe(true);
    process.kill(server.pid, 'SIGCONT');
    await until(() => limiter.stats.store === 'up');
    expect(events).toEqual(['Error: the store did not answer within 1000 ms', 'restored']);
    await limiter.acquire();
    await limiter.close();
    redis.disconnect();
  });

  test('a Redis that was emptied is noticed, also when everybody waits', async () => {
    await using server = await TestRedis.start();
    const redis = new Redis(server.port, '127.0.0.1');
    const limiter = new ClusterRateLimiter({
      redis,
      id: 'e',
      maxRequests: 2,
      windowMs: 300,
      onStoreLost: 'fail-closed',
    });
    await limiter.acquire({ weight: 2 });
    const waiting = limiter.acquire({ weight: 2 });
    await redis.flushall();
    await until(() => limiter.stats.store === 'lost');
    await waiting;
    expect(limiter.stats.store).toBe('up');
    await limiter.close();
    redis.disconnect();
  });

  test('a limiter made while Redis is down works by onStoreLost, and by the fleet once Redis is there', async () => {
    await using server = await TestRedis.start();
    await server.stop();
    const redis = new Redis(server.port, '127.0.0.1', { lazyConnect: true });
    const options = { redis, id: 'd', maxRequests: 10, windowMs: 100 };
    const limiter = new ClusterRateLimiter({ ...options, processes: 5 });
    const alone = new ClusterRateLimiter(options);
    expect(limiter.stats.store).toBe('connecting');
    await limiter.acquire({ weight: 2 });
    expect(limiter.stats.store).toBe('lost');
    await expect(limiter.acquire({ weight: 3 })).rejects.toMatchObject({ code: 'ERR_RATE_LIMITED' });
    // Nobody said how many share the limit: a share of it cannot be told.
    await until(() => alone.stats.store === 'lost');
    expect(alone.tryAcquire()).toBe(false);
    await server.start();
    await until(() => limiter.stats.store === 'up');
    await limiter.acquire({ weight: 2 });
    expect(redis.status).toBe('wait');
    await alone.acquire();
    await alone.close();
    await limiter.close();
    redis.disconnect();
  });
});

test.skipIf(!HAVE_REDIS)(
  'a store that answers later than its permits live counts as lost, instead of keeping callers waiting for ever',
  async () => {
    await using server = await TestRedis.start();
    const plan = { rules: [{ fault: 'latency', delayMs: 110, stream: 'downstream' }] } as const;
    const proxy = closeAfter(await TcpFaultProxy.listen({ upstream: `127.0.0.1:${server.port}`, plan }));
    const redis = new Redis(proxy.port, '127.0.0.1');
    redis.on('error', () => undefined);
    const options = { redis, id: 'slow', maxRequests: 40, windowMs: 1_000, storeTimeoutMs: 1_500, processes: 1 };
    const limiter = closeAfter(new ClusterRateLimiter({ ...options, acquireTimeoutMs: 15_000 }));
    const losses: string[] = [];
    limiter.on('storeLost', ({ error }) => losses.push(String(error)));
    const late = /Error: the store takes \d+ ms for a lease, whose permits live 100 ms/;
    while (!losses.some((each) => late.test(each))) await limiter.acquire();
    await limiter.acquire();
    await limiter.close();
    redis.disconnect();
  },
);

test.skipIf(!HAVE_REDIS)(
  'who comes back first counts the others, also those that Redis has forgotten, and each process once',
  async () => {
    await using server = await TestRedis.start();
    const direct = new Redis(server.port, '127.0.0.1');
    const proxies = await Promise.all(
      [1, 2].map(() => TcpFaultProxy.listen({ upstream: `127.0.0.1:${server.port}` }).then(closeAfter)),
    );
    const clients = proxies.map(({ port }) => new Redis(port, '127.0.0.1'));
    for (const client of clients) client.on('error', () => undefined);
    const options = { id: 'flap', maxRequests: 4, windowMs: 100, storeTimeoutMs: 1_000 };
    const [a, b] = clients.map((redis) => closeAfter(new ClusterRateLimiter({ redis, ...options })));
    const [one, two] = proxies;
    await until(() => a?.stats.processes === 2 && b?.stats.processes === 2);
    await Promise.all([one?.down(), two?.down()]);
    await until(() => a?.stats.store === 'lost' && b?.stats.store === 'lost');
    const seen: unknown[] = [];
    a?.on('storeRestored', () => seen.push(a.stats.processes));
    await one?.up();
    await until(() => seen.length === 1);
    await one?.down();
    await until(() => a?.stats.store === 'lost');
    while ((await direct.keys('*_poolkit_processes')).length > 0) await sleep(20);
    await one?.up();
    await until(() => seen.length === 2);
    expect(seen).toEqual([2, 2]);
    await Promise.all([a?.close(), b?.close()]);
    for (const client of [direct, ...clients]) client.disconnect();
  },
);
