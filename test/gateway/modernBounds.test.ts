import { once } from 'node:events';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterEach, expect, test, vi } from 'vitest';
import { keepText } from '../../src/connection/channel/codec/exactText.js';
import { silentLogger } from '../../src/core/logger.js';
import { modernResult } from '../../src/gateway/bridge/resultText.js';
import { Gateway } from '../../src/gateway/Gateway.js';
import type { GatewayOptions } from '../../src/gateway/GatewayOptions.js';
import { readMessages } from '../../src/gateway/rpc/readMessages.js';
import { bearerTokens } from '../../src/gateway/users/bearerTokens.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { collectGarbage } from '../support/collectGarbage.js';
import { countTurns } from '../support/countTurns.js';
import { FakePool } from '../support/FakePool.js';
import { EventReader, exchange, RawClient } from '../support/httpClient.js';
import { headersOf, META, META_OF_ANYONE } from '../support/modernRequests.js';
import { fixture } from '../support/servers.js';
import { stdioPool } from '../support/stdioPool.js';

let gateway: Gateway;
let pool: FakePool;

afterEach(() => gateway?.close());

async function start(options: Partial<GatewayOptions> = {}): Promise<string> {
  pool = new FakePool({
    one: {
      capabilities: { tools: { listChanged: true }, resources: { subscribe: true } },
      methods: {
        'tools/call': async (_params, { onRequest, signal }) => {
          const asked = { id: 1, method: 'elicitation/create', params: { message: '?' } };
          const answer = onRequest?.(asked, { signal: signal ?? new AbortController().signal });
          return { content: [], answer: await answer };
        },
      },
    },
  });
  gateway = new Gateway({ pool, port: 0, ...options });
  return `${(await gateway.listen()).url}/servers/one/mcp`;
}

function listen(
  url: string,
  id: unknown,
  localAddress: string,
  more: object = {},
  authorization?: string,
  resourceSubscriptions: readonly string[] = ['a:1'],
): Promise<EventReader> {
  const method = 'subscriptions/listen';
  const notifications = { toolsListChanged: true, resourceSubscriptions };
  const params = { ...more, notifications, _meta: META_OF_ANYONE };
  return new Promise((resolve, reject) => {
    const headers = { ...headersOf(method), ...(authorization !== undefined && { authorization }) };
    request(url, { method: 'POST', headers, agent: false, localAddress }, (incoming) =>
      resolve(new EventReader(incoming.setEncoding('utf8'))),
    )
      .on('error', reject)
      .end(JSON.stringify({ jsonrpc: '2.0', id, method, params }));
  });
}

test('addresses share the subscriptions: one that has fewer takes the place of the other’s oldest', async () => {
  const url = await start({ maxSessions: 3 });
  const first = await Promise.all([1, 2, 3].map((id) => listen(url, id, '127.0.0.1')));
  await Promise.all(first.map((each) => each.has(1)));
  const refused = await listen(url, 4, '127.0.0.1');
  await refused.ended;
  const other = await listen(url, 5, '127.0.0.2');
  expect(await other.has(1)).toMatchObject([{ method: 'notifications/subscriptions/acknowledged' }]);
  await Promise.race(first.map((each) => each.ended));
  // From here on both have what is fair.
  const greedy = await listen(url, 6, '127.0.0.2');
  await greedy.ended;
  await Promise.all([...first, other].map((each) => each.stop()));
});

test('users behind one address share them by who they are', async () => {
  const [alice, bob] = ['alice-token-0123456789', 'bob-token-0123456789'];
  const authenticate = bearerTokens({ [alice]: { principal: 'alice' }, [bob]: { principal: 'bob' } });
  const url = await start({ maxSessions: 3, authenticate });
  const as = (token: string, id: number) => listen(url, id, '127.0.0.1', {}, `Bearer ${token}`);
  const hers = await Promise.all([1, 2, 3].map((id) => as(alice, id)));
  await Promise.all(hers.map((each) => each.has(1)));
  const his = await as(bob, 4);
  expect(await his.has(1)).toMatchObject([{ method: 'notifications/subscriptions/acknowledged' }]);
  await Promise.race(hers.map((each) => each.ended));
  await Promise.all([...hers, his].map((each) => each.stop()));
});

test('the URIs of modern subscriptions have the room of those of sessions: one address leaves a part of it to others', async () => {
  const real = stdioPool();
  real.addServer({ name: 'one', transport: 'stdio', command: process.execPath, args: [fixture('uri-counter.mjs')] });
  const url = await start({ pool: real, maxBufferedBytes: 4 * 1024 * 1024 });
  const uris = (name: string, count: number) => Array.from({ length: count }, (_, at) => `${name}:${at}`);
  const open = (id: number, address: string, count: number) =>
    listen(url, id, address, {}, undefined, uris(`u${id}`, count));
  const greedy = await open(1, '127.0.0.9', 150);
  expect(await greedy.has(1)).toMatchObject([{ method: 'notifications/subscriptions/acknowledged' }]);
  const more = await open(2, '127.0.0.9', 100);
  // A refusal is no stream of events.
  await more.ended;
  expect(more.messages).toEqual([]);
  const other = await open(3, '127.0.0.1', 20);
  expect(await other.has(1)).toMatchObject([{ method: 'notifications/subscriptions/acknowledged' }]);
  // Its room is free again as soon as it has left.
  await greedy.stop();
  await vi.waitFor(async () => {
    const again = await open(4, '127.0.0.9', 150);
    await Promise.race([again.ended, again.has(1)]);
    expect(again.messages).toHaveLength(1);
    await again.stop();
  });
  await other.stop();
});

test('/mcp: URIs that are not agreed on hold nothing', async () => {
  const url = (await start({ maxBufferedBytes: 4 * 1024 * 1024 })).replace('/servers/one', '');
  const nowhere = Array.from({ length: 60 }, (_, at) => `nowhere:${at}:${'x'.repeat(1_000)}`);
  for (let id = 1; id <= 6; id++) {
    const reader = await listen(url, id, '127.0.0.9', {}, undefined, nowhere);
    expect(await reader.has(1)).toMatchObject([{ params: { notifications: { resourceSubscriptions: [] } } }]);
  }
  expect(gateway.stats.heldBytes).toBeLessThan(100_000);
});

test('at a stop many subscriptions end in turns of the event loop, and those not open yet are told why', async () => {
  const lines: unknown[] = [];
  const url = await start({ logger: { ...silentLogger, error: (...line: unknown[]) => void lines.push(line) } });
  const ended: number[] = [];
  using turns = countTurns();
  let asked = 0;
  pool.subscribe = (_server, _filter, { signal }) => {
    asked++;
    return new Promise((_, reject) =>
      signal?.addEventListener('abort', () => {
        ended.push(turns.count);
        const untilMs = performance.now() + 1;
        while (performance.now() < untilMs);
        reject(signal.reason);
      }),
    );
  };
  const refused = Promise.all(
    Array.from({ length: 30 }, (_, id) => {
      const params = { notifications: { resourceSubscriptions: ['a:1'] }, _meta: META_OF_ANYONE };
      const body = JSON.stringify({ jsonrpc: '2.0', id, method: 'subscriptions/listen', params });
      return exchange(url, { method: 'POST', headers: headersOf('subscriptions/listen'), body });
    }),
  );
  await vi.waitFor(() => expect(asked).toBe(30));
  gateway.endStreams();
  for (const { messages } of await refused) expect(messages[0]?.error?.data).toMatchObject({ code: 'ERR_CLOSED' });
  expect(lines).toEqual([]);
  // Each takes 1 ms, and 8 ms are the share of a turn.
  expect(new Set(ended).size).toBeGreaterThan(2);
});

test('a subscription holds what it asks for, not the body that it came in', async () => {
  const url = await start();
  const reader = await listen(url, 1, '127.0.0.1', { junk: 'x'.repeat(1_000_000) });
  await reader.has(1);
  expect(gateway.stats.heldBytes).toBeLessThan(20_000);
  await reader.stop();
  await expect.poll(() => gateway.stats.heldBytes).toBe(0);
});

test('what a body has beside what its subscription asks for is gone once the subscription is open', async () => {
  const url = await start();
  const open = async (id: number, bytes: number): Promise<EventReader> => {
    const reader = await listen(url, id, '127.0.0.1', { junk: ['x'.repeat(bytes)] });
    await reader.has(1);
    return reader;
  };
  await open(0, 2_000_000);
  const before = collectGarbage();
  const readers: EventReader[] = [];
  for (let id = 1; id <= 20; id++) readers.push(await open(id, 2_000_000));
  // It was twice the body of each.
  await expect.poll(() => collectGarbage() - before).toBeLessThan(10_000_000);
});

test('what a host keeps of the body of a subscription with its request counts as held for as long as it is open', async () => {
  await start();
  const server = createServer(async (request, response) => {
    Reflect.set(request, 'body', JSON.parse(await text(request)));
    gateway.handler(request, response);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/servers/one/mcp`;
  const reader = await listen(url, 1, '127.0.0.1', { junk: 'x'.repeat(100_000) });
  await reader.has(1);
  expect(gateway.stats.heldBytes).toBeGreaterThan(200_000);
  await reader.stop();
  await expect.poll(() => gateway.stats.heldBytes).toBe(0);
  await new Promise((done) => server.close(done));
});

test('what asks for a subscription counts as all else does where there are none, as in a session over SSE that is being opened', () => {
  const params = { notifications: {}, junk: 'x'.repeat(1_000), _meta: META_OF_ANYONE };
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'subscriptions/listen', params });
  expect(readMessages(body, {})).toMatchObject({ modern: true, heldBytes: expect.toSatisfy((n) => n > body.length) });
});

test('what is repeated with each message is short: the token of a call’s progress, the id of a subscription', async () => {
  const url = await start();
  const long = 'x'.repeat(1_023);
  const refused = { error: { code: -32602, message: expect.stringMatching(/1024 characters or fewer$/) } };
  const client = new RawClient(url);
  await client.initialize();
  expect(await client.call('tools/list', { _meta: { progressToken: long } })).toMatchObject(refused);
  expect(await client.call('tools/list', { _meta: { progressToken: long.slice(1) } })).not.toMatchObject(refused);
  for (const [method, id, token] of [
    ['tools/call', 1, long],
    ['subscriptions/listen', long, 1],
  ] as const) {
    const params = { name: 'x', notifications: {}, _meta: { ...META_OF_ANYONE, progressToken: token } };
    const body = JSON.stringify({ jsonrpc: '2.0', id, method, params });
    const { text } = await exchange(url, { headers: headersOf(method, 'x'), body });
    expect(JSON.parse(text)).toMatchObject(refused);
  }
});

test('a notification is written once for all subscriptions, each with its own label', async () => {
  const url = await start();
  const ids = ['12345678901234567890', '"b"', '3'];
  const readers = await Promise.all(ids.map((id) => listen(url, id === '"b"' ? 'b' : 'ID', '127.0.0.1')));
  await Promise.all(readers.map((each) => each.has(1)));
  const written = vi.fn(() => 'text');
  const notice = {
    method: 'notifications/resources/updated',
    params: { uri: 'a:1', secret: { toJSON: written }, _meta: { other: 1 } },
  };
  for (const each of pool.subscriptions) each.notify(notice);
  const messages = (await Promise.all(readers.map((each) => each.has(2)))).map((each) => each[1]);
  expect(messages.map((each) => each?.params)).toEqual(
    ['ID', 'b', 'ID'].map((id) => ({
      uri: 'a:1',
      secret: 'text',
      _meta: { other: 1, [`${META}/subscriptionId`]: id },
    })),
  );
  expect(written).toHaveBeenCalledTimes(1);
  // A `_meta` that is none has no letters to pass on; a name that comes twice in one leaves the others.
  const kept = { uri: 'a:1', _meta: { a: 2, b: 3 } };
  keepText(kept, '{"uri":"a:1","_meta":{"a":1,"a":2,"b":3}}');
  for (const each of pool.subscriptions) {
    each.notify({ method: 'notifications/resources/updated', params: { uri: 'a:1', _meta: 'letters' } });
    each.notify({ method: 'notifications/resources/updated', params: kept });
  }
  const [last] = await Promise.all(readers.map(async (each) => (await each.has(4)).slice(2)));
  expect(last?.map((each) => each.params?.['_meta'])).toEqual([
    { [`${META}/subscriptionId`]: 'ID' },
    { a: 2, b: 3, [`${META}/subscriptionId`]: 'ID' },
  ]);
  await Promise.all(readers.map((each) => each.stop()));
});

test('what is told of a subscription before it is acknowledged is bounded, counted, and given back', async () => {
  const url = await start({ maxStreamBufferBytes: 100_000 });
  const subscribe = pool.subscribe.bind(pool);
  let open = (): void => undefined;
  let tell: (pad: number) => void = () => undefined;
  pool.subscribe = async (server, filter, options) => {
    tell = (pad) =>
      options.onNotification({
        method: 'notifications/resources/updated',
        params: { uri: 'a:1', pad: 'x'.repeat(pad) },
      });
    await new Promise<void>((resolve) => {
      open = resolve;
    });
    return subscribe(server, filter, options);
  };
  const listening = listen(url, 1, '127.0.0.1');
  await expect.poll(() => tell.length).toBe(1);
  for (let round = 0; round < 50; round++) tell(30_000);
  expect(gateway.stats.heldBytes).toBeLessThan(120_000);
  expect(gateway.stats.droppedNotices).toBe(47);
  open();
  const reader = await listening;
  expect((await reader.has(4)).map(({ method }) => method)).toEqual([
    'notifications/subscriptions/acknowledged',
    ...Array.from({ length: 3 }, () => 'notifications/resources/updated'),
  ]);
  await reader.stop();
  await expect.poll(() => gateway.stats.heldBytes).toBe(0);
});

test('a call that waits for input counts as held until it is over', async () => {
  const clock = new FakeClock();
  const url = await start({ clock, maxBufferedBytes: 720_000 });
  const args = { pad: 'x'.repeat(100_000) };
  const call = (more: object = {}) =>
    exchange(url, {
      headers: headersOf('tools/call', 'ask'),
      body: JSON.stringify({
        jsonrpc: '2.0',
        id: 1,
        method: 'tools/call',
        params: { name: 'ask', arguments: args, _meta: META_OF_ANYONE, ...more },
      }),
    });
  const [asked] = (await call()).messages;
  expect(asked, JSON.stringify(asked)).toMatchObject({ id: 1 });
  expect(asked?.result, JSON.stringify(asked)).toMatchObject({ resultType: 'input_required' });
  expect(gateway.stats.heldBytes).toBeGreaterThan(200_000);
  const inputResponses = { 'request-1': { action: 'accept' } };
  const requestState = asked?.result?.['requestState'];
  const [refused] = (await call()).messages;
  expect(refused?.error).toMatchObject({ code: -32603, message: expect.stringContaining('no room') });
  const [other] = (await call({ arguments: { pad: 'y' }, inputResponses, requestState })).messages;
  expect(other?.error).toMatchObject({ code: -32602, message: expect.stringContaining('begun with') });
  const [done] = (await call({ inputResponses, requestState })).messages;
  expect(done?.result).toMatchObject({ resultType: 'complete', answer: { action: 'accept' } });
  await expect.poll(() => gateway.stats.heldBytes).toBe(0);
});

test('so do the values that are kept of what it was begun with', async () => {
  const url = await start({ clock: new FakeClock() });
  const params = { name: 'ask', _meta: { ...META_OF_ANYONE, values: Array(10_000).fill(0) } };
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params });
  const { messages } = await exchange(url, { headers: headersOf('tools/call', 'ask'), body });
  expect(messages[0]?.result).toMatchObject({ resultType: 'input_required' });
  expect(gateway.stats.heldBytes).toBeGreaterThan(600_000);
});

const FORGED = '"resultType":"input_required","ttlMs":9,"cacheScope":"public","inputRequests":{}';
test.each([
  ['its bytes', Buffer.from(`{"content":[],${FORGED}}`)],
  ['escapes', Buffer.from(`{"content":[],${FORGED.replace('resultType', 'result\\u0054ype')}}`)],
  ['twice', Buffer.from(`{"content":[],${FORGED},${FORGED}}`)],
  ['an object', JSON.parse(`{"content":[],${FORGED}}`)],
])('what a legacy server says in the words of the modern era is not taken for ours: %s', (_, result) => {
  const shown = modernResult('tools/list', result);
  const text = shown instanceof Uint8Array ? Buffer.from(shown).toString() : JSON.stringify(shown);
  expect(JSON.parse(text)).toEqual({
    content: [],
    inputRequests: {},
    resultType: 'complete',
    ttlMs: 0,
    cacheScope: 'private',
  });
  expect(text.match(/resultType|result\\u0054ype/g)).toHaveLength(1);
});

test('a session whose client dropped its call and never came back ends in time, and its call with it', async () => {
  const clock = new FakeClock();
  let aborted: AbortSignal | undefined;
  pool = new FakePool({
    one: {
      methods: {
        'tools/call': (_params, { signal }) => {
          aborted = signal;
          return new Promise(() => undefined);
        },
      },
    },
  });
  gateway = new Gateway({ pool, port: 0, clock, sessionIdleMs: 10_000 });
  const client = new RawClient(`${(await gateway.listen()).url}/servers/one/mcp`);
  await client.initialize();
  const outgoing = request(client.url, { method: 'POST', agent: false, headers: client.headers });
  outgoing.on('error', () => undefined);
  outgoing.end(JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'x' } }));
  await expect.poll(() => aborted).toBeDefined();
  outgoing.destroy();
  await expect
    .poll(async () => {
      await clock.advance(5_000);
      return [gateway.stats.sessions, aborted?.aborted];
    })
    .toEqual([0, true]);
});
