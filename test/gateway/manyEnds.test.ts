import { once } from 'node:events';
import { ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { expect, test, vi } from 'vitest';
import { silentLogger } from '../../src/core/logger.js';
import { Gateway } from '../../src/gateway/Gateway.js';
import { PoolRelay, type PoolRelayOptions } from '../../src/gateway/PoolRelay.js';
import { PartitionQueue } from '../../src/pool/server/partitions/PartitionQueue.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { closeAfter } from '../support/closeAfter.js';
import { countTurns } from '../support/countTurns.js';
import { FakePool } from '../support/FakePool.js';
import { exchange, RawClient } from '../support/httpClient.js';

/** Hundreds of calls that end at one instant are told so in turns of the event loop. */

test('the calls of a session that its client ends', async () => {
  const hanging = new Promise<never>(() => undefined);
  const pool = new FakePool({ one: { methods: { 'tools/call': () => hanging } } });
  const gateway = closeAfter(new Gateway({ pool, port: 0 }));
  const url = `${(await gateway.listen()).url}/servers/one/mcp`;
  const client = new RawClient(url);
  await client.initialize();
  const { hostname, port, pathname } = new URL(url);
  const calls = Array.from({ length: 400 }, (_, id) => {
    const body = JSON.stringify({ jsonrpc: '2.0', id: id + 10, method: 'tools/call', params: { name: 'x' } });
    const lines = [
      `POST ${pathname} HTTP/1.1`,
      `Host: ${hostname}:${port}`,
      'Accept: application/json, text/event-stream',
      'Content-Type: application/json',
      `mcp-session-id: ${client.sessionId}`,
      `Content-Length: ${Buffer.byteLength(body)}`,
    ];
    const socket = connect(Number(port), hostname);
    socket.write(`${lines.join('\r\n')}\r\n\r\n${body}`);
    return socket;
  });
  await expect.poll(() => gateway.stats.inFlight).toBe(400);
  using turns = countTurns();
  const end = ServerResponse.prototype.end;
  const ended: number[] = [];
  using _spy = vi.spyOn(ServerResponse.prototype, 'end').mockImplementation(function (this: ServerResponse, ...given) {
    ended.push(turns.count);
    return end.apply(this, given as Parameters<typeof end>);
  });
  const answers = calls.map((socket) => once(socket, 'data'));
  await exchange(url, { method: 'DELETE', headers: client.headers });
  await Promise.all(answers);
  for (const socket of calls) socket.destroy();
  expect(ended.length).toBeGreaterThanOrEqual(400);
  // The last is that of the DELETE, or the first.
  expect(new Set(ended).size).toBeGreaterThan(3);
});

test('the calls that wait for a start which failed', async () => {
  const queue = new PartitionQueue(
    { server: 'a', clock: new FakeClock(), maxQueue: 1_000, evictable: true },
    () => ({}) as never,
  );
  using turns = countTurns();
  const waits = Array.from({ length: 400 }, () =>
    queue.wait({ untilMs: 1e6, queueMs: 1e6 } as never, true, 0).then(
      () => undefined,
      (error: unknown) => [error, turns.count] as const,
    ),
  );
  queue.rejectNext('failed', 400);
  expect(queue.size).toBe(0);
  const told = await Promise.all(waits);
  expect(told.every((each) => each?.[0] === 'failed')).toBe(true);
  expect(new Set(told.map((each) => each?.[1])).size).toBeGreaterThan(3);
});

test('what all users are told of once other replicas are heard again', async () => {
  let asked = 0;
  const find = (): undefined => void asked++;
  const all = Array.from({ length: 1_000 }, (_, at) => ({ principal: `${at}` }));
  const tenants = { find, [Symbol.iterator]: () => all[Symbol.iterator]() };
  const servers = Array.from({ length: 100 }, (_, at) => `s${at}`);
  const pool = { on: () => undefined, servers: () => servers, state: () => 'ready' };
  const relay = new PoolRelay({ pool, tenants, logger: silentLogger } as unknown as PoolRelayOptions);
  relay.changedPerhaps();
  expect(asked).toBeLessThan(200_000);
  await expect.poll(() => asked).toBe(300_000);
});
