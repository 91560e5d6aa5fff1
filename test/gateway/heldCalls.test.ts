import { request } from 'node:http';
import { afterEach, expect, test } from 'vitest';
import { Gateway } from '../../src/gateway/Gateway.js';
import { FakePool } from '../support/FakePool.js';
import { exchange, RawClient } from '../support/httpClient.js';

/** What a client sends is held until it is answered: it counts, over all sessions, for as long. */

const KIB = 1_024;
let gateway: Gateway;
let waiting: (() => void)[];

afterEach(() => gateway.close());

async function start(): Promise<string> {
  waiting = [];
  const pool = new FakePool({
    one: { methods: { 'tools/call': () => new Promise((done) => waiting.push(() => done({ content: [] }))) } },
  });
  gateway = new Gateway({ pool, port: 0, maxBufferedBytes: 320 * KIB });
  return `${(await gateway.listen()).url}/servers/one/mcp`;
}

const call = (id: string) => ({
  jsonrpc: '2.0',
  id,
  method: 'tools/call',
  params: { name: 'x', arguments: { pad: 'x'.repeat(40 * KIB) } },
});

test('calls in flight hold what they were sent with: beyond the bound a client is told to try again', async () => {
  const client = new RawClient(await start());
  await client.initialize();
  const calls = ['a', 'b', 'c'].map((id) => client.send(call(id)));
  await expect.poll(() => waiting.length).toBe(3);
  expect(gateway.stats.heldBytes).toBeGreaterThan(3 * 2 * 40 * KIB);
  expect((await client.send(call('d'))).status).toBe(503);
  // A small one has room.
  expect(await client.call('ping')).toMatchObject({ result: {} });
  waiting.shift()?.();
  await calls[0];
  const again = client.send(call('e'));
  await expect.poll(() => waiting.length).toBe(3);
  for (const done of waiting.splice(0)) done();
  expect((await Promise.all([...calls, again])).map(({ status }) => status)).toEqual([200, 200, 200, 200]);
  await expect.poll(() => gateway.stats.heldBytes).toBe(0);
});

test('a call whose client has gone is held for as long as it runs', async () => {
  const client = new RawClient(await start());
  await client.initialize();
  const outgoing = request(client.url, { method: 'POST', agent: false, headers: client.headers });
  outgoing.on('error', () => undefined).end(JSON.stringify(call('a')));
  await expect.poll(() => waiting.length).toBe(1);
  outgoing.destroy();
  expect(await client.call('ping')).toMatchObject({ result: {} });
  expect(gateway.stats.heldBytes).toBeGreaterThan(2 * 40 * KIB);
  waiting.shift()?.();
  await expect.poll(() => gateway.stats.heldBytes).toBe(0);
});

test('a subscription keeps no URI of more than 8,192 characters', async () => {
  const client = new RawClient(await start());
  await client.initialize();
  const subscribe = (length: number) => client.call('resources/subscribe', { uri: 'a:'.padEnd(length, 'x') });
  expect(await subscribe(8_192)).toMatchObject({ result: {} });
  expect(await subscribe(8_193)).toMatchObject({ error: { code: -32602 } });
});

test('an answer that is taken up again on another stream counts as held, and a reader that takes nothing is cut', async () => {
  let answer = (): void => undefined;
  const pool = new FakePool({
    one: {
      methods: {
        'tools/call': (_params, { onNotification }) => {
          onNotification?.({ method: 'notifications/custom' });
          return new Promise((done) => {
            answer = () => done({ content: [], pad: 'x'.repeat(20_000 * KIB) });
          });
        },
      },
    },
  });
  gateway = new Gateway({ pool, port: 0, stallTimeoutMs: 200 });
  const client = new RawClient(`${(await gateway.listen()).url}/servers/one/mcp`);
  await client.initialize();
  const first = request(client.url, { method: 'POST', agent: false, headers: client.headers });
  first.on('error', () => undefined).end(JSON.stringify(call('a')));
  const eventId = await new Promise<string>((resolve) => {
    first.on('response', (response) =>
      response.on('data', (chunk) => resolve(/^id: (.*)$/m.exec(String(chunk))?.[1] ?? '')),
    );
  });
  first.destroy();
  const again = request(client.url, {
    method: 'GET',
    agent: false,
    headers: { ...client.headers, 'last-event-id': eventId },
  });
  again.on('error', () => undefined).end();
  await new Promise<void>((resolve) => again.on('response', (response) => resolve(void response.pause())));
  answer();
  await expect.poll(() => gateway.stats.heldBytes).toBeGreaterThan(20_000 * KIB);
  // Its reader is cut, with all that it did not take.
  await expect.poll(() => gateway.stats.heldBytes, { timeout: 10_000 }).toBe(0);
  again.destroy();
});

test('what a call says after its session has ended is not kept', async () => {
  const pool = new FakePool({
    one: {
      methods: {
        'tools/call': (_params, { onNotification }) => {
          onNotification?.({ method: 'notifications/custom' });
          return new Promise(() => undefined);
        },
      },
    },
  });
  gateway = new Gateway({ pool, port: 0 });
  const client = new RawClient(`${(await gateway.listen()).url}/servers/one/mcp`);
  await client.initialize();
  // Its failure repeats the id.
  const answered = client.send({ ...call('a'), id: 'i'.repeat(100 * KIB) });
  await expect.poll(() => pool.calls.length).toBe(1);
  await exchange(client.url, { method: 'DELETE', headers: client.headers });
  await answered;
  await expect.poll(() => gateway.stats.heldBytes).toBe(0);
});
