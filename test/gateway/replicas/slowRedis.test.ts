import { Redis } from 'ioredis';
import { expect, test, vi } from 'vitest';
import { RedisReplicas } from '../../../src/gateway/replicas/RedisReplicas.js';
import { TcpFaultProxy } from '../../../src/testing/proxy/TcpFaultProxy.js';
import { closeAfter } from '../../support/closeAfter.js';
import { HAVE_REDIS, TestRedis } from '../../support/redis.js';

// A store starts here, and the machine may be busy.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

test.skipIf(!HAVE_REDIS)('a store that is slow keeps its connections; one that is silent loses them', async () => {
  await using server = await TestRedis.start();
  const admin = new Redis({ port: server.port });
  const plan = { rules: [{ fault: 'bandwidth', bytesPerSec: 100_000 }] } as const;
  await using proxy = await TcpFaultProxy.listen({ upstream: `tcp://127.0.0.1:${server.port}`, plan });
  const redis = new Redis({ port: proxy.port, lazyConnect: true });
  const link = closeAfter(new RedisReplicas({ redis, storeTimeoutMs: 400 }));
  const asked = (session: string): Promise<string> =>
    link.notes(session).then(
      (notes) => `${notes['uri'] ?? ''}`.slice(0, 3),
      ({ message }: Error) => message,
    );
  /** The connections of the link, as the store names them. */
  const connections = async (): Promise<string[]> =>
    [...`${await admin.client('LIST')}`.matchAll(/^id=(\d+) .* cmd=(\S+)/gm)]
      .filter(([, , command]) => command !== 'client|list')
      .map(([, id = '']) => id)
      .sort();

  // Small texts, many of them: for large ones the parser of ioredis keeps a buffer for a while, and a timer.
  const large = Object.fromEntries(Array.from({ length: 4_000 }, (_, i) => [`uri ${i}`, 'x'.repeat(20)]));
  await admin.hset('mcp-poolkit:session:large', large);
  await admin.hset('mcp-poolkit:session:small', 'uri', 'y'.repeat(10));
  await expect.poll(() => asked('small')).toBe('yyy');
  await expect.poll(connections).toHaveLength(2);
  const before = await connections();
  expect(await asked('large')).toBe('Command timed out');
  await expect.poll(() => asked('small')).toBe('yyy');
  expect(await connections()).toEqual(before);

  process.kill(server.pid, 'SIGSTOP');
  try {
    expect(await asked('small')).toBe('Command timed out');
    await expect.poll(() => asked('small')).not.toBe('Command timed out');
  } finally {
    process.kill(server.pid, 'SIGCONT');
  }
  await expect.poll(() => asked('small')).toBe('yyy');
  expect(await connections()).not.toEqual(before);
  redis.disconnect();
  admin.disconnect();
});
