import { randomBytes } from 'node:crypto';
import { request } from 'node:http';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { OptionError } from '../../../src/core/errors.js';
import { Gateway } from '../../../src/gateway/Gateway.js';
import type { GatewayOptions } from '../../../src/gateway/GatewayOptions.js';
import { readReplicaMessage } from '../../../src/gateway/replicas/messages.js';
import { RedisEventStore } from '../../../src/gateway/replicas/RedisEventStore.js';
import { RedisReplicas } from '../../../src/gateway/replicas/RedisReplicas.js';
import type { ReplicaLink } from '../../../src/gateway/replicas/ReplicaLink.js';
import type { RequestOptions } from '../../../src/pool/McpPool.js';
import { closeAfter } from '../../support/closeAfter.js';
import { FakePool } from '../../support/FakePool.js';
import { exchange, RawClient } from '../../support/httpClient.js';
import { HAVE_REDIS, TestRedis } from '../../support/redis.js';

// A store starts here, and the machine may be busy.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const KEY = randomBytes(32);
let server: TestRedis;
let redis: Redis;

beforeAll(async () => {
  if (!HAVE_REDIS) return;
  server = await TestRedis.start();
  redis = new Redis({ port: server.port, retryStrategy: () => null });
  await redis.ping();
});

afterAll(async () => {
  redis?.disconnect();
  await server?.[Symbol.asyncDispose]();
});

interface Replica {
  readonly gateway: Gateway;
  readonly pool: FakePool;
  readonly link: RedisReplicas;
  readonly path: string;
}

/** What the tools of all replicas do. */
let call: (options: RequestOptions) => unknown = () => ({ content: [] });
let tools = 1;

async function replica(options: Partial<GatewayOptions> = {}, store = redis): Promise<Replica> {
  const pool = new FakePool({
    one: {
      capabilities: { tools: { listChanged: true }, logging: {}, resources: { subscribe: true } },
      lists: {
        tools: async () =>
          Array.from({ length: tools }, (_, i) => ({ name: `t${i}`, inputSchema: { type: 'object' } })),
      },
      methods: { 'logging/setLevel': () => ({}), 'tools/call': (_, given) => call(given) },
    },
  });
  const link = new RedisReplicas({ redis: store, keyPrefix: `t${expect.getState().currentTestName}:` });
  const gateway = closeAfter(new Gateway({ pool, port: 0, sessionKeys: [KEY], replicas: link, ...options }));
  closeAfter(link);
  const { url } = await gateway.listen();
  await expect.poll(() => redisKnows(link, store)).toBe(true);
  return { gateway, pool, link, path: `${url}/servers/one/mcp` };
}

/** Whether the others can see it. */
async function redisKnows(link: RedisReplicas, store: Redis): Promise<boolean> {
  const keys = await store.keys(`*replica:${link.id}`);
  const [, subscribers] = (await store.pubsub('NUMSUB', `t${expect.getState().currentTestName}:replicas`)) as [
    string,
    number,
  ];
  return keys.length === 1 && subscribers > 0;
}

async function replicas(count: number, options: Partial<GatewayOptions> = {}, store = redis): Promise<Replica[]> {
  const all = await Promise.all(Array.from({ length: count }, () => replica(options, store)));
  const channel = `t${expect.getState().currentTestName}:replicas`;
  await expect.poll(async () => (await store.pubsub('NUMSUB', channel))[1]).toBe(count);
  return all;
}

const open = async ({ path }: Replica, capabilities: object = {}): Promise<RawClient> => {
  const client = new RawClient(path);
  await client.initialize('2025-11-25', capabilities);
  return client;
};

const at = (client: RawClient, { path }: Replica): RawClient => {
  const moved = new RawClient(path);
  moved.sessionId = client.sessionId;
  return moved;
};

const ping = async (client: RawClient): Promise<number> =>
  (await client.send({ jsonrpc: '2.0', id: 1, method: 'ping' })).status;

test.skipIf(!HAVE_REDIS)(
  'a session that was ended at one replica is ended at all, also at one that starts later',
  async () => {
    const [a, b] = (await replicas(2)) as [Replica, Replica];
    const client = await open(a);
    expect(await ping(at(client, b))).toBe(200);
    expect((await exchange(a.path, { method: 'DELETE', headers: client.headers })).status).toBe(200);
    await expect.poll(() => b.gateway.stats.sessions).toBe(0);
    expect(await ping(at(client, b))).toBe(404);
    expect(await ping(at(client, await replica()))).toBe(404);
  },
);

test.skipIf(!HAVE_REDIS)('a changed list reaches the clients of all replicas once, which ask for it anew', async () => {
  const [a, b] = (await replicas(2)) as [Replica, Replica];
  const client = await open({ ...b, path: b.path.replace('/servers/one', '') });
  const listed = async () => JSON.stringify((await client.call('tools/list')).result).split('"name"').length - 1;
  tools = 1;
  expect(await listed()).toBe(1);
  tools = 2;
  expect(await listed()).toBe(1);
  const stream = await client.listen();
  const notice = { method: 'notifications/tools/list_changed' };
  for (let i = 0; i < 5; i++) a.pool.emit('notification', { server: 'one', notice });
  expect(await stream.has(1)).toMatchObject([notice]);
  expect(await listed()).toBe(2);
  // Of a principal that has no one here, and of a server that is not here, nothing is told.
  a.pool.emit('notification', { server: 'one', principal: 'p', notice });
  a.pool.emit('notification', { server: 'two', notice });
  a.pool.emit('notification', { server: 'one', notice: { method: 'notifications/prompts/list_changed' } });
  expect(await stream.has(2)).toMatchObject([notice, { method: 'notifications/prompts/list_changed' }]);
  await stream.stop();
});

test.skipIf(!HAVE_REDIS)('what a client sends to another replica about its call finds the call', async () => {
  const [a, b] = (await replicas(2)) as [Replica, Replica];
  const client = await open(a, { sampling: {} });
  const there = at(client, b);
  let signal: AbortSignal | undefined;
  call = (options) => {
    signal = options.signal;
    return new Promise((_, reject) => options.signal?.addEventListener('abort', () => reject(options.signal?.reason)));
  };
  const cancelled = client.send({ jsonrpc: '2.0', id: 'c', method: 'tools/call', params: { name: 't' } });
  await expect.poll(() => signal !== undefined).toBe(true);
  await there.send({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 'c' } });
  expect((await cancelled).messages).toEqual([]);
  call = async ({ onRequest }) => {
    const asked = { id: 1, method: 'sampling/createMessage', params: { messages: [] } };
    const answer = await onRequest?.(asked, { signal: new AbortController().signal });
    return { content: [{ type: 'text', text: JSON.stringify(answer) }] };
  };
  const messages = new Promise<string>((resolve) => {
    const outgoing = request(a.path, { method: 'POST', headers: client.headers, agent: false }, (incoming) => {
      let text = '';
      incoming.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
        const id = /"id":"(ask-[^"]+)"/.exec(text)?.[1];
        if (id !== undefined && !text.includes('"result"'))
          void there.send({ jsonrpc: '2.0', id, result: { role: 'x' } });
      });
      incoming.on('end', () => resolve(text));
    });
    outgoing.end(JSON.stringify({ jsonrpc: '2.0', id: 7, method: 'tools/call', params: { name: 't' } }));
  });
  expect(await messages).toContain(String.raw`{\"role\":\"x\"}`);
});

test.skipIf(!HAVE_REDIS)('without replicas an answer for another process is refused, not swallowed', async () => {
  const pool = new FakePool({ one: {} });
  const gateway = closeAfter(new Gateway({ pool, port: 0, sessionKeys: [KEY] }));
  const client = await open({ path: `${(await gateway.listen()).url}/servers/one/mcp` } as Replica);
  expect((await client.send({ jsonrpc: '2.0', id: 'ask-01234567-1', result: {} })).status).toBe(400);
  expect((await client.send({ jsonrpc: '2.0', id: 'of no one', result: {} })).status).toBe(202);
});

test.skipIf(!HAVE_REDIS)('a log level and subscriptions of a session hold in every replica', async () => {
  const [a, b] = (await replicas(2)) as [Replica, Replica];
  const client = await open(a);
  await ping(at(client, b));
  await client.call('logging/setLevel', { level: 'debug' });
  await client.call('resources/subscribe', { uri: 'a:1' });
  await client.call('resources/subscribe', { uri: 'a:2' });
  const openAt = ({ pool }: Replica) => pool.subscriptions.filter(({ closed }) => !closed).map(({ uri }) => uri);
  await expect.poll(() => openAt(b)).toEqual(['a:1', 'a:2']);
  await at(client, b).call('resources/unsubscribe', { uri: 'a:1' });
  await expect.poll(() => openAt(a)).toEqual(['a:2']);
  const later = await replica();
  expect(await ping(at(client, later))).toBe(200);
  await expect.poll(() => openAt(later)).toEqual(['a:2']);
  for (const { pool } of [b, later]) {
    expect(pool.calls.filter(({ method }) => method === 'logging/setLevel').map(({ params }) => params)).toEqual([
      { level: 'debug' },
    ]);
  }
});

test.skipIf(!HAVE_REDIS)(
  'of an ended session its end alone stays noted; of one that lives 64 KiB at most',
  async () => {
    const [a] = (await replicas(1)) as [Replica];
    const client = await open(a);
    await client.call('logging/setLevel', { level: 'debug' });
    for (let i = 0; i < 20; i++) await client.call('resources/subscribe', { uri: `a:${i}`.padEnd(8_000, 'x') });
    const keys = async (): Promise<string[]> => redis.keys(`t${expect.getState().currentTestName}:session:*`);
    await expect.poll(keys).toHaveLength(1);
    const [key = ''] = await keys();
    await expect.poll(() => redis.hlen(key)).toBe(9);
    await client.call('resources/unsubscribe', { uri: 'a:0'.padEnd(8_000, 'x') });
    await client.call('resources/subscribe', { uri: 'a:21' });
    await expect.poll(() => redis.hlen(key)).toBe(9);
    expect((await exchange(a.path, { method: 'DELETE', headers: client.headers })).status).toBe(200);
    await expect.poll(() => redis.hkeys(key)).toEqual(['ended']);
  },
);

/** The ids of events of a call's stream, of which only the first was read. */
async function cutCall(client: RawClient, progress: () => Promise<void>): Promise<string> {
  const asked = JSON.stringify({
    jsonrpc: '2.0',
    id: 77,
    method: 'tools/call',
    params: { name: 't', _meta: { progressToken: 1 } },
  });
  const id = new Promise<string>((resolve) => {
    const outgoing = request(client.url, { method: 'POST', headers: client.headers, agent: false }, (incoming) => {
      incoming.setEncoding('utf8').on('data', (chunk: string) => {
        const hit = /^id: (.+)$/m.exec(chunk)?.[1];
        if (hit !== undefined) {
          resolve(hit);
          outgoing.destroy();
        }
      });
      incoming.on('error', () => undefined);
    });
    outgoing.on('error', () => undefined);
    outgoing.end(asked);
  });
  await progress();
  return id;
}

const resume = (client: RawClient, eventId: string) =>
  exchange(client.url, {
    method: 'GET',
    headers: { ...client.headers, accept: 'text/event-stream', 'last-event-id': eventId },
  });

function promised(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve = (): void => undefined;
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}

/** A call that says something, and is answered when it is let. */
function slowCall(): { readonly begun: () => Promise<void>; readonly end: () => void } {
  const [begun, ended] = [promised(), promised()];
  call = async ({ onProgress }) => {
    onProgress?.({ progressToken: 1, progress: 1 });
    begun.resolve();
    await ended.promise;
    return { content: [{ type: 'text', text: 'late' }] };
  };
  return { begun: () => begun.promise, end: () => ended.resolve() };
}

test.skipIf(!HAVE_REDIS)(
  'the stream of a call is read on at another replica, and one whose replica died is told to be lost',
  async () => {
    const eventStore = closeAfter(new RedisEventStore({ redis, keyPrefix: `events ${Math.random()}:` }));
    const [a, b] = (await replicas(2, { eventStore })) as [Replica, Replica];
    const client = await open(a);
    const first = slowCall();
    const eventId = await cutCall(client, first.begun);
    const resumed = resume(at(client, b), eventId);
    first.end();
    expect((await resumed).messages).toMatchObject([{ id: 77, result: { content: [{ text: 'late' }] } }]);
    const stranger = await open(b);
    expect((await resume(stranger, eventId)).status).toBe(400);
    const second = slowCall();
    const lost = await cutCall(client, second.begun);
    await a.link.close();
    const told = await resume(at(client, b), lost);
    expect(told.messages).toMatchObject([
      { id: 77, error: { data: { code: 'ERR_OUTCOME_UNKNOWN', retryable: false } } },
    ]);
    second.end();
  },
);

test.skipIf(!HAVE_REDIS)(
  'without an event store another replica says that the answer is lost, and goes on with the session’s own stream',
  async () => {
    const [a, b] = (await replicas(2)) as [Replica, Replica];
    const client = await open(a);
    const slow = slowCall();
    const eventId = await cutCall(client, slow.begun);
    const told = await resume(at(client, b), eventId);
    expect(told.messages).toMatchObject([{ id: 77, error: { data: { code: 'ERR_OUTCOME_UNKNOWN' } } }]);
    slow.end();
    const own = `g.${a.link.id}_3`;
    const stream = await new Promise<string>((resolve) => {
      const headers = { ...client.headers, accept: 'text/event-stream', 'last-event-id': own };
      const outgoing = request(b.path, { headers, agent: false }, (incoming) => {
        let text = '';
        incoming.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk;
          if (!text.includes('data')) return;
          resolve(text);
          outgoing.destroy();
        });
      });
      outgoing.on('error', () => undefined).end();
      void expect
        .poll(() => b.gateway.stats.streams)
        .toBe(1)
        .then(() =>
          b.pool.emit('notification', { server: 'one', notice: { method: 'notifications/tools/list_changed' } }),
        );
    });
    expect(stream).toContain('tools/list_changed');
  },
);

test.skipIf(!HAVE_REDIS)(
  'while the store is away sessions go on; when it is back, lists count as changed',
  async () => {
    const own = await TestRedis.start();
    closeAfter({ close: () => own[Symbol.asyncDispose]() });
    const store = new Redis({ port: own.port, retryStrategy: () => null });
    const [a, b] = (await replicas(2, {}, store)) as [Replica, Replica];
    store.disconnect();
    const client = await open(a);
    const there = at(client, b);
    const stream = await (await open(b)).listen();
    await own.stop();
    expect(await ping(there)).toBe(200);
    expect((await exchange(a.path, { method: 'DELETE', headers: client.headers })).status).toBe(200);
    await own.start();
    const kinds = ['prompts', 'resources', 'tools'].map((kind) => `notifications/${kind}/list_changed`);
    await stream.has(3);
    expect(stream.messages.map(({ method }) => method).sort()).toEqual(kinds);
    await stream.stop();
  },
);

test('an answer to a question of another process goes to the one that asked, if it is there, and is read by no other', async () => {
  const told: string[] = [];
  const asked: string[] = [];
  const link: ReplicaLink = {
    id: '0a1b2c3d',
    publish: (message) => void told.push(message),
    listen: () => ({ [Symbol.dispose]: () => undefined }),
    note: async () => undefined,
    notes: async () => ({}),
    isAlive: async (replica) => {
      asked.push(replica);
      return replica === '11111111';
    },
  };
  const pool = new FakePool({ one: {} });
  const gateway = closeAfter(new Gateway({ pool, port: 0, sessionKeys: [KEY], replicas: link }));
  const client = await open({ path: `${(await gateway.listen()).url}/servers/one/mcp` } as Replica);
  const ids = ['ask-deadbeef-1', 'ask-0a1b2c3d-1', 'ask-11111111-1'];
  for (const id of ids) expect((await client.send({ jsonrpc: '2.0', id, result: { x: 1 } })).status).toBe(202);
  await expect.poll(() => told.length).toBe(1);
  // Once more behind it: by then it was read.
  expect(asked).toEqual(['deadbeef', '11111111', '11111111']);
  const [text = ''] = told;
  expect(readReplicaMessage(text, '11111111')).toMatchObject({ type: 'answered', id: ids[2], result: { x: 1 } });
  expect(readReplicaMessage(text, '22222222')).toBeUndefined();
  expect(readReplicaMessage('{"type":"answered","key":"k"}', '22222222')).toEqual({ type: 'answered', key: 'k' });
});

test('while the store does not answer, what clients answer for other replicas is bounded; the rest is not told', async () => {
  const told: string[] = [];
  const asked: (() => void)[] = [];
  const link: ReplicaLink = {
    id: '0a1b2c3d',
    publish: (message) => void told.push(message),
    listen: () => ({ [Symbol.dispose]: () => undefined }),
    note: async () => undefined,
    notes: async () => ({}),
    isAlive: () => new Promise((resolve) => void asked.push(() => resolve(true))),
  };
  const pool = new FakePool({ one: {} });
  const gateway = closeAfter(new Gateway({ pool, port: 0, sessionKeys: [KEY], replicas: link }));
  const client = await open({ path: `${(await gateway.listen()).url}/servers/one/mcp` } as Replica);
  const answer = { jsonrpc: '2.0', id: 'ask-11111111-1', result: { x: 'x'.repeat(3 * 1_024 * 1_024) } };
  for (let at = 0; at < 6; at++) expect((await client.send(answer)).status).toBe(202);
  expect(asked.length).toBeGreaterThan(0);
  expect(asked.length).toBeLessThan(4);
  const { length } = asked;
  for (const found of asked.splice(0)) found();
  await expect.poll(() => [told.length, asked.length]).toEqual([length, length]);
  // There is room again once it has read what it was told.
  for (const read of asked.splice(0)) read();
  expect((await client.send(answer)).status).toBe(202);
  expect(asked.length).toBe(1);
  // What cannot be written is not told; its client is answered all the same.
  const deep = `{"jsonrpc":"2.0","id":"ask-11111111-1","result":{"a":${'['.repeat(200_000)}${']'.repeat(200_000)}}}`;
  expect((await exchange(client.url, { method: 'POST', headers: client.headers, body: deep })).status).toBe(202);
  expect(asked.length).toBe(1);
});

test('a link that throws, rejects or says what is none costs no client anything', async () => {
  const heard: ((message: string) => void)[] = [];
  const broken = (): never => {
    throw new Error('broken');
  };
  const link: ReplicaLink = {
    id: '0a1b2c3d',
    publish: broken,
    listen: (onMessage) => {
      heard.push(onMessage);
      return { [Symbol.dispose]: () => undefined };
    },
    note: broken,
    notes: broken,
    isAlive: broken,
  };
  const pool = new FakePool({ one: { methods: { 'logging/setLevel': () => ({}) } } });
  const first = closeAfter(new Gateway({ pool, port: 0, sessionKeys: [KEY], replicas: link }));
  const second = closeAfter(
    new Gateway({
      pool,
      port: 0,
      sessionKeys: [KEY],
      replicas: { ...link, notes: async () => ({ level: 'bad', 'uri x': '1', odd: '' }) },
    }),
  );
  const client = await open({ path: `${(await first.listen()).url}/servers/one/mcp` } as Replica);
  const there = at(client, { path: `${(await second.listen()).url}/servers/one/mcp` } as Replica);
  expect((await client.call('logging/setLevel', { level: 'info' })).result).toEqual({});
  pool.emit('notification', { server: 'one', notice: { method: 'notifications/tools/list_changed' } });
  for (const message of [
    '',
    '{',
    '[]',
    '{"type":"odd"}',
    '{"type":"ended"}',
    '{"type":"ended","key":7}',
    '{"type":"cancelled","key":"k","id":"1"}',
    '{"type":"__proto__"}',
    '{"type":"set","key":"k","name":"n","text":1}',
  ]) {
    for (const hear of heard) hear(message);
  }
  await client.send({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 1 } });
  await client.send({ jsonrpc: '2.0', id: 'ask-00000000-1', result: {} });
  expect([await ping(there), await ping(client)]).toEqual([200, 200]);
  expect((await resume(client, `c1.00000000.${Buffer.from('5').toString('hex')}_1`)).messages).toMatchObject([
    { id: 5 },
  ]);
  expect((await exchange(client.url, { method: 'DELETE', headers: client.headers })).status).toBe(200);
  for (const replicas of [{}, { ...link, id: 'x' }, { ...link, notes: 1 }]) {
    expect(() => new Gateway({ pool, replicas: replicas as never })).toThrow(OptionError);
  }
});
