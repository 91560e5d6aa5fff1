import { once } from 'node:events';
import { ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import { afterEach, expect, test, vi } from 'vitest';
import type { Downstream } from '../../src/gateway/endpoint/Endpoint.js';
import { Gateway } from '../../src/gateway/Gateway.js';
import { NoticeFrames } from '../../src/gateway/http/stream/Frame.js';
import { CallsInFlight } from '../../src/gateway/session/callers/CallsInFlight.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { countTurns } from '../support/countTurns.js';
import { FakePool } from '../support/FakePool.js';
import { RawClient } from '../support/httpClient.js';

const MIB = 2 ** 20;
const sockets: Socket[] = [];
let gateway: Gateway;

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await gateway.close();
});

/** A session whose stream is open and is not read. */
async function idleStream(url: string): Promise<Socket> {
  const client = new RawClient(url);
  await client.initialize();
  const { hostname, port, pathname } = new URL(url);
  const socket = connect(Number(port), hostname);
  sockets.push(socket.on('error', () => undefined));
  const lines = [`GET ${pathname} HTTP/1.1`, `Host: ${hostname}:${port}`, 'Accept: text/event-stream'];
  socket.write(`${lines.join('\r\n')}\r\nmcp-session-id: ${client.sessionId}\r\n\r\n`);
  await once(socket, 'data');
  return socket.pause();
}

const META = 'io.modelcontextprotocol';

/** The stream of a subscription of the modern era, once it is acknowledged. It is read by who wants to. */
async function subscription(url: string, id: string): Promise<Socket> {
  const { hostname, port, pathname } = new URL(url);
  const socket = connect(Number(port), hostname);
  sockets.push(socket.on('error', () => undefined));
  const _meta = { [`${META}/protocolVersion`]: '2026-07-28', [`${META}/clientCapabilities`]: {} };
  const params = { notifications: { resourceSubscriptions: ['a:1'] }, _meta };
  const body = JSON.stringify({ jsonrpc: '2.0', id, method: 'subscriptions/listen', params });
  const lines = [
    `POST ${pathname} HTTP/1.1`,
    `Host: ${hostname}:${port}`,
    'Accept: application/json, text/event-stream',
    'Content-Type: application/json',
    'Mcp-Protocol-Version: 2026-07-28',
    'Mcp-Method: subscriptions/listen',
    `Content-Length: ${Buffer.byteLength(body)}`,
  ];
  socket.write(`${lines.join('\r\n')}\r\n\r\n${body}`);
  await once(socket, 'data');
  return socket.pause();
}

const used = (): number => {
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
};

const changed = (bytes: number) => ({
  method: 'notifications/tools/list_changed',
  params: { pad: 'x'.repeat(bytes) },
});

test('one notification for 40 streams that are not read is held once, and given back with the last of them', async () => {
  const pool = new FakePool({ one: {} });
  gateway = new Gateway({ pool, port: 0 });
  const url = `${(await gateway.listen()).url}/servers/one/mcp`;
  for (let i = 0; i < 40; i++) await idleStream(url);
  const before = used();
  pool.emit('notification', { server: 'one', notice: changed(20 * MIB) });
  await new Promise((done) => setImmediate(done));
  // As text, as bytes and on its way through the test: far from 40 times 20 MiB.
  expect(used() - before).toBeLessThan(150 * MIB);
  expect(gateway.stats.heldBytes).toBeGreaterThan(20 * MIB);
  expect(gateway.stats.heldBytes).toBeLessThan(21 * MIB);
  // What waits already is beyond what a stream may hold: the next one is lost, and counted.
  pool.emit('notification', { server: 'one', notice: changed(10) });
  expect(gateway.stats.droppedNotices).toBe(40);
  for (const socket of sockets) socket.destroy();
  // The small one is kept for those that come back, which takes a little of each; the large one is not worth it.
  await expect.poll(() => gateway.stats.heldBytes).toBeLessThan(40 * 1_024);
  await gateway.close({ graceMs: 0 });
  expect(gateway.stats.heldBytes).toBe(0);
});

test('a notification for which there is no room among what is held for all is dropped and counted', async () => {
  const pool = new FakePool({ one: {} });
  gateway = new Gateway({ pool, port: 0, maxBufferedBytes: 10 * MIB });
  const url = `${(await gateway.listen()).url}/servers/one/mcp`;
  await idleStream(url);
  pool.emit('notification', { server: 'one', notice: changed(11 * MIB) });
  expect(gateway.stats).toMatchObject({ droppedNotices: 1, heldBytes: 0 });
  pool.emit('notification', { server: 'one', notice: changed(8 * MIB) });
  expect(gateway.stats.droppedNotices).toBe(1);
  expect(gateway.stats.heldBytes).toBeGreaterThan(8 * MIB);
});

test('two notifications of one turn are two, whatever they share', async () => {
  const pool = new FakePool({ one: {} });
  gateway = new Gateway({ pool, port: 0 });
  const client = new RawClient(`${(await gateway.listen()).url}/servers/one/mcp`);
  await client.initialize();
  const stream = await client.listen();
  const params = { a: 1 };
  for (const kind of ['tools', 'prompts', 'tools'])
    pool.emit('notification', { server: 'one', notice: { method: `notifications/${kind}/list_changed`, params } });
  expect((await stream.has(3)).map(({ method }) => method)).toEqual([
    'notifications/tools/list_changed',
    'notifications/prompts/list_changed',
    'notifications/tools/list_changed',
  ]);
  await stream.stop();
});

/** A gateway before one shared server, on a clock of the test's, and two sessions of it. */
async function twoSessions() {
  const clock = new FakeClock();
  const answers: (() => void)[] = [];
  const slow = () => new Promise<object>((resolve) => answers.push(() => resolve({ content: [] })));
  const pool = new FakePool({ one: { methods: { 'tools/call': slow } } });
  gateway = new Gateway({ pool, port: 0, clock });
  const url = `${(await gateway.listen()).url}/servers/one/mcp`;
  const [alice, bob] = [new RawClient(url), new RawClient(url)];
  for (const client of [alice, bob]) await client.initialize();
  const call = async (client: RawClient, id: number): Promise<void> => {
    const count = pool.calls.length;
    void client.call('tools/call', { name: 'slow' }, id).catch(() => undefined);
    await expect.poll(() => pool.calls.length).toBeGreaterThan(count);
  };
  const cancel = (client: RawClient, requestId: number) =>
    client.send({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId } });
  const say = (text: string) =>
    pool.emit('notification', { server: 'one', notice: { method: 'notifications/said', params: { text } } });
  const stream = await bob.listen();
  const finish = async (): Promise<void> => {
    for (const answer of answers) answer();
    await stream.stop();
  };
  return { clock, alice, bob, call, cancel, say, stream, finish };
}

test('what a shared server says about a call that was given up reaches no other session, for half a minute', async () => {
  const { clock, alice, bob, call, cancel, say, stream, finish } = await twoSessions();
  await call(alice, 1);
  await call(bob, 1);
  await cancel(alice, 1);
  say('about the call of the first');
  await clock.advance(30_000);
  say('about the only one that is left');
  const [first] = await stream.has(1);
  expect(first?.params).toEqual({ text: 'about the only one that is left' });
  await finish();
});

test('after a call of its own that it gave up, a session still hears what is said while it alone has calls', async () => {
  const { bob, call, cancel, say, stream, finish } = await twoSessions();
  await call(bob, 1);
  await cancel(bob, 1);
  await call(bob, 2);
  say('to the only one');
  expect((await stream.has(1))[0]?.params).toEqual({ text: 'to the only one' });
  await finish();
});

test('an update of a resource at /mcp is one event for all sessions that asked for it, kept once, and gives way when they have left', async () => {
  const KIB = 1_024;
  const uri = 'a:1';
  const resources = { resources: [{ uri, name: 'one' }] };
  const pool = new FakePool({
    one: { capabilities: { resources: { subscribe: true } }, methods: { 'resources/list': () => resources } },
  });
  gateway = new Gateway({ pool, port: 0, maxBufferedBytes: 640 * KIB });
  const url = `${(await gateway.listen()).url}/mcp`;
  for (let i = 0; i < 4; i++) {
    const client = new RawClient(url);
    await client.initialize();
    const stream = await client.listen();
    expect((await client.call('resources/subscribe', { uri })).error).toBeUndefined();
    await stream.stop();
  }
  await expect.poll(() => gateway.stats.streams).toBe(0);
  const params = { uri, pad: 'x'.repeat(200 * KIB) };
  for (const { notify } of pool.subscriptions) notify({ method: 'notifications/resources/updated', params });
  expect(gateway.stats.heldBytes).toBeGreaterThan(200 * KIB);
  expect(gateway.stats.heldBytes).toBeLessThan(205 * KIB);
  const client = new RawClient(url);
  await client.initialize();
  // Three times its length, until it is answered.
  const large = await client.send({ jsonrpc: '2.0', id: 1, method: 'ping', params: { pad: 'x'.repeat(150 * KIB) } });
  expect([large.status, gateway.stats.heldBytes]).toEqual([200, 0]);
});

const LISTED = {
  capabilities: { resources: { subscribe: true } },
  methods: { 'resources/list': () => ({ resources: [{ uri: 'a:1', name: 'one' }] }) },
};
const updated = (pad: string) => ({ method: 'notifications/resources/updated', params: { uri: 'a:1', pad } });

test.each(['/servers/one/mcp', '/mcp'])(
  '%s: one notification for 20 subscriptions that are not read is held once',
  async (path) => {
    const pool = new FakePool({ one: LISTED });
    gateway = new Gateway({ pool, port: 0 });
    const { url } = await gateway.listen();
    for (let i = 0; i < 20; i++) await subscription(url + path, `${i}`);
    const before = gateway.stats.heldBytes;
    const notice = updated('x'.repeat(8 * MIB));
    for (const { notify } of pool.subscriptions) notify(notice);
    await expect.poll(() => gateway.stats.heldBytes - before).toBeGreaterThan(8 * MIB + 20 * 1_024);
    expect(gateway.stats.heldBytes - before).toBeLessThan(9 * MIB);
    for (const socket of sockets) socket.destroy();
    await expect.poll(() => gateway.stats.heldBytes).toBe(0);
  },
);

test('a large notification for many subscriptions is written in turns of the event loop, and what comes behind stays behind', async () => {
  const pool = new FakePool({ one: LISTED });
  gateway = new Gateway({ pool, port: 0 });
  const url = `${(await gateway.listen()).url}/servers/one/mcp`;
  const said: string[] = [];
  for (let i = 0; i < 30; i++) {
    const socket = await subscription(url, `é${i}`);
    said[i] = '';
    socket.setEncoding('utf8').on('data', (text: string) => {
      said[i] += text;
    });
    socket.resume();
  }
  using turns = countTurns();
  const write = ServerResponse.prototype.write;
  const written = new Set<number>();
  const spy = vi.spyOn(ServerResponse.prototype, 'write').mockImplementation(function (this: ServerResponse, ...given) {
    if (given[0].length > 20_000) {
      written.add(turns.count);
      for (const untilMs = performance.now() + 1; performance.now() < untilMs; );
    }
    return write.apply(this, given);
  });
  for (const notice of [updated('ä'.repeat(20_000)), updated('last')])
    for (const { notify } of pool.subscriptions) notify(notice);
  await expect.poll(() => said.every((each) => each.includes('"last"'))).toBe(true);
  spy.mockRestore();
  // Each takes 1 ms, and 8 ms are the share of a turn.
  expect(written.size).toBeGreaterThan(2);
  for (const [i, text] of said.entries()) {
    expect(text.replace(/\r\n[0-9a-f]+\r\n/g, '')).toMatch(
      new RegExp(`"pad":"ä{20000}","_meta":{"${META}/subscriptionId":"é${i}"}}}\n\n.*"pad":"last"`, 's'),
    );
  }
});

test.each([10, 20_000])(
  'a notification of %i characters for many sessions is written in turns of the event loop, in order',
  async (size) => {
    const pool = new FakePool({ one: {} });
    gateway = new Gateway({ pool, port: 0 });
    const url = `${(await gateway.listen()).url}/servers/one/mcp`;
    const said = Array.from({ length: 30 }, () => '');
    for (const i of said.keys()) {
      const socket = (await idleStream(url)).setEncoding('utf8').on('data', (text: string) => {
        said[i] += text;
      });
      socket.resume();
    }
    using turns = countTurns();
    const write = ServerResponse.prototype.write;
    const written = new Set<number>();
    const spy = vi.spyOn(ServerResponse.prototype, 'write').mockImplementation(function (
      this: ServerResponse,
      ...given
    ) {
      written.add(turns.count);
      for (const untilMs = performance.now() + 1; performance.now() < untilMs; );
      return write.apply(this, given);
    });
    pool.emit('notification', { server: 'one', notice: changed(size) });
    pool.emit('notification', { server: 'one', notice: { method: 'notifications/prompts/list_changed' } });
    await expect.poll(() => said.every((each) => each.includes('prompts/list_changed'))).toBe(true);
    spy.mockRestore();
    expect(written.size).toBeGreaterThan(3);
    for (const text of said) expect(text).toMatch(new RegExp(`"pad":"x{${size}}".*prompts/list_changed`, 's'));
  },
);

test('the streams of many sessions end in turns of the event loop', async () => {
  gateway = new Gateway({ pool: new FakePool({ one: {} }), port: 0 });
  const url = `${(await gateway.listen()).url}/servers/one/mcp`;
  for (let i = 0; i < 20; i++) await idleStream(url);
  using turns = countTurns();
  const end = ServerResponse.prototype.end;
  const ended: number[] = [];
  using _spy = vi.spyOn(ServerResponse.prototype, 'end').mockImplementation(function (this: ServerResponse, ...given) {
    ended.push(turns.count);
    for (const untilMs = performance.now() + 2; performance.now() < untilMs; );
    return end.apply(this, given as Parameters<typeof end>);
  });
  gateway.endStreams();
  await expect.poll(() => gateway.stats.streams).toBe(0);
  expect(ended).toHaveLength(20);
  expect(new Set(ended).size).toBeGreaterThan(2);
});

test('of the sessions that gave calls up the two that count longest are kept, which tells all there is to know', async () => {
  const clock = new FakeClock();
  const calls = new CallsInFlight(clock);
  const [own, ...others] = Array.from({ length: 50 }, () => ({}) as Downstream);
  if (own === undefined) throw new Error('none');
  for (const each of [own, ...others, own]) {
    const flight = calls.begin('s', each, undefined);
    flight.failed(new Error('given up'));
    flight.end();
    await clock.advance(10);
  }
  expect(calls.linger('s')?.size).toBe(2);
  calls.begin('s', own, undefined);
  await clock.advance(29_970);
  expect(calls.sole('s')).toBeUndefined();
  await clock.advance(20);
  expect(calls.sole('s')).toBe(own);
});

test('what streams are told by two names in turn is written once for each', () => {
  const frames = new NoticeFrames();
  const [own, other] = [{ uri: 'x://a' }, { uri: 'poolkit:x/x://a' }];
  const method = 'notifications/resources/updated';
  const made = [own, other, own, other].map((params) => frames.of(method, params));
  expect([made[2] === made[0], made[3] === made[1], made[1] === made[0]]).toEqual([true, true, false]);
  expect(frames.of('notifications/message', own)).not.toBe(made[0]);
  expect(frames.of('a', undefined)).not.toBe(frames.of('b', undefined));
});
