import { expect, test, vi } from 'vitest';
import { BackingOffError, StartError, UnauthorizedError } from '../../src/core/errors.js';
import { Gateway } from '../../src/gateway/Gateway.js';
import { UnifiedPool } from '../../src/pool/UnifiedPool.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { closeAfter } from '../support/closeAfter.js';
import { FakePool, type FakeServer } from '../support/FakePool.js';
import { RawClient } from '../support/httpClient.js';
import { freePort } from '../support/httpServers.js';
import { RawServer } from '../support/rawServer.js';

/** A gateway whose server `s` is down, as `ping` says, and when it was asked for one. */
function house(ping: () => unknown, options: { readonly server?: FakeServer; readonly users?: boolean } = {}) {
  const clock = new FakeClock();
  const asked: number[] = [];
  const methods = {
    ping: async () => {
      asked.push(clock.now());
      return ping();
    },
  };
  const server: FakeServer = { state: 'failed', methods, ...options.server };
  const pool = new FakePool({ s: server });
  const users = options.users === true && { authenticate: async () => undefined };
  const gateway = closeAfter(new Gateway({ pool, clock, port: 0, ...users }));
  const is = (state: 'failed' | 'ready' | 'stopped' | 'starting'): void => {
    const previous = server.state ?? 'idle';
    server.state = state;
    pool.emit('state', { server: 's', state, previous });
  };
  return { clock, asked, gateway, is };
}

const down = (): never => {
  throw new StartError('s', 'nobody is there');
};

test('a server that failed to start is tried after 1, 2, 4 … 30 s, and no more once it is up or stopped', async () => {
  for (const end of ['ready', 'stopped'] as const) {
    const { clock, asked, is } = house(down);
    // What a try of its own does to its state begins nothing anew.
    is('starting');
    is('failed');
    await clock.advance(100_000);
    expect(asked).toEqual([1_000, 3_000, 7_000, 15_000, 31_000, 61_000, 91_000]);
    is(end);
    await clock.advance(100_000);
    expect(asked).toHaveLength(7);
    is('failed');
    await clock.advance(3_000);
    expect(asked.slice(7)).toEqual([201_000, 203_000]);
  }
});

test("the pool's own pause is waited for, and what only people can mend is not tried again", async () => {
  const longer = house(() => {
    throw new BackingOffError('s', 50_000);
  });
  await longer.clock.advance(110_000);
  expect(longer.asked).toEqual([1_000, 51_000, 101_000]);
  const refused = house(() => {
    throw new UnauthorizedError('s');
  });
  await refused.clock.advance(110_000);
  expect(refused.asked).toEqual([1_000]);
});

test('servers are not tried where users have connections of their own, nor after the close', async () => {
  const users = house(down, { users: true });
  await users.clock.advance(100_000);
  expect(users.asked).toEqual([]);
  const { clock, asked, gateway } = house(down);
  const closing = gateway.close({ graceMs: 0 });
  await clock.advance(100_000);
  await closing;
  expect(asked).toEqual([]);
});

test('of many servers that are down 32 are tried at a time, in turns', async () => {
  const warned = vi.spyOn(process, 'emitWarning');
  const tried: (() => void)[] = [];
  const ping = () => new Promise<never>((_, reject) => tried.push(() => reject(new StartError('s', 'it is silent'))));
  const names = Array.from({ length: 40 }, (_, at) => `s${at}`);
  const server: FakeServer = { state: 'failed', methods: { ping } };
  const pool = new FakePool(Object.fromEntries(names.map((name) => [name, server])));
  const clock = new FakeClock();
  closeAfter(new Gateway({ pool, clock, port: 0 }));
  await clock.advance(2_500);
  expect(pool.calls.map((each) => each.server)).toEqual(names.slice(0, 32));
  pool.emit('state', { server: 's32', state: 'ready', previous: 'starting' });
  for (const end of tried.splice(0, 2)) end();
  await clock.advance(0);
  expect(pool.calls.slice(32).map((each) => each.server)).toEqual(['s33', 's34']);
  for (const end of tried.splice(0)) end();
  await clock.advance(0);
  expect(pool.calls.slice(34).map((each) => each.server)).toEqual(names.slice(35));
  // One that is up leaves its place, though it answers no ping.
  await clock.advance(4_000);
  expect(pool.calls).toHaveLength(66);
  for (const each of ['s0', 's1']) pool.emit('state', { server: each, state: 'ready', previous: 'starting' });
  await clock.advance(0);
  expect(pool.calls).toHaveLength(68);
  for (const end of tried.splice(0)) end();
  // They wait under one signal, which is no leak of listeners.
  expect(warned).not.toHaveBeenCalled();
});

test('a server that comes up later is told to a client that listed before, though nobody asks', async () => {
  const port = await freePort();
  const pool = closeAfter(new UnifiedPool());
  pool.addServer({ name: 's', transport: 'http', url: `http://127.0.0.1:${port}/mcp` });
  await expect(pool.startServer('s')).rejects.toThrow(StartError);
  const gateway = closeAfter(new Gateway({ pool, port: 0 }));
  const client = new RawClient(`${(await gateway.listen()).url}/mcp`);
  await client.initialize();
  const stream = await client.listen();
  closeAfter({ close: () => stream.stop() });
  expect((await client.call('tools/list')).result).toMatchObject({ tools: [] });
  closeAfter(
    await RawServer.listen(
      {
        before: ({ message, json }) => {
          const results = new Map<string, object>([
            [
              'initialize',
              {
                protocolVersion: '2025-11-25',
                capabilities: { tools: {} },
                serverInfo: { name: 'late', version: '1' },
              },
            ],
            ['tools/list', { tools: [{ name: 'echo', inputSchema: { type: 'object' } }] }],
          ]);
          const result = results.get(message?.method);
          if (result !== undefined) json({ jsonrpc: '2.0', id: message.id, result });
          return result !== undefined;
        },
      },
      port,
    ),
  );
  expect(await stream.has(1)).toMatchObject([{ method: 'notifications/tools/list_changed' }]);
  expect((await client.call('tools/list')).result).toMatchObject({ tools: [{ name: 's__echo' }] });
});
