import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { Cluster, Redis } from 'ioredis';
import { expect, test, vi } from 'vitest';
import { ClusterRateLimiter } from '../../../src/concurrent/cluster/ClusterRateLimiter.js';
import { closed } from '../../../src/concurrent/cluster/redisConnection.js';
import { RedisEventStore } from '../../../src/gateway/replicas/RedisEventStore.js';
import { RedisReplicas } from '../../../src/gateway/replicas/RedisReplicas.js';
import { duplicateOf } from '../../../src/gateway/replicas/redisCommands.js';
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
  // A machine that is busy answers later than in 300 ms: the subscription would be left and made for ever.
  const options = { storeTimeoutMs: 1_000, aliveMs: 2_000 };
  const [here, there] = [new RedisReplicas({ ...options, redis }), new RedisReplicas({ ...options, redis: named })];
  /** The connection that `there` hears by. */
  const subscription = async (): Promise<string | undefined> =>
    /^id=(\d+) .*subscriber\S*:there/m.exec(`${await plain.client('LIST')}`)?.[1];
  const events = new RedisEventStore({ redis, storeTimeoutMs: 1_000 });
  const limit = new ClusterRateLimiter({ redis, id: 'x', maxRequests: 10, windowMs: 500, storeTimeoutMs: 1_000 });
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
  await limit.acquire();
  const before = await subscription();
  expect(before).toBeDefined();
  process.kill(node.pid, 'SIGSTOP');
  const together = [notes(), settled(here.isAlive('other')), settled(events.storeEvent('s', {}))];
  expect(await Promise.all(together)).toEqual(Array(3).fill('Command timed out'));
  await expect.poll(notes).toBe('the store is not connected');
  await expect.poll(() => limit.stats.store).toBe('lost');
  process.kill(node.pid, 'SIGCONT');
  await expect.poll(notes, { timeout: 20_000 }).toBe('answered');
  await hears();
  await expect.poll(() => limit.stats.store, { timeout: 20_000 }).toBe('up');
  // What was said before a new subscription may be lost; the old one has only been late.
  if ((await subscription()) !== before) await expect.poll(() => gaps, { timeout: 20_000 }).toBeGreaterThan(0);
  process.kill(node.pid, 'SIGSTOP');
  await Promise.all([here, there, events, limit].map((each) => each.close()));
  process.kill(node.pid, 'SIGCONT');
  redis.disconnect();
  named.disconnect();
  plain.disconnect();
});

/** Nodes of a cluster that share its slots. */
async function fakeNodes(count: number) {
  const nodes = Array.from({ length: count }, () => {
    const node = { hangs: false, connections: 0, port: 0, lingerMs: 0, server: createServer({ allowHalfOpen: true }) };
    node.server.on('connection', (socket) => {
      node.connections++;
      socket.on('error', () => undefined);
      socket.on('end', () => setTimeout(() => socket.destroy(), node.lingerMs));
      socket.on('data', (data) => {
        for (const command of data.toString().split(/(?=\*\d+\r\n)/)) {
          const isLook = /slots\r\n/i.test(command);
          if (!node.hangs) socket.write(isLook ? slots() : '+OK\r\n');
        }
      });
    });
    return node;
  });
  const slots = (): string => {
    const size = 16_384 / count;
    const ranges = nodes.map(
      ({ port }, i) => `*3\r\n:${i * size}\r\n:${(i + 1) * size - 1}\r\n*2\r\n$9\r\n127.0.0.1\r\n:${port}\r\n`,
    );
    return `*${count}\r\n${ranges.join('')}`;
  };
  for (const node of nodes) {
    await once(node.server.listen(0, '127.0.0.1'), 'listening');
    node.port = (node.server.address() as AddressInfo).port;
  }
  return nodes;
}

const armed = (): number => process.getActiveResourcesInfo().filter((each) => each === 'Timeout').length;

test('of a cluster that is closed while it looks at its slots no timer is left', async () => {
  const [node] = await fakeNodes(1);
  if (node === undefined) throw new Error('no node');
  const before = armed();
  const settings = { lazyConnect: true, slotsRefreshInterval: 20, slotsRefreshTimeout: 100 };
  const connection = duplicateOf(new Cluster([{ host: '127.0.0.1', port: node.port }], settings), 300, false);
  connection.on('error', () => undefined);
  await expect.poll(() => connection.status).toBe('ready');
  node.hangs = true;
  const { connections } = node;
  await expect.poll(() => node.connections).toBeGreaterThan(connections);
  await closed(connection);
  await expect.poll(armed).toBeLessThanOrEqual(before);
  node.server.close();
});

test('of a cluster with a node that ends late no connection is left, and it is closed whatever it told of its end', async () => {
  const nodes = await fakeNodes(2);
  const [slow] = nodes;
  if (slow === undefined) throw new Error('no node');
  slow.lingerMs = 400;
  const redis = new Cluster(
    nodes.map(({ port }) => ({ host: '127.0.0.1', port })),
    { lazyConnect: true },
  );
  const connection = duplicateOf(redis, 2_000, false);
  connection.on('error', () => undefined);
  const used = (): Promise<unknown> => Promise.all(['foo', 'bar', 'a', 'b'].map((key) => connection.call('GET', key)));
  await expect.poll(() => connection.status).toBe('ready');
  await used();
  // The other node ends at once, so that it is connected anew before the slow one has ended.
  connection.disconnect(true);
  await expect.poll(() => connection.status).not.toBe('ready');
  await expect.poll(() => connection.status).toBe('ready');
  await used();
  await new Promise((resolve) => setTimeout(resolve, 2 * 250));
  await closed(connection);
  // Once more, after all that ioredis says of its end.
  connection.disconnect();
  await closed(connection);
  const open = async (): Promise<number> => {
    const counts = nodes.map(
      ({ server }) => new Promise<number>((resolve) => server.getConnections((_, n) => resolve(n))),
    );
    return (await Promise.all(counts)).reduce((sum, n) => sum + n, 0);
  };
  await expect.poll(open).toBe(0);
  for (const { server } of nodes) server.close();
});
