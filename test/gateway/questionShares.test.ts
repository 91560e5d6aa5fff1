import { EventEmitter } from 'node:events';
import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { Flight } from '../../src/gateway/bridge/Flight.js';
import { GivingWay } from '../../src/gateway/bridge/GivingWay.js';
import { Gateway } from '../../src/gateway/Gateway.js';
import { HeldBytes } from '../../src/gateway/http/HeldBytes.js';
import { EventStream } from '../../src/gateway/http/stream/EventStream.js';
import { ClientRequests } from '../../src/gateway/session/ClientRequests.js';
import { ownedBy } from '../../src/gateway/session/origin.js';
import type { RequestOptions } from '../../src/pool/McpPool.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { closeAfter } from '../support/closeAfter.js';
import { FakePool } from '../support/FakePool.js';
import { RawClient } from '../support/httpClient.js';

/** What one server brings about, its questions and notifications, leaves room to the calls of clients, and to what other servers ask. */

const KIB = 1_024;
const SIZES = [40, 8, 1, 0.1];

const method = 'elicitation/create';
const asking = (held: HeldBytes, owner: string, max = 1_000): ClientRequests =>
  new ClientRequests(owner, () => true, { maxRequestsPerSession: max, replica: '00000000', held }, new FakeClock());
const { signal } = new AbortController();

/** Whether the question is not refused. */
async function asks(client: ClientRequests, server: string, bytes: number): Promise<boolean> {
  const before = client.size;
  client.ask({ server, method, params: { message: 'x'.repeat(bytes) }, signal }).catch(() => undefined);
  return client.size > before;
}

/** As many as it may, large ones first. */
async function flood(client: ClientRequests, server: string): Promise<void> {
  for (const size of SIZES) while (await asks(client, server, size * KIB));
}

test('questions of one server leave room for calls of the clients that it asks, and for other servers’ questions', async () => {
  const held = new HeldBytes(2_048 * KIB);
  const clients = Array.from({ length: 9 }, () => asking(held, 'address'));
  for (const client of clients) await flood(client, 'bad');
  expect(held.held).toBeGreaterThan(400 * KIB);
  expect(held.takeFor('address', 600 * KIB)).toBe(true);
  for (const client of clients) expect(await asks(client, 'good', 4 * KIB)).toBe(true);
  // Also where several servers ask.
  for (const server of ['bad 2', 'bad 3', 'bad 4']) for (const client of clients) await flood(client, server);
  expect(held.takeFor('address', 100 * KIB)).toBe(true);
  held.giveBackFor('address', 700 * KIB);
  for (const client of clients) client.close(new Error('over'));
  await setImmediate();
  expect(held.held).toBe(0);
  for (const client of clients) expect(await asks(client, 'bad', 8 * KIB)).toBe(true);
});

test('clients that answer none of a server’s questions leave room for those to others', async () => {
  const held = new HeldBytes(2_048 * KIB);
  for (let at = 0; at < 9; at++) await flood(asking(held, 'address'), 'good');
  expect(await asks(asking(held, 'another'), 'good', 40 * KIB)).toBe(true);
});

test('so they do in one session, by their number and by their bytes, and in calls of the modern era', async () => {
  const few = asking(new HeldBytes(Number.POSITIVE_INFINITY), 'a', 8);
  for (let at = 0; at < 9; at++) await asks(few, 'bad', 1);
  expect([few.size, await asks(few, 'good', 1)]).toEqual([6, true]);
  await expect(few.ask({ server: 'bad', method, params: {}, signal })).rejects.toMatchObject({
    code: 'ERR_QUEUE_FULL',
  });
  few.answer('ask-00000000-1', { result: {}, error: undefined });
  expect(await asks(few, 'bad', 1)).toBe(true);
  const one = asking(new HeldBytes(Number.POSITIVE_INFINITY), 'a');
  for (let at = 0; at < 9; at++) await asks(one, 'bad', 2_048 * KIB);
  expect(await asks(one, 'good', 2_048 * KIB)).toBe(true);
  const held = new HeldBytes(2_048 * KIB);
  for (let at = 0; at < 9; at++) {
    const flight = new Flight('bad', 'a call', { capabilities: { elicitation: {} } }, 'a', held);
    flight.start(
      async (onRequest) => {
        for (let id = 0; id < 20; id++) {
          const request = { id, method, params: { message: 'x'.repeat(40 * KIB) } };
          onRequest(request, { signal }).catch(() => undefined);
        }
        await new Promise(() => undefined);
      },
      () => undefined,
    );
  }
  await setImmediate();
  expect(held.held).toBeGreaterThan(400 * KIB);
  expect(held.takeFor('a', 600 * KIB)).toBe(true);
  expect(await asks(asking(held, 'a'), 'good', 4 * KIB)).toBe(true);
});

test('a question that comes with its call’s stream counts to the server that asks', async () => {
  let refused = 0;
  let asked = 0;
  const ask = (server: string, { onRequest }: RequestOptions): Promise<unknown> | undefined =>
    onRequest?.({ id: 1, method, params: { message: '?' } }, { signal, server })?.catch(() => {
      refused++;
    });
  const bad = (_: unknown, options: RequestOptions) =>
    Promise.all(Array.from({ length: 9 }, () => ask('bad', options)));
  const good = (_: unknown, options: RequestOptions) => {
    const answer = ask('good', options);
    asked++;
    return answer;
  };
  const lists = { tools: [{ name: 'x', inputSchema: { type: 'object' } }] };
  const servers = {
    bad: { lists, methods: { 'tools/call': bad } },
    good: { lists, methods: { 'tools/call': good } },
  };
  const gateway = closeAfter(new Gateway({ pool: new FakePool(servers), port: 0, maxRequestsPerSession: 8 }));
  const client = new RawClient(`${(await gateway.listen()).url}/mcp`);
  await client.initialize('2025-11-25', { elicitation: {} });
  void client.call('tools/call', { name: 'bad__x' }).catch(() => undefined);
  await expect.poll(() => refused).toBe(3);
  void client.call('tools/call', { name: 'good__x' }).catch(() => undefined);
  await expect.poll(() => asked).toBe(1);
  await setImmediate();
  expect(refused).toBe(3);
});

test('of an owner whose calls wait for its answers, those end first that are on the server that asks most', () => {
  const away = new Map([
    ['1', { server: 'good', owner: 'a', isRunning: true }],
    ['2', { server: 'bad', owner: 'a', isRunning: true }],
    ['3', { server: 'bad', owner: 'a', isRunning: true }],
    ['4', { server: 'good', owner: 'b', isRunning: true }],
  ]);
  const ended: unknown[] = [];
  const room = new GivingWay(
    new FakeClock(),
    away,
    () => undefined,
    (each) => ended.push(each),
  );
  expect(room.makeRoom(() => 1, 1)).toBe(true);
  expect(ended).toEqual([away.get('2')]);
});

test('what is kept of one server’s notifications leaves room for the requests of the clients that it tells', async () => {
  let told = 0;
  const tell = (_: unknown, { onNotification }: RequestOptions): Promise<unknown> => {
    told++;
    for (let at = 0; at < 3; at++) {
      const params = { level: 'info', data: `${at}${'x'.repeat(80 * KIB)}` };
      onNotification?.({ method: 'notifications/message', params });
    }
    return new Promise(() => undefined);
  };
  const pool = new FakePool({ one: { methods: { 'tools/call': tell } } });
  const gateway = closeAfter(new Gateway({ pool, port: 0, maxBufferedBytes: 1_024 * KIB }));
  const client = new RawClient(`${(await gateway.listen()).url}/servers/one/mcp`);
  await client.initialize();
  for (let id = 1; id < 9; id++) {
    void client.call('tools/call', { name: 'x' }, `call ${id}`).catch(() => undefined);
    await expect.poll(() => told).toBe(id);
  }
  const other = new RawClient(client.url);
  expect((await other.initialize()).result).toBeDefined();
  const params = { pad: 'x'.repeat(40 * KIB) };
  expect((await other.send({ jsonrpc: '2.0', id: 1, method: 'ping', params })).status).toBe(200);
});

/** A stream of events whose client reads nothing. */
function unread(held: HeldBytes): { readonly stream: EventStream; readonly close: () => void } {
  const response = Object.assign(new EventEmitter(), {
    req: { method: 'POST', socket: {} },
    headersSent: true,
    writableLength: 0,
    write: (data: string | Buffer): void => {
      response.writableLength += data.length;
    },
  });
  ownedBy(response as never, 'a');
  const stream = new EventStream(response as never, { maxStreamBufferBytes: 1_024 * KIB, held, stallTimeoutMs: 1 });
  return { stream, close: () => response.emit('close') };
}

test('so do those that clients do not read, and small ones reach a client that does', async () => {
  const held = new HeldBytes(1_024 * KIB);
  const readers = Array.from({ length: 8 }, () => unread(held));
  const notice = JSON.stringify({ method: 'notifications/message', params: { data: 'x'.repeat(80 * KIB) } });
  for (const { stream } of readers) while (stream.offer(notice));
  expect(held.held).toBeGreaterThan(400 * KIB);
  expect(held.takeFor('a', 200 * KIB)).toBe(true);
  expect(readers[0]?.stream.offer('{}')).toBe(false);
  expect(unread(held).stream.offer('{}')).toBe(true);
  for (const { close } of readers) close();
  held.giveBackFor('a', 200 * KIB);
  expect(held.held).toBeLessThan(KIB);
});
