import { afterEach, expect, test } from 'vitest';
import { OptionError } from '../../src/core/errors.js';
import { Gateway } from '../../src/gateway/Gateway.js';
import type { GatewayOptions } from '../../src/gateway/GatewayOptions.js';
import { bearerTokens } from '../../src/gateway/users/bearerTokens.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { FakePool } from '../support/FakePool.js';
import { exchange, RawClient } from '../support/httpClient.js';

let pool: FakePool;
let gateway: Gateway;
/** Told how to end each held call. */
let hold: ((end: () => void) => void) | undefined;

const start = async (options: Partial<GatewayOptions> = {}): Promise<string> => {
  pool = new FakePool({
    one: {
      methods: {
        'logging/setLevel': () => ({}),
        'tools/call': () => new Promise((end) => hold?.(() => end({ content: [] }))),
      },
    },
    two: { capabilities: { resources: {} }, lists: { resources: [{ uri: 'b:1', name: 'b' }] } },
  });
  gateway = new Gateway({ pool, port: 0, ...options });
  return (await gateway.listen()).url;
};

const open = async (url: string, headers: Record<string, string> = {}): Promise<RawClient> => {
  const client = new RawClient(url, headers);
  await client.initialize();
  return client;
};

afterEach(() => gateway.close());

const listChanged = { method: 'notifications/tools/list_changed' };

test('a list change reaches who listens to that server or to all', async () => {
  const url = await start();
  const streams = await Promise.all(
    ['/mcp', '/servers/one/mcp', '/servers/two/mcp'].map(async (path) => (await open(url + path)).listen()),
  );
  const [all, one, two] = streams;
  pool.emit('notification', { server: 'one', notice: listChanged });
  // It may be about one caller alone: on a shared connection it is for none.
  pool.emit('notification', { server: 'two', notice: { method: 'notifications/custom', params: { a: 1 } } });
  pool.emit('notification', { server: 'two', notice: { method: 'notifications/resources/list_changed' } });
  // A connection made for a principal speaks to none of these sessions.
  pool.emit('notification', { server: 'two', principal: 'p', notice: listChanged });
  const resourcesChanged = { jsonrpc: '2.0', method: 'notifications/resources/list_changed' };
  expect(await all?.has(2)).toEqual([{ jsonrpc: '2.0', ...listChanged }, resourcesChanged]);
  expect(await one?.has(1)).toEqual([{ jsonrpc: '2.0', ...listChanged }]);
  expect(await two?.has(1)).toEqual([resourcesChanged]);
  await Promise.all(streams.map((stream) => stream.stop()));
});

test('log messages go to who asked for their level; the server is told the most verbose', async () => {
  const url = `${await start()}/servers/one/mcp`;
  const [quiet, chatty, silent] = await Promise.all([open(url), open(url), open(url)]);
  await chatty.call('logging/setLevel', { level: 'debug' });
  await quiet.call('logging/setLevel', { level: 'error' });
  expect(pool.calls.map(({ options }) => options.paramsText)).toEqual(['{"level":"debug"}', '{"level":"debug"}']);
  expect(pool.calls.map(({ params }) => params)).toEqual([{ level: 'debug' }, { level: 'debug' }]);
  const streams = await Promise.all([quiet.listen(), chatty.listen(), silent.listen()]);
  const log = (level: string, busy?: boolean) =>
    pool.emit('notification', { server: 'one', busy, notice: { method: 'notifications/message', params: { level } } });
  // With no call in flight, or with several sessions', it may be about any of them: it is for none.
  log('alert');
  const call = (client: RawClient) => {
    const answer = client.call('tools/call', { name: 'hold' });
    return new Promise<{ answer: typeof answer; end: () => void }>((resolve) => {
      hold = (end) => resolve({ answer, end });
    });
  };
  const first = await call(quiet);
  for (const level of ['info', 'alert']) log(level);
  // On a connection that the call is not on.
  log('emergency', false);
  const second = await call(chatty);
  log('emergency');
  first.end();
  await first.answer;
  log('info');
  second.end();
  await second.answer;
  const third = await call(silent);
  log('alert');
  third.end();
  await third.answer;
  pool.emit('notification', { server: 'one', notice: listChanged });
  await Promise.all(streams.map((stream, i) => stream.has([2, 2, 1][i] ?? 0)));
  const levels = streams.map(({ messages }) => messages.map(({ params }) => params?.['level']));
  expect(levels).toEqual([['alert', undefined], ['info', undefined], [undefined]]);
  await Promise.all(streams.map((stream) => stream.stop()));
});

test('that a server offers no subscriptions is told as of a method that is not there', async () => {
  const url = await start();
  pool.subscribe = (_, filter) => Promise.reject(new OptionError('filter', filter, 'what the server offers'));
  for (const path of ['/servers/two/mcp', '/mcp']) {
    const client = await open(url + path);
    const message = 'server "two" offers no subscriptions to resources';
    expect((await client.call('resources/subscribe', { uri: 'b:1' })).error).toEqual({ code: -32_601, message });
  }
});

test('a resource subscription is its session’s own, and ends with it', async () => {
  const url = `${await start({ maxSubscriptionsPerSession: 2 })}/servers/one/mcp`;
  const [mine, other] = await Promise.all([open(url), open(url)]);
  const [stream, otherStream] = await Promise.all([mine.listen(), other.listen()]);
  expect((await mine.call('resources/subscribe', { uri: 'a:1' })).result).toEqual({});
  await mine.call('resources/subscribe', { uri: 'a:1' });
  await mine.call('resources/subscribe', { uri: 'a:2' });
  expect((await mine.call('resources/subscribe', { uri: 'a:3' })).error).toMatchObject({
    data: { code: 'ERR_QUEUE_FULL' },
  });
  expect(pool.subscriptions.map(({ uri }) => uri)).toEqual(['a:1', 'a:2']);
  const updated = { method: 'notifications/resources/updated', params: { uri: 'a:1' } };
  pool.subscriptions[0]?.notify(updated);
  pool.emit('notification', { server: 'one', notice: updated });
  expect(await stream.has(1)).toEqual([{ jsonrpc: '2.0', ...updated }]);
  expect((await mine.call('resources/unsubscribe', { uri: 'a:1' })).result).toEqual({});
  expect((await mine.call('resources/unsubscribe', { uri: 'a:1' })).error).toMatchObject({ code: -32_602 });
  expect(await exchange(url, { method: 'DELETE', headers: mine.headers })).toMatchObject({ status: 200 });
  expect(pool.subscriptions.map(({ closed }) => closed)).toEqual([true, true]);
  await stream.ended;
  expect(stream.messages).toHaveLength(1);
  expect(otherStream.messages).toEqual([]);
  await otherStream.stop();
});

test('what the subscriptions of all sessions hold is bounded, and no one client takes all of it', async () => {
  const authenticate = bearerTokens({
    'alice-token-0123456789': { principal: 'alice' },
    'bob-token-0123456789': { principal: 'bob' },
  });
  const url = `${await start({ maxBufferedBytes: 480 * 1_024, authenticate })}/servers/one/mcp`;
  const as = (name: string) => open(url, { authorization: `Bearer ${name}-token-0123456789` });
  const [first, second, other] = await Promise.all([as('alice'), as('alice'), as('bob')]);
  const subscribe = async (client: RawClient, at: number): Promise<unknown> => {
    const { result, error } = await client.call('resources/subscribe', { uri: `a:${at}:${'x'.repeat(8_000)}` });
    return result ?? error?.data?.['code'];
  };
  // A room of 240 KiB, 32 KB each: three quarters are five.
  for (let at = 0; at < 5; at++) expect(await subscribe(at % 2 === 0 ? first : second, at)).toEqual({});
  expect(await subscribe(second, 5)).toBe('ERR_QUEUE_FULL');
  expect(await subscribe(first, 0)).toEqual({});
  expect(await subscribe(other, 0)).toEqual({});
  await first.call('resources/unsubscribe', { uri: `a:0:${'x'.repeat(8_000)}` });
  await exchange(url, { method: 'DELETE', headers: first.headers });
  for (let at = 5; at < 7; at++) expect(await subscribe(second, at)).toEqual({});
});

test('an ended session fails what it has in flight and is unknown afterwards', async () => {
  const url = `${await start()}/servers/one/mcp`;
  const client = await open(url);
  const call = client.call('tools/call');
  await expect.poll(() => pool.calls.length).toBe(1);
  await exchange(url, { method: 'DELETE', headers: client.headers });
  // It had been sent: that it never ran cannot be said.
  expect((await call).error).toMatchObject({ code: -32_603, data: { code: 'ERR_OUTCOME_UNKNOWN' } });
  expect((await client.send({ jsonrpc: '2.0', id: 1, method: 'ping' })).status).toBe(404);
  expect(gateway.stats.sessions).toBe(0);
});

test('a client that comes back gets the stream, the one it left behind ends', async () => {
  const client = await open(`${await start()}/servers/one/mcp`);
  const first = await client.listen();
  const second = await client.listen();
  await first.ended;
  pool.emit('notification', { server: 'one', notice: listChanged });
  await second.has(1);
  await second.stop();
  await expect
    .poll(() => {
      pool.emit('notification', { server: 'one', notice: listChanged });
      return gateway.stats.droppedNotices;
    })
    .toBeGreaterThan(0);
});

test('sessions nobody uses end after their time; a call or a stream keeps one', async () => {
  const clock = new FakeClock();
  const url = `${await start({ clock, sessionIdleMs: 5_000 })}/servers/one/mcp`;
  const [idle, used, streaming, calling] = await Promise.all([open(url), open(url), open(url), open(url)]);
  const stream = await streaming.listen();
  const call = calling.call('tools/call');
  await expect.poll(() => pool.calls.length).toBe(1);
  await clock.advance(4_000);
  await used.call('ping');
  await clock.advance(4_000);
  expect(gateway.stats.sessions).toBe(3);
  expect((await idle.send({ jsonrpc: '2.0', id: 1, method: 'ping' })).status).toBe(404);
  await clock.advance(20_000);
  expect(gateway.stats.sessions).toBe(2);
  await stream.stop();
  const closing = gateway.close({ graceMs: 0 });
  await clock.advance(1_000);
  await Promise.all([closing, call]);
});

test('with all places taken a new client is told so, until one has been idle for a minute', async () => {
  const clock = new FakeClock();
  const url = `${await start({ clock, maxSessions: 2 })}/servers/one/mcp`;
  const [first] = await Promise.all([open(url), open(url)]);
  expect((await new RawClient(url).initialize()).error).toMatchObject({ data: { code: 'ERR_QUEUE_FULL' } });
  await clock.advance(61_000);
  await first.call('ping');
  expect((await new RawClient(url).initialize()).result).toBeDefined();
  expect((await first.send({ jsonrpc: '2.0', id: 1, method: 'ping' })).status).toBe(200);
  expect(gateway.stats.sessions).toBe(2);
});

test('a session may not have more in flight than its bound', async () => {
  const client = await open(`${await start({ maxRequestsPerSession: 2 })}/servers/one/mcp`);
  const calls = [client.call('tools/call'), client.call('tools/call')];
  await expect.poll(() => pool.calls.length).toBe(2);
  expect((await client.call('tools/call')).error).toMatchObject({ data: { code: 'ERR_QUEUE_FULL', retryable: true } });
  await gateway.close({ graceMs: 0 });
  expect((await Promise.all(calls)).map(({ error }) => error?.data?.['code'])).toEqual([
    'ERR_OUTCOME_UNKNOWN',
    'ERR_OUTCOME_UNKNOWN',
  ]);
});

test('a notice for a stream that has just ended is dropped', async () => {
  const url = `${await start()}/servers/one/mcp`;
  const client = await open(url);
  const stream = await client.listen();
  const closing = gateway.close();
  pool.emit('notification', { server: 'one', notice: listChanged });
  expect(gateway.stats.droppedNotices).toBe(1);
  await Promise.all([closing, stream.ended]);
  expect(stream.messages).toEqual([]);
});

test('a reader that takes nothing loses notifications, not memory', async () => {
  const client = await open(`${await start({ maxStreamBufferBytes: 10_000 })}/servers/one/mcp`);
  const stream = await client.listen();
  const notice = { ...listChanged, params: { pad: 'x'.repeat(100_000) } };
  for (let i = 0; i < 500; i++) pool.emit('notification', { server: 'one', notice });
  expect(gateway.stats.droppedNotices).toBeGreaterThan(400);
  await stream.stop();
});

test('a quiet stream is kept alive', async () => {
  const clock = new FakeClock();
  const client = await open(`${await start({ clock, heartbeatMs: 1_000 })}/servers/one/mcp`);
  const stream = await client.listen();
  await clock.advance(1_000);
  await stream.commented;
  expect(stream.messages).toEqual([]);
  await stream.stop();
});
