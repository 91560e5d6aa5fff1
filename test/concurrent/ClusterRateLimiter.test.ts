import { once } from 'node:events';
import { Cluster, Redis } from 'ioredis';
import { Redis as Redis6 } from 'ioredis6';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ClusterRateLimiter, type ClusterRateLimiterOptions } from '../../src/concurrent/index.js';
import { ClosedError, OptionError } from '../../src/errors.js';
import { HAVE_REDIS, TestRedis } from '../support/redis.js';
import { until } from '../support/stamped.js';

let server: TestRedis;

describe.skipIf(!HAVE_REDIS).each([
  ['ioredis 5', Redis],
  ['ioredis 6', Redis6 as unknown as typeof Redis],
])('ClusterRateLimiter on %s', (_, Client) => {
  let redis: Redis;
  const limiters: ClusterRateLimiter[] = [];
  const make = (options: Partial<ClusterRateLimiterOptions> = {}): ClusterRateLimiter => {
    const limiter = new ClusterRateLimiter({ redis, id: 'test', maxRequests: 10, windowMs: 200, ...options });
    limiters.push(limiter);
    return limiter;
  };
  const connections = async (): Promise<number> => `${await redis.client('LIST')}`.trim().split('\n').length;

  beforeEach(async () => {
    server = await TestRedis.start();
    redis = new Client(server.port, '127.0.0.1');
    await redis.ping();
  });

  afterEach(async () => {
    await Promise.all(limiters.splice(0).map((limiter) => limiter.close()));
    const ended = once(redis, 'end');
    redis.disconnect();
    await ended;
    await server[Symbol.asyncDispose]();
  });

  test('the first permit comes from the store, the next from the block that came with it', async () => {
    const limiter = make({ maxRequests: 100, windowMs: 1_000 });
    expect(limiter.tryAcquire()).toBe(false);
    await Promise.all(Array.from({ length: 30 }, () => limiter.acquire()));
    expect(limiter.stats).toMatchObject({ store: 'up', processes: 1 });
    expect(limiter.stats.leases).toBeLessThanOrEqual(6);
    expect(limiter.usage).toMatchObject({ current: 30, max: 100 });
  });

  test('tryAcquire alone gets what it asks for once a block has come', async () => {
    const limiter = make({ maxRequests: 100, windowMs: 1_000 });
    await until(() => limiter.tryAcquire());
    await until(() => limiter.tryAcquire());
    expect(limiter.usage.current).toBe(2);
  });

  test('permits that nobody uses go back to the fleet after a sub-window', async () => {
    const [one, other] = [make({ windowMs: 3_000 }), make({ windowMs: 3_000 })];
    await until(() => one.stats.store === 'up');
    const leave = new AbortController();
    const left = one.acquire({ weight: 9, signal: leave.signal });
    setImmediate(() => leave.abort(new Error('left')));
    await expect(left).rejects.toThrow('left');
    await until(() => one.stats.permits === 9);
    // All ten fit only when the nine are back; they were never used, so nobody has to wait for a window.
    await other.acquire({ weight: 10, acquireTimeoutMs: 2_500 });
    expect(one.stats).toMatchObject({ permits: 0, leases: 0 });
  });

  test('two limits on one Redis do not touch', async () => {
    const [a, b, prefixed] = [make({ id: 'a' }), make({ id: 'b' }), make({ id: 'a', keyPrefix: 'other:' })];
    await Promise.all([a, b, prefixed].map((limiter) => limiter.acquire({ weight: 10, acquireTimeoutMs: 1_000 })));
    for (const limiter of [a, b, prefixed]) expect(limiter.usage.current).toBe(10);
    const keys = await redis.keys('*');
    for (const key of keys) expect(key).toMatch(/^b_\{(mcp-poolkit|other):[ab]\}_/);
  });

  test('the prefix of the client that was handed in is kept', async () => {
    const prefixed = new Client(server.port, '127.0.0.1', { keyPrefix: 'app:' });
    await make({ redis: prefixed }).acquire();
    for (const key of await redis.keys('*')) expect(key).toMatch(/^b_\{app:mcp-poolkit:test\}_/);
    prefixed.disconnect();
  });

  test('keys that have expired are made anew, and a process that was stopped for long is known again: nothing is lost by it', async () => {
    const limiter = make({ windowMs: 100 });
    const lost: string[] = [];
    limiter.on('storeLost', ({ error }) => lost.push(String(error)));
    for (const pattern of ['*_client_*', '*_settings', '*test}_[^p]*']) {
      await limiter.acquire({ weight: 10 });
      await until(() => limiter.stats.leases === 0);
      expect(await redis.del(await redis.keys(pattern))).toBeGreaterThan(0);
    }
    await limiter.acquire({ weight: 10 });
    expect(lost).toEqual([]);
  });

  test('a store that is emptied between two processes grants nothing anew within a window', async () => {
    const options = { windowMs: 500, onStoreLost: 'fail-closed' } as const;
    const [one, other] = [make(options), make(options)];
    await until(() => one.stats.processes === 2 && other.stats.processes === 2);
    await one.acquire({ weight: 10 });
    const usedMs = performance.now();
    await redis.flushall();
    await other.acquire({ weight: 10 });
    expect(performance.now() - usedMs).toBeGreaterThan(499);
  });

  test('every key expires', async () => {
    const limiter = make();
    await until(() => limiter.stats.store === 'up');
    const ttls = async (): Promise<number[]> => Promise.all((await redis.keys('*')).map((key) => redis.pttl(key)));
    expect((await ttls()).every((ttl) => ttl > 0)).toBe(true);
    await limiter.acquire({ weight: 10 });
    await limiter.acquire();
    const used = await ttls();
    expect(used.length).toBeGreaterThan(5);
    expect(used.every((ttl) => ttl > 0 && ttl < 100_000)).toBe(true);
  });

  test('waiters are served in order, and an abort frees the place', async () => {
    const limiter = make({ maxRequests: 2, windowMs: 100 });
    const order: number[] = [];
    const leave = new AbortController();
    const calls = Array.from({ length: 7 }, (__, i) =>
      limiter.acquire(i === 3 ? { signal: leave.signal } : {}).then(() => order.push(i)),
    );
    leave.abort(new Error('left'));
    await expect(calls[3]).rejects.toThrow('left');
    await Promise.all(calls.filter((___, i) => i !== 3));
    expect(order).toEqual([0, 1, 2, 4, 5, 6]);
  });

  test('a wait is refused when its time is over', async () => {
    const limiter = make({ maxRequests: 1, windowMs: 60_000 });
    await limiter.acquire();
    await expect(limiter.acquire({ acquireTimeoutMs: 30 })).rejects.toMatchObject({
      code: 'ERR_RATE_LIMITED',
      source: 'local',
    });
    expect(limiter.blockedCount).toBe(0);
  });

  test('a changed limit takes the place of the old one', async () => {
    await make({ maxRequests: 1, windowMs: 60_000 }).acquire();
    await make({ maxRequests: 3, windowMs: 60_000 }).acquire({ weight: 2, acquireTimeoutMs: 1_000 });
  });

  test('close refuses who waits, leaves the client that was handed in alone, and no connection of ours', async () => {
    const before = await connections();
    const listeners = redis.listenerCount('error') + redis.listenerCount('ready');
    const limiter = make({ maxRequests: 1, windowMs: 60_000 });
    await limiter.acquire();
    const waiting = limiter.acquire({ acquireTimeoutMs: Number.POSITIVE_INFINITY });
    expect(await connections()).toBe(before + 2);
    const closing = limiter.close();
    expect(limiter.close()).toBe(closing);
    await expect(waiting).rejects.toBeInstanceOf(ClosedError);
    await closing;
    expect(redis.status).toBe('ready');
    expect(await connections()).toBe(before);
    expect(redis.listenerCount('error') + redis.listenerCount('ready')).toBe(listeners);
    expect(() => limiter.tryAcquire()).toThrow(ClosedError);
  });

  test('close works at any moment of connecting and under load', async () => {
    const before = await connections();
    for (const ticks of [0, 1, 2, 3, 5, 8, 13, 21, 34, 55]) {
      const limiter = make({ maxRequests: 5, windowMs: 50 });
      const calls = Array.from({ length: 20 }, () => limiter.acquire().catch(() => undefined));
      for (let i = 0; i < ticks; i++) await new Promise((resolve) => setImmediate(resolve));
      await limiter.close();
      await Promise.all(calls);
    }
    expect(await connections()).toBe(before);
  });

  test('a message that gives another client precedence leaves no timer behind the close, however many are known', async () => {
    const limiter = make();
    await limiter.acquire();
    const other = new Redis(server.port, '127.0.0.1');
    const channels = (await other.pubsub('CHANNELS', 'b_*')) as string[];
    expect(channels.length).toBeGreaterThan(0);
    for (const channel of channels) await other.publish(channel, 'capacity-priority:1:another:7');
    await limiter.acquire();
    other.disconnect();
    await limiter.close();
  });

  test('close ends also while the store hangs', async () => {
    const limiter = make();
    await limiter.acquire();
    process.kill(server.pid, 'SIGSTOP');
    const waiting = limiter.acquire({ weight: 10 }).catch((error: unknown) => error);
    await limiter.close();
    process.kill(server.pid, 'SIGCONT');
    expect(await waiting).toBeInstanceOf(ClosedError);
  });

  test('scheduled work in flight is awaited by close', async () => {
    const limiter = make();
    let finish: (value: string) => void = () => undefined;
    let started = false;
    const result = limiter.schedule(() => {
      started = true;
      return new Promise<string>((resolve) => {
        finish = resolve;
      });
    });
    await until(() => started);
    const closing = limiter.close();
    finish('done');
    expect(await result).toBe('done');
    await closing;
  });
});

test.skipIf(!HAVE_REDIS)('a Redis Cluster serves as well: all keys of a limit are in one slot', async () => {
  await using node = await TestRedis.start('--cluster-enabled', 'yes', '--cluster-announce-ip', '127.0.0.1');
  const plain = new Redis(node.port, '127.0.0.1');
  await plain.cluster('ADDSLOTSRANGE', 0, 16_383);
  while (!(await plain.cluster('INFO')).includes('cluster_state:ok'))
    await new Promise((resolve) => setTimeout(resolve, 10));
  const redis = new Cluster([{ host: '127.0.0.1', port: node.port }]);
  const limiter = new ClusterRateLimiter({ redis, id: 'test', maxRequests: 10, windowMs: 200 });
  const waiting = Array.from({ length: 25 }, () => limiter.acquire());
  await Promise.all(waiting);
  expect(limiter.stats).toMatchObject({ store: 'up', processes: 1 });
  await limiter.close();
  expect(redis.status).toBe('ready');
  redis.disconnect();
  plain.disconnect();
});

test('options are checked', () => {
  const redis = { status: 'ready', duplicate: () => undefined };
  const good = { redis, id: 'x', maxRequests: 1, windowMs: 1_000 };
  for (const bad of [
    { redis: {} as typeof redis },
    { id: '' },
    { id: 'a{b}' },
    { maxRequests: 0 },
    { windowMs: 0 },
    { subWindows: 0 },
    { maxClockSkewMs: -1 },
    { storeTimeoutMs: 0 },
    { onStoreLost: 'shrug' as 'fail-open' },
    { processes: 0 },
    { maxQueue: -1 },
    { acquireTimeoutMs: Number.NaN },
    { name: '' },
  ]) {
    expect(() => new ClusterRateLimiter({ ...good, ...bad }), JSON.stringify(bad)).toThrow(OptionError);
  }
});
