import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { ClosedError } from '../../src/core/errors.js';
import { Gateway } from '../../src/gateway/Gateway.js';
import { FakePool } from '../support/FakePool.js';
import { exchange, type Message, RawClient } from '../support/httpClient.js';

let pool: FakePool;
let gateway: Gateway;
let url: string;
let finish: (() => void)[];

beforeEach(async () => {
  finish = [];
  const wait = (params: unknown) => new Promise((resolve) => finish.push(() => resolve({ params })));
  pool = new FakePool({ one: { methods: { 'tools/call': wait } } });
  gateway = new Gateway({ pool, port: 0 });
  url = `${(await gateway.listen()).url}/servers/one/mcp`;
});

afterEach(async () => {
  await gateway.close({ graceMs: 0 }).catch((error: unknown) => error);
  expect(pool.listeners('notification')).toBe(0);
});

const calling = async (count: number): Promise<Promise<Message>[]> => {
  const client = new RawClient(url);
  await client.initialize();
  const calls = Array.from({ length: count }, (_, i) => client.call('tools/call', { i }));
  await expect.poll(() => finish.length).toBe(count);
  return calls;
};

test('what is in flight is answered first, streams end at once, nobody new comes in', async () => {
  const calls = await calling(10);
  const listener = new RawClient(url);
  await listener.initialize();
  const stream = await listener.listen();
  let closed = false;
  const closing = gateway.close().then(() => {
    closed = true;
  });
  await stream.ended;
  await expect(exchange(url, { body: '{}' })).rejects.toThrow(/ECONNREFUSED/);
  expect(closed).toBe(false);
  for (const each of finish) each();
  const answers = await Promise.all(calls);
  expect(answers.map(({ result }) => result)).toEqual(answers.map((_, i) => ({ params: { i } })));
  await closing;
});

test('every call of close is one promise, and afterwards nothing begins', async () => {
  const closing = gateway.close();
  expect(gateway.close({ graceMs: 0 })).toBe(closing);
  await closing;
  await expect(gateway.listen()).rejects.toThrow(ClosedError);
  expect(gateway.stats).toMatchObject({ sessions: 0, inFlight: 0 });
});

test('what outlives the grace is answered with the truth, and close resolves', async () => {
  const calls = await calling(2);
  await gateway.close({ graceMs: 0 });
  for (const { error } of await Promise.all(calls)) {
    expect(error).toMatchObject({
      code: -32_603,
      message: 'server "one": outcome of the call unknown: the proxy shut down',
      data: { code: 'ERR_OUTCOME_UNKNOWN', retryable: false },
    });
  }
});

test('a later call shortens the grace', async () => {
  const calls = await calling(1);
  const closing = gateway.close({ graceMs: 60_000 });
  void gateway.close({ graceMs: 0 });
  await closing;
  expect((await Promise.all(calls))[0]?.error).toBeDefined();
});

test('a gateway that never listened closes, and one that is just about to listen too', async () => {
  await new Gateway({ pool, port: 0 }).close();
  const other = new Gateway({ pool, port: 0 });
  const listening = other.listen().catch((error: unknown) => error);
  await other.close();
  expect(await listening).toBeInstanceOf(ClosedError);
});

test('a port that is taken rejects the start with what the system says, and once it is free the gateway starts', async () => {
  const port = Number(new URL(url).port);
  const other = new Gateway({ pool, port });
  await expect(other.listen()).rejects.toMatchObject({ code: 'EADDRINUSE' });
  await gateway.close();
  const listening = other.listen();
  expect(other.listen()).toBe(listening);
  expect(await listening).toMatchObject({ port });
  await new RawClient(url).initialize();
  await other.close();
});

test('close from inside a listener of the pool ends too', async () => {
  const started = pool.on('started', () => void gateway.close());
  pool.emit('started', { server: 'one', pid: 1, startMs: 1, others: 0 });
  started[Symbol.dispose]();
  await gateway.close();
});

test('a call at /mcp whose server is still starting is told that the gateway closes', async () => {
  const tools = vi.fn(() => new Promise<never>(() => undefined));
  const mute = new Gateway({ pool: new FakePool({ mute: { lists: { tools } } }), port: 0 });
  const client = new RawClient(`${(await mute.listen()).url}/mcp`);
  await client.initialize();
  const call = client.call('tools/call', { name: 'mute__t' });
  await expect.poll(() => tools.mock.calls.length).toBe(1);
  const closing = mute.close({ graceMs: 0 }).catch((error: unknown) => error);
  const { error } = await call;
  expect(error).toMatchObject({ message: expect.not.stringContaining('undefined'), data: { code: 'ERR_CLOSED' } });
  await closing;
});
