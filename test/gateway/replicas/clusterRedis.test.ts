import { Cluster, Redis } from 'ioredis';
import { expect, test, vi } from 'vitest';
import { RedisEventStore } from '../../../src/gateway/replicas/RedisEventStore.js';
import { RedisReplicas } from '../../../src/gateway/replicas/RedisReplicas.js';
import { HAVE_REDIS, TestRedis } from '../../support/redis.js';

// A store starts here, and the machine may be busy.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const settled = (asked: Promise<unknown>): Promise<string> =>
  asked.then(
    () => 'answered',
    (error: Error) => error.message,
  );

test.skipIf(!HAVE_REDIS)('a cluster whose node hangs is waited for once, closed in time, and heard again', async () => {
  await using node = await TestRedis.start('--cluster-enabled', 'yes', '--cluster-announce-ip', '127.0.0.1');
  const plain = new Redis(node.port, '127.0.0.1');
  await plain.cluster('ADDSLOTSRANGE', 0, 16_383);
  await expect.poll(() => plain.cluster('INFO'), { timeout: 20_000 }).toContain('cluster_state:ok');
  const redis = new Cluster([{ host: '127.0.0.1', port: node.port }]);
  redis.on('error', () => undefined);
  const named = new Cluster([{ host: '127.0.0.1', port: node.port }], { redisOptions: { connectionName: 'there' } });
  named.on('error', () => undefined);
  const options = { storeTimeoutMs: 300, aliveMs: 600 };
  const [here, there] = [new RedisReplicas({ ...options, redis }), new RedisReplicas({ ...options, redis: named })];
  /** The connection that `there` hears by. */
  const subscription = async (): Promise<string | undefined> =>
    /^id=(\d+) .*subscriber\S*:there/m.exec(`${await plain.client('LIST')}`)?.[1];
  const events = new RedisEventStore({ redis, storeTimeoutMs: 300 });
  const heard: string[] = [];
  let gaps = 0;
  there.listen(
    (message) => heard.push(message),
    () => gaps++,
  );
  const notes = (): Promise<string> => settled(here.notes('k'));
  // A subscription of a cluster is there some time later than the cluster.
  const hears = async (): Promise<void> => {
    await expect
      .poll(
        () => {
          here.publish('word');
          return heard.length;
        },
        { timeout: 20_000 },
      )
      .toBeGreaterThan(0);
    expect(new Set(heard)).toEqual(new Set(['word']));
    heard.length = 0;
  };
  await hears();
  expect(await notes()).toBe('answered');
  const before = await subscription();
  expect(before).toBeDefined();
  process.kill(node.pid, 'SIGSTOP');
  const together = [notes(), settled(here.isAlive('other')), settled(events.storeEvent('s', {}))];
  expect(await Promise.all(together)).toEqual(Array(3).fill('Command timed out'));
  await expect.poll(notes).toBe('the store is not connected');
  process.kill(node.pid, 'SIGCONT');
  await expect.poll(notes, { timeout: 20_000 }).toBe('answered');
  await hears();
  // What was said before a new subscription may be lost; the old one has only been late.
  if ((await subscription()) !== before) await expect.poll(() => gaps, { timeout: 20_000 }).toBeGreaterThan(0);
  process.kill(node.pid, 'SIGSTOP');
  await Promise.all([here, there, events].map((each) => each.close()));
  process.kill(node.pid, 'SIGCONT');
  redis.disconnect();
  named.disconnect();
  plain.disconnect();
});
