import { randomBytes } from 'node:crypto';
import { afterEach, expect, test, vi } from 'vitest';
import { Gateway } from '../../src/gateway/Gateway.js';
import type { GatewayOptions } from '../../src/gateway/GatewayOptions.js';
import type { ReplicaLink } from '../../src/gateway/replicas/ReplicaLink.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { NoOpCache } from '../../src/toolstore/NoOpCache.js';
import { closeAfter } from '../support/closeAfter.js';
import { FakePool } from '../support/FakePool.js';
import { RawClient } from '../support/httpClient.js';

/** What is lent to a gateway, and never answers. */

const never = (): Promise<never> => new Promise(() => undefined);
const KEY = randomBytes(32);

afterEach(() => void vi.restoreAllMocks());

async function gatewayWith(options: Partial<GatewayOptions>) {
  const clock = new FakeClock();
  const pool = new FakePool({
    one: {
      lists: { tools: [{ name: 't', inputSchema: { type: 'object' } }] },
      methods: { 'tools/call': () => ({ content: [] }) },
    },
  });
  const gateway = closeAfter(new Gateway({ pool, port: 0, clock, sessionKeys: [KEY], ...options }));
  const { url } = await gateway.listen();
  return { gateway, clock, pool, url };
}

test('a cache that hangs costs its lists, and neither a close nor what comes after it', async () => {
  const cache = closeAfter(new NoOpCache());
  const hangs = [vi.spyOn(cache, 'getOrLoadTools'), vi.spyOn(cache, 'invalidate')];
  for (const each of hangs) each.mockImplementation(never);
  const { gateway, clock, pool, url } = await gatewayWith({ cache });
  const client = new RawClient(`${url}/mcp`);
  const list = async (): Promise<unknown> => {
    const listed = client.call('tools/list');
    await expect.poll(() => clock.armedTimers).toBeGreaterThan(3);
    await clock.advance(10_000);
    return (await listed).result;
  };
  await client.initialize();
  expect(await list()).toEqual({ tools: [] });
  pool.emit('notification', { server: 'one', notice: { method: 'notifications/tools/list_changed' } });
  await expect.poll(() => hangs[1]?.mock.calls.length).toBe(1);
  await clock.advance(5_000);
  vi.restoreAllMocks();
  expect((await client.call('tools/list')).result).toMatchObject({ tools: [{ name: 'one__t' }] });
  vi.spyOn(cache, 'invalidate').mockImplementation(never);
  pool.emit('notification', { server: 'one', notice: { method: 'notifications/tools/list_changed' } });
  await gateway.close({ graceMs: 0 });
});

test('a session is taken up without the notes of a link that hangs, and what such a link rejects is not unhandled', async () => {
  const unhandled = vi.fn();
  process.on('unhandledRejection', unhandled);
  const link: ReplicaLink = {
    id: '0123abcd',
    publish: () => Promise.reject(new Error('planted')) as never,
    listen: () => ({ [Symbol.dispose]: () => undefined }),
    note: never,
    notes: never,
    isAlive: never,
  };
  const first = await gatewayWith({});
  const second = await gatewayWith({ replicas: link });
  const client = new RawClient(`${first.url}/servers/one/mcp`);
  await client.initialize();
  const moved = Object.assign(new RawClient(`${second.url}/servers/one/mcp`), { sessionId: client.sessionId });
  const timers = second.clock.armedTimers;
  const called = moved.call('tools/call', { name: 't' });
  await expect.poll(() => second.clock.armedTimers).toBeGreaterThan(timers);
  await second.clock.advance(5_000);
  expect((await called).result).toEqual({ content: [] });
  second.pool.emit('notification', { server: 'one', notice: { method: 'notifications/tools/list_changed' } });
  await new Promise((resolve) => setImmediate(resolve));
  expect(unhandled).not.toHaveBeenCalled();
  process.off('unhandledRejection', unhandled);
});
