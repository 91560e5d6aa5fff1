import { Redis } from 'ioredis';
import { describe, expect, test } from 'vitest';
import { ClusterRateLimiter } from '../../../src/concurrent/index.js';
import { TcpFaultProxy } from '../../../src/testing/proxy/TcpFaultProxy.js';
import { closeAfter } from '../../support/closeAfter.js';
import { HAVE_REDIS, TestRedis } from '../../support/redis.js';
import { until } from '../../support/stamped.js';

const STORE_TIMEOUT_MS = 300;

/** A limiter of a real Redis, behind a proxy. */
async function limiterBehind(redis: TestRedis) {
  const proxy = closeAfter(await TcpFaultProxy.listen({ upstream: `127.0.0.1:${redis.port}`, name: 'redis' }));
  const client = new Redis(proxy.port, '127.0.0.1', { lazyConnect: true });
  client.on('error', () => undefined);
  closeAfter({ close: async () => client.disconnect() });
  const limiter = closeAfter(
    new ClusterRateLimiter({
      id: 'behind',
      redis: client,
      maxRequests: 1_000,
      windowMs: 400,
      storeTimeoutMs: STORE_TIMEOUT_MS,
      onStoreLost: 'local-share',
    }),
  );
  const events: string[] = [];
  for (const name of ['storeLost', 'storeRestored'] as const) limiter.on(name, () => void events.push(name));
  await limiter.acquire();
  await until(() => limiter.stats.store === 'up');
  return { proxy, limiter, events };
}

describe.skipIf(!HAVE_REDIS)('Redis behind a fault proxy, as the cluster limiter sees it', () => {
  test('slow, it is waited for; reset, silent or gone, it is lost and limits stay; and each time it comes back', async () => {
    await using redis = await TestRedis.start();
    const { proxy, limiter, events } = await limiterBehind(redis);
    const lostAndBack = async (lose: () => unknown, heal: () => unknown): Promise<void> => {
      events.splice(0);
      await lose();
      await until(() => limiter.stats.store === 'lost');
      // A share of the limit still serves callers.
      await limiter.acquire();
      await heal();
      await until(() => limiter.stats.store === 'up');
      expect(events).toEqual(['storeLost', 'storeRestored']);
    };

    const slow = proxy.plan.add({ server: 'redis', fault: 'latency', delayMs: { uniform: [5, 20] } });
    await proxy.plan.injected('latency', { times: 3 });
    await limiter.acquire();
    expect([limiter.stats.store, events]).toEqual(['up', []]);
    slow.disable();

    const silent = proxy.plan.add({ fault: 'timeout', times: 4 });
    await lostAndBack(
      () => proxy.plan.injected('timeout'),
      () => silent.disable(),
    );
    const cut = proxy.plan.add({ fault: 'resetPeer' });
    await lostAndBack(
      () => proxy.plan.injected('resetPeer'),
      () => cut.disable(),
    );
    await lostAndBack(
      () => proxy.down(),
      () => proxy.up(),
    );
  });
});
