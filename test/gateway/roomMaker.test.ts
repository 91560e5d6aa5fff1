import { expect, test } from 'vitest';
import { silentLogger } from '../../src/core/logger.js';
import { Gateway } from '../../src/gateway/Gateway.js';
import { isFullFor } from '../../src/gateway/session/callers/crowding.js';
import { RoomMaker } from '../../src/gateway/session/callers/RoomMaker.js';
import { UnifiedPool } from '../../src/pool/UnifiedPool.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { FakeServer } from '../../src/testing/fake/FakeServer.js';
import { closeAfter } from '../support/closeAfter.js';
import { exchange, RawClient } from '../support/httpClient.js';

test('a thousand newcomers who wait for one server cost one look at it, and each has room made', async () => {
  const clock = new FakeClock();
  const pool = closeAfter(new UnifiedPool({ ledger: false }));
  pool.addServer({ name: 's', transport: 'http', url: 'http://127.0.0.1:9/mcp' });
  let looks = 0;
  let connections = 16;
  const stats = pool.stats('s');
  pool.stats = ((): unknown => {
    looks++;
    return { ...stats, connections };
  }) as never;
  let abandoned = 3;
  const asked: number[] = [];
  const rooms = new RoomMaker<number>({
    clock,
    isFull: (server) => isFullFor(pool, server, clock),
    makeRoom: (newcomer) => {
      asked.push(newcomer);
      return abandoned-- > 0;
    },
  });
  const waits = Array.from({ length: 1_000 }, (_, newcomer) => rooms.wait('s', newcomer));
  expect(clock.armedTimers).toBe(1);
  await clock.advance(10_000);
  expect(looks).toBeLessThanOrEqual(40);
  expect(asked.slice(0, 5)).toEqual([0, 1, 2, 3, 0]);
  // With room there is nothing to make.
  connections = 15;
  asked.length = 0;
  await clock.advance(1_000);
  expect(asked).toEqual([]);
  for (const each of waits) each[Symbol.dispose]();
  expect(clock.armedTimers).toBe(0);
  rooms.wait('gone', 1)[Symbol.dispose]();
  expect(clock.armedTimers).toBe(0);
});

test.each([
  ['maxConnections', 'b', 2, {}],
  ['maxConnectionsTotal', 'b', 2, {}],
  // Of another server's connections, where the pool has no more.
  ['maxConnectionsTotal', 'a', 2, {}],
  // One user has three of four connections.
  ['maxConnectionsTotal', 'a', 4, { authenticate: async () => ({ principal: 'anna' }) }],
] as const)(
  'clients that left make room where newcomers wait for the pool’s own %s: %s of %i',
  async (bound, first, max, options) => {
    const upstream = closeAfter(new FakeServer({ era: 'legacy', tools: { echo: {} } }));
    const { url } = await upstream.listen();
    const pool = closeAfter(new UnifiedPool({ ledger: false, [bound]: max }));
    for (const name of ['a', 'b']) pool.addServer({ name, transport: 'http', url, sharing: 'bound' });
    const gateway = closeAfter(new Gateway({ pool, port: 0, ...options }));
    const front = (await gateway.listen()).url;
    for (const server of [...Array<string>(max === 4 ? 3 : 2).fill(first), 'b']) {
      const client = new RawClient(`${front}/servers/${server}/mcp`);
      await client.initialize();
      const reader = await client.listen();
      expect((await client.call('tools/call', { name: 'echo', arguments: {} })).error).toBeUndefined();
      await reader.stop();
    }
  },
);

test('at /mcp a bound server that others wait for in vain is passed over at once; what it has follows', async () => {
  const upstream = closeAfter(new FakeServer({ era: 'legacy', tools: { echo: {} } }));
  const { url } = await upstream.listen();
  const pool = closeAfter(new UnifiedPool({ ledger: false, maxConnections: 1 }));
  pool.addServer({ name: 'full', transport: 'http', url, sharing: 'bound' });
  pool.addServer({ name: 'well', transport: 'http', url });
  const clock = new FakeClock();
  const gateway = closeAfter(new Gateway({ pool, port: 0, clock }));
  const front = (await gateway.listen()).url;
  // It is answered, and kept: it makes no room.
  const kept = new RawClient(`${front}/servers/full/mcp`);
  await kept.initialize();
  const end = (client: RawClient) => exchange(client.url, { method: 'DELETE', headers: client.headers });
  const first = new RawClient(`${front}/mcp`);
  const waiting = first.initialize();
  await expect.poll(() => pool.stats('full').queued).toBe(1);
  await clock.advance(250);
  const second = new RawClient(`${front}/mcp`);
  const soon = async <T>(answer: Promise<T>): Promise<T> => {
    let settled = false;
    void answer.finally(() => {
      settled = true;
    });
    await expect.poll(() => clock.advance(1).then(() => settled)).toBe(true);
    return answer;
  };
  const toolsOf = async (client: RawClient): Promise<unknown> => {
    const { result } = await soon(client.call('tools/list'));
    return (result?.['tools'] as { name: string }[] | undefined)?.map(({ name }) => name);
  };
  await soon(second.initialize());
  expect(await toolsOf(second)).toEqual(['well__echo']);
  // Of the 2 s that it waits for others.
  expect(clock.now()).toBeLessThan(1_500);
  const stream = await second.listen();
  await end(kept);
  await waiting;
  await end(first);
  expect(await stream.has(1)).toEqual([{ jsonrpc: '2.0', method: 'notifications/tools/list_changed' }]);
  expect(await toolsOf(second)).toEqual(['full__echo', 'well__echo']);
  await stream.stop();
});

test('a server whose connections others have is told of as full, not as silent', async () => {
  const upstream = closeAfter(new FakeServer({ era: 'legacy', tools: { echo: {} } }));
  const { url } = await upstream.listen();
  const pool = closeAfter(new UnifiedPool({ ledger: false, maxConnections: 1 }));
  pool.addServer({ name: 'full', transport: 'http', url, sharing: 'bound' });
  const told: unknown[] = [];
  const logger = { ...silentLogger, warn: (about: unknown) => void told.push((about as { error?: unknown }).error) };
  // What is known of a server stands for 200 ms: it is of after the first session's connection, whenever it was looked at.
  const gateway = closeAfter(new Gateway({ pool, port: 0, listTimeoutMs: 250, logger }));
  const front = (await gateway.listen()).url;
  await new RawClient(`${front}/servers/full/mcp`).initialize();
  const second = new RawClient(`${front}/mcp`);
  await second.initialize();
  expect((await second.call('tools/list')).result).toMatchObject({ tools: [] });
  expect(told).toContainEqual(
    expect.stringMatching(/^a connection of server "full": nothing free within 250 ms \(1 of 1 slots in use/),
  );
});
