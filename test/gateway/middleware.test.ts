import { expect, test, vi } from 'vitest';
import { ChainRuns } from '../../src/connection/calls/ChainRuns.js';
import type { CallChanges, MiddlewareCall } from '../../src/connection/calls/Middleware.js';
import { MiddlewareChain } from '../../src/connection/calls/MiddlewareChain.js';
import { Inbound, throughChain } from '../../src/connection/calls/throughChain.js';
import { keepText, textOf } from '../../src/connection/channel/codec/exactText.js';
import { systemClock } from '../../src/core/clock.js';
import { OptionError } from '../../src/core/errors.js';
import { silentLogger } from '../../src/core/logger.js';
import { inTurnOrNow } from '../../src/core/time/turns.js';
import { Gateway } from '../../src/gateway/Gateway.js';
import { approve } from '../../src/middleware/ready/approve.js';
import { cache } from '../../src/middleware/ready/cache.js';
import { coalesce } from '../../src/middleware/ready/coalesce.js';
import { Pins } from '../../src/middleware/ready/Pins.js';
import { UnifiedPool } from '../../src/pool/UnifiedPool.js';
import { FakeServer } from '../../src/testing/fake/FakeServer.js';
import { closeAfter } from '../support/closeAfter.js';
import { countTurns } from '../support/countTurns.js';
import { FakePool } from '../support/FakePool.js';
import { exchange, RawClient } from '../support/httpClient.js';

const MODERN = {
  'content-type': 'application/json',
  accept: 'application/json, text/event-stream',
  'mcp-protocol-version': '2026-07-28',
  'mcp-method': 'tools/list',
};
const LIST = {
  jsonrpc: '2.0',
  id: 1,
  method: 'tools/list',
  params: {
    _meta: {
      'io.modelcontextprotocol/protocolVersion': '2026-07-28',
      'io.modelcontextprotocol/clientInfo': { name: 't', version: '1' },
      'io.modelcontextprotocol/clientCapabilities': {},
    },
  },
};
const RESULT = '{"n":12345678901234567890,"content":[]}';

const served = async (result = RESULT) => {
  const pool = new FakePool({
    a: {
      capabilities: { tools: { listChanged: true }, logging: {}, resources: { subscribe: true } },
      lists: { tools: [{ name: 'one', inputSchema: { type: 'object' } }] },
      methods: {
        'tools/call': async (_params, options) => {
          options.onNotification?.({ method: 'notifications/message', params: { level: 'info', data: 'secret' } });
          return Buffer.from(result);
        },
      },
    },
  });
  const gateway = closeAfter(new Gateway({ pool, port: 0 }));
  const { url } = await gateway.listen();
  return { pool, gateway, url };
};

test('the middleware of a gateway stands around what its clients ask and hear, lists and names as they see them', async () => {
  const { pool, gateway, url } = await served();
  const seen: Partial<MiddlewareCall>[] = [];
  gateway.use(async (call, next) => {
    const { from, kind, server, method, tool } = call;
    seen.push({ from, kind, server, method, tool });
    if (method === 'tools/list') {
      const list = await next();
      const { tools } = list.value as { tools: { name: string }[] };
      return list.with({ tools: tools.filter(({ name }) => name !== 'a__hidden') });
    }
    if (method === 'notifications/message') return next({ params: { level: 'info', data: 'redacted' } });
    return next();
  });
  const all = new RawClient(`${url}/mcp`);
  await all.initialize();
  expect((await all.call('tools/list')).result).toMatchObject({ tools: [{ name: 'a__one' }] });
  const reply = await all.send({ jsonrpc: '2.0', id: 9, method: 'tools/call', params: { name: 'a__one' } });
  expect(reply.text).toContain(RESULT);
  expect(reply.text).toContain('redacted');
  expect(reply.text).not.toContain('secret');
  expect(seen).toEqual([
    { from: 'client', kind: 'request', server: undefined, method: 'initialize', tool: undefined },
    { from: 'client', kind: 'request', server: undefined, method: 'tools/list', tool: undefined },
    { from: 'client', kind: 'request', server: 'a', method: 'tools/call', tool: 'a__one' },
    { from: 'server', kind: 'notification', server: 'a', method: 'notifications/message', tool: undefined },
  ]);
  expect(pool.calls.at(-1)?.params).toEqual({ name: 'one' });
});

test('middleware is told from where a client without a user asks, in both eras', async () => {
  const { gateway, url } = await served();
  const origins: (string | undefined)[] = [];
  gateway.use((call, next) => {
    origins.push(call.caller?.origin);
    return next();
  });
  const legacy = new RawClient(`${url}/mcp`);
  await legacy.initialize();
  await legacy.call('tools/list');
  expect((await exchange(`${url}/mcp`, { headers: MODERN, body: JSON.stringify(LIST) })).status).toBe(200);
  // One of them is the handshake.
  expect(origins).toEqual(['127.0.0.1', '127.0.0.1', '127.0.0.1']);
});

test.each(['/servers/a/mcp', '/mcp'])('times that middleware gives bound what goes to a server: %s', async (path) => {
  const upstream = closeAfter(new FakeServer({ era: 'legacy', tools: { one: { serviceMs: 600_000 } } }));
  const pool = closeAfter(new UnifiedPool({ ledger: false }));
  pool.addServer({ name: 'a', transport: 'http', url: (await upstream.listen()).url });
  const gateway = closeAfter(new Gateway({ pool, port: 0 }));
  let changes: CallChanges = {};
  gateway.use((call, next) => (call.method === 'tools/call' ? next(changes) : next()));
  const client = new RawClient((await gateway.listen()).url + path);
  await client.initialize();
  const failed = async (given: CallChanges): Promise<unknown> => {
    changes = given;
    const { error } = await client.call('tools/call', { name: path === '/mcp' ? 'a__one' : 'one', arguments: {} });
    return error?.['data'];
  };
  expect(await failed({ timeoutMs: 20 })).toMatchObject({ code: 'ERR_REQUEST_TIMEOUT' });
  // On a busy machine it is over before the call was sent.
  const late = expect.stringMatching(/^ERR_(REQUEST|ACQUIRE)_TIMEOUT$/);
  expect(await failed({ deadlineMs: 20 })).toMatchObject({ code: late });
  for (const bad of [{ timeoutMs: -5 }, { deadlineMs: Number.NaN }]) {
    expect(await failed(bad)).toMatchObject({ code: 'ERR_OPTION' });
  }
});

test('where three tools stand for all, middleware sees the tool that is called, and no call gets past it', async () => {
  const { pool } = await served();
  const gateway = closeAfter(new Gateway({ pool, port: 0, curation: { expose: 'search' } }));
  const { url } = await gateway.listen();
  gateway.use(approve({ decide: ({ tool }) => (tool === 'a__one' ? 'deny' : 'allow') }));
  const refused = { error: { data: { code: 'ERR_FORBIDDEN' } } };
  const all = new RawClient(`${url}/mcp`);
  await all.initialize();
  const call = { name: 'a__one', arguments: { n: 1 } };
  expect(await all.call('tools/call', call)).toMatchObject(refused);
  expect(await all.call('tools/call', { name: 'call_tool', arguments: call })).toMatchObject(refused);
  const twice = { name: 'call_tool', arguments: { name: 'call_tool', arguments: call } };
  expect(await all.call('tools/call', twice)).toMatchObject({ error: { message: 'unknown tool: call_tool' } });
  const unnamed = await all.call('tools/call', { name: 'call_tool', arguments: {} });
  expect(unnamed.error?.message).toContain('name is the name of a tool');
  expect(pool.calls.filter(({ method }) => method === 'tools/call')).toEqual([]);
  const found = await all.call('tools/call', { name: 'search_tools', arguments: { query: 'one' } });
  expect(JSON.stringify(found.result)).toContain('a__one');
});

test('what middleware decides by is what the server gets, however deep a name comes twice', async () => {
  const { pool, gateway, url } = await served();
  gateway.use(approve({ decide: ({ params }) => (JSON.stringify(params).includes('evil') ? 'deny' : 'allow') }));
  const client = new RawClient(`${url}/servers/a/mcp`);
  await client.initialize();
  const sent = async (given: string): Promise<string | undefined> => {
    const params = `{"name":"one","arguments":${given}}`;
    const body = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":${params}}`;
    expect((await exchange(client.url, { headers: client.headers, body })).text).toContain(RESULT);
    const call = pool.calls.at(-1);
    const text = call?.options.paramsText ?? JSON.stringify(call?.params);
    return text.slice('{"name":"one","arguments":'.length, -1);
  };
  const pad = 'x'.repeat(100_000);
  const many = Array.from({ length: 20 }, (_, at) => `"k${at}":${at}`).join(',');
  for (const [given, gets] of [
    ['{"text":"evil","text":"ok","n":1.0}', '{"text":"ok","n":1}'],
    ['{"o":{"text":"evil"},"o":1}', '{"o":1}'],
    ['{"list":[{"a":1},{"text":"evil","t\\u0065xt":2}]}', '{"list":[{"a":1},{"text":2}]}'],
    [`{"k3":"evil",${many},"pad":"${pad}"}`, `{"k3":3,${many.replace('"k3":3,', '')},"pad":"${pad}"}`],
    ['{"text":{"text":{"text":1.0}},"more":["text","text"]}', undefined],
    [`{${many},"n":{"k0":1.0,${many.slice(7)}},"pad":"${pad}"}`, undefined],
  ] as const) {
    expect(await sent(given)).toBe(gets ?? given);
  }
});

test('the same of results: where a name comes twice in one that middleware looked at, clients get what it saw', async () => {
  const result = '{"n":1.0,"content":[{"type":"text","text":"evil","text":"ok"}]}';
  const { gateway, url } = await served(result);
  const client = new RawClient(`${url}/servers/a/mcp`);
  await client.initialize();
  const got = async (): Promise<string> => {
    const body = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"one"}}';
    return (await exchange(client.url, { headers: client.headers, body })).text;
  };
  expect(await got()).toContain(result);
  const looking = gateway.use(async (_call, next) => {
    const given = await next();
    expect(JSON.stringify(given.value)).not.toContain('evil');
    return given;
  });
  expect(await got()).toContain('{"n":1,"content":[{"type":"text","text":"ok"}]}');
  looking[Symbol.dispose]();
  gateway.use(async (_call, next) => {
    const given = await next();
    return given.with({ ...(given.value as object), more: 1 });
  });
  expect(await got()).toContain('{"n":1,"content":[{"type":"text","text":"ok"}],"more":1}');
});

test('the same of what is told and asked: a name that comes twice goes on as middleware sees it', async () => {
  const chain = new MiddlewareChain();
  const seen: unknown[] = [];
  chain.use(async (call, next) => {
    const result = await next();
    seen.push(call.params, result.value);
    return result;
  });
  const party = { server: 'a', caller: undefined, era: () => undefined };
  const inbound = new Inbound(chain, party, silentLogger);
  const of = (json: string): Record<string, unknown> => {
    const value = JSON.parse(json) as Record<string, unknown>;
    keepText(value, json);
    return value;
  };
  const twice = '{"n":1.0,"o":{"text":"evil","text":"ok"}}';
  const once = '{"n":1.0,"o":{"text":"ok"}}';
  const told: unknown[] = [];
  for (const json of [twice, once]) {
    inbound.notice({ method: 'x', params: of(json) }, ({ params }) => told.push(textOf(params)));
    const { signal } = new AbortController();
    const answer = await inbound.ask('y', of(json), signal, async (params) => {
      told.push(textOf(params));
      return of(json);
    });
    told.push(textOf(answer));
  }
  expect(told).toEqual([undefined, undefined, undefined, once, once, once]);
  expect(seen).toHaveLength(8);
});

test('coalesce keeps the paths of a gateway apart; a cache stands around pools alone, and says so', async () => {
  const { pool } = await served();
  pool.add('b', { lists: { tools: [{ name: 'two', inputSchema: { type: 'object' } }] } });
  const curation = { groups: { safe: { servers: ['a'] } } };
  const gateway = closeAfter(new Gateway({ pool, port: 0, curation }));
  const { url } = await gateway.listen();
  const asked: unknown[] = [];
  const answered: unknown[] = [];
  let arrived: () => void = () => undefined;
  let all = new Promise<void>((resolve) => {
    arrived = resolve;
  });
  gateway.use((call, next) => {
    if (asked.push(call.path) % 2 === 0) queueMicrotask(arrived);
    return next();
  });
  gateway.use(coalesce());
  expect(() => gateway.use(cache())).toThrow('cache stands around a pool');
  expect(() => gateway.use(new Pins().middleware)).toThrow(OptionError);
  const inner = cache({ ttlMs: () => 60_000 });
  gateway.use((call, next) => inner(call, next));
  gateway.use(async (call, next) => {
    answered.push(call.path);
    await all;
    return next();
  });
  const listed = async (path: string): Promise<string> =>
    (await exchange(`${url}${path}`, { headers: MODERN, body: JSON.stringify(LIST) })).text;
  for (let times = 0; times < 2; times++) {
    const [both = '', safe = ''] = await Promise.all(['/mcp', '/groups/safe/mcp'].map(listed));
    expect(both).toContain('"b__two"');
    expect(safe).toContain('"a__one"');
    expect(safe).not.toContain('b__two');
    all = Promise.resolve();
  }
  expect(asked.toSorted()).toEqual(['/groups/safe/mcp', '/groups/safe/mcp', '/mcp', '/mcp']);
  expect(answered.toSorted()).toEqual(asked.toSorted());
});

test('coalesce joins no calls of clients whose numbers only their text tells apart, also where middleware changed them', async () => {
  const { gateway, url } = await served();
  const written = ['1.0000000000000000001', '1', '1.0000000000000000001', '1'];
  let together = 0;
  const all = new Promise<void>((resolve) => {
    gateway.use((call, next) => {
      if (++together === written.length) setImmediate(resolve);
      return next({ params: { ...call.params, added: true } });
    });
  });
  let sent = 0;
  gateway.use(coalesce({ when: ({ method }) => method === 'tools/call' }));
  gateway.use(async (_, next) => {
    sent++;
    await all;
    return next();
  });
  const { _meta } = LIST.params;
  const answers = await Promise.all(
    written.map((number) => {
      const params = `{"name":"a__one","_meta":${JSON.stringify(_meta)},"arguments":{"n":${number}}}`;
      const headers = { ...MODERN, 'mcp-method': 'tools/call', 'mcp-name': 'a__one' };
      return exchange(`${url}/mcp`, {
        headers,
        body: `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":${params}}`,
      });
    }),
  );
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
  expect(sent).toBe(2);
});

test('what a session hears by itself keeps its order through slow middleware, and what fails there is not heard', async () => {
  const { pool, gateway, url } = await served();
  gateway.use(async (call, next) => {
    if (call.from === 'client') return next();
    await new Promise((resolve) => setImmediate(resolve));
    if (call.params?.['uri'] === 'x:2') throw new Error('planted');
    return next();
  });
  const client = new RawClient(`${url}/servers/a/mcp`);
  await client.initialize();
  const stream = await client.listen();
  for (const uri of ['x:1', 'x:2', 'x:3']) await client.call('resources/subscribe', { uri });
  for (const each of pool.subscriptions) {
    each.notify({ method: 'notifications/resources/updated', params: { uri: each.uri } });
  }
  pool.emit('notification', { server: 'a', notice: { method: 'notifications/tools/list_changed' } });
  await vi.waitFor(() => expect(stream.messages.length).toBe(3));
  expect(stream.messages.map(({ method, params }) => params?.['uri'] ?? method)).toEqual([
    'x:1',
    'x:3',
    'notifications/tools/list_changed',
  ]);
});

test('middleware that never ends keeps no gateway from closing: its calls are answered when the grace is over', async () => {
  const { gateway, url } = await served();
  let held = 0;
  gateway.use((call, next) => {
    if (call.method !== 'tools/call') return next();
    held++;
    return new Promise<never>(() => undefined);
  });
  const one = new RawClient(`${url}/servers/a/mcp`);
  await one.initialize();
  const call = one.call('tools/call', { name: 'one' });
  await expect.poll(() => held).toBe(1);
  await gateway.close({ graceMs: 50 });
  expect((await call).error).toBeDefined();
});

test('large params that middleware has changed are written anew in a turn that has room for it', async () => {
  const chain = new MiddlewareChain();
  using turns = countTurns();
  const seen: unknown[] = [];
  chain.use(async ({ params }, next) => {
    await inTurnOrNow(() => {
      for (const endMs = performance.now() + 10; performance.now() < endMs; );
    });
    seen.push(turns.count);
    return next({ params: { ...params, x: 1 } });
  });
  const params = { long: 'x'.repeat(100_000) };
  const origin = { kind: 'request', from: 'client', server: 's', method: 'm', caller: undefined } as const;
  await throughChain(
    { chain, runs: new ChainRuns(systemClock), logger: silentLogger },
    { ...origin, idempotent: false, era: () => undefined },
    params,
    { paramsText: JSON.stringify(params) },
    async (own, { paramsText = '' }) => {
      seen.push(turns.count);
      expect(JSON.parse(paramsText)).toEqual(own);
      return {};
    },
  );
  expect(seen[1]).toBeGreaterThan(seen[0] as number);
});
