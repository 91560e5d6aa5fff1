import { afterEach, beforeEach, expect, test } from 'vitest';
import { messageOf, OptionError, RequestTimeoutError, RpcError, StartError } from '../../src/core/errors.js';
import { Gateway } from '../../src/gateway/Gateway.js';
import type { GatewayOptions } from '../../src/gateway/GatewayOptions.js';
import { FakePool } from '../support/FakePool.js';
import { RawClient } from '../support/httpClient.js';

const tool = (name: string) => ({ name, inputSchema: { type: 'object' } });
const echo = (params: unknown) => ({ content: [{ type: 'text', text: JSON.stringify(params) }] });

let pool: FakePool;
let gateway: Gateway | undefined;

const start = async (options: Partial<GatewayOptions> = {}): Promise<string> => {
  gateway = new Gateway({ pool, port: 0, ...options });
  return (await gateway.listen()).url;
};

const connect = async (url: string, protocolVersion?: string): Promise<RawClient> => {
  const client = new RawClient(url);
  await client.initialize(protocolVersion);
  return client;
};

beforeEach(() => {
  pool = new FakePool({
    one: { lists: { tools: [tool('echo'), tool('add')] }, methods: { 'tools/call': echo }, instructions: 'be kind' },
    'two b': {
      lists: { tools: [tool('echo')], prompts: [{ name: 'greet' }] },
      methods: { 'tools/call': echo, 'prompts/get': echo, 'completion/complete': echo },
      capabilities: { tools: {}, prompts: {}, completions: {} },
    },
  });
});

afterEach(async () => {
  await gateway?.close();
  gateway = undefined;
  expect(pool.listeners('notification') + pool.listeners('started')).toBe(0);
});

test('the version the client asks for is spoken if it is known, else the newest', async () => {
  const url = await start();
  for (const version of ['2025-11-25', '2025-06-18', '2025-03-26', '2024-11-05']) {
    expect((await new RawClient(`${url}/mcp`).initialize(version)).result?.['protocolVersion']).toBe(version);
  }
  for (const version of ['2026-07-28', 'x']) {
    expect((await new RawClient(`${url}/mcp`).initialize(version)).result?.['protocolVersion']).toBe('2025-11-25');
  }
});

test('the aggregate has what its servers have, the path of one server is that server', async () => {
  const url = await start();
  const all = (await new RawClient(`${url}/mcp`).initialize()).result;
  expect(all).toMatchObject({
    capabilities: { tools: { listChanged: true }, prompts: { listChanged: true }, completions: {} },
    serverInfo: { name: 'mcp-poolkit' },
    instructions: '# one\n\nbe kind',
  });
  const one = (await new RawClient(`${url}/servers/one/mcp`).initialize()).result;
  expect(one).toMatchObject({ capabilities: { tools: {} }, serverInfo: { name: 'one' }, instructions: 'be kind' });
  expect((await new RawClient(`${url}/servers/two%20b/mcp`).initialize()).result?.['serverInfo']).toMatchObject({
    name: 'two b',
  });
});

test('tools and prompts of all servers are listed under one roof and calls reach their server', async () => {
  const client = await connect(`${await start()}/mcp`);
  const names = async (kind: 'tools' | 'prompts') =>
    ((await client.call(`${kind}/list`)).result?.[kind] as { name: string }[] | undefined)?.map(({ name }) => name);
  expect(await names('tools')).toEqual(['one__echo', 'one__add', 'two_b-6168c36c__echo']);
  expect(await names('prompts')).toEqual(['two_b-6168c36c__greet']);
  pool.calls.length = 0;
  await client.call('tools/call', { name: 'two_b-6168c36c__echo', arguments: { a: 1 } });
  await client.call('prompts/get', { name: 'two_b-6168c36c__greet' });
  await client.call('completion/complete', {
    ref: { type: 'ref/prompt', name: 'two_b-6168c36c__greet' },
    argument: {},
  });
  expect(pool.calls.map(({ server, method, params }) => [server, method, params])).toEqual([
    ['two b', 'tools/call', { name: 'echo', arguments: { a: 1 } }],
    ['two b', 'prompts/get', { name: 'greet' }],
    ['two b', 'completion/complete', { ref: { type: 'ref/prompt', name: 'greet' }, argument: {} }],
  ]);
  expect(await client.call('tools/call', { name: 'one__none' })).toMatchObject({
    error: { code: -32_602, message: 'unknown tool: one__none' },
  });
  expect(await client.call('resources/list')).toMatchObject({ result: { resources: [] } });
  expect(await client.call('tools/list', { cursor: '' })).toMatchObject({ error: { code: -32_602 } });
});

test('a list is asked for once, and again after its server says that it changed', async () => {
  const client = await connect(`${await start()}/mcp`);
  const listings = () => pool.calls.filter(({ method }) => method === 'tools/list').length;
  await Promise.all([client.call('tools/list'), client.call('tools/list'), client.call('tools/list')]);
  expect(listings()).toBe(2);
  pool.emit('notification', { server: 'one', notice: { method: 'notifications/tools/list_changed' } });
  await client.call('tools/list');
  await client.call('tools/call', { name: 'one__echo' });
  expect(listings()).toBe(3);
});

test('a server that cannot be listed is left out, and is there when it can', async () => {
  let broken = true;
  const lists = {
    tools: async () => {
      if (broken) throw new StartError('bad', 'it exited');
      return [tool('late')];
    },
  };
  pool = new FakePool({ one: { lists: { tools: [tool('echo')] } }, bad: { lists, methods: { 'tools/call': echo } } });
  const client = await connect(`${await start()}/mcp`);
  expect((await client.call('tools/list')).result?.['tools']).toHaveLength(1);
  broken = false;
  expect((await client.call('tools/call', { name: 'bad__late' })).result).toBeDefined();
  expect((await client.call('tools/list')).result?.['tools']).toHaveLength(2);
});

test('a call of a server that cannot be listed is told why, and is no unknown tool', async () => {
  let why: Error = new StartError('bad', 'password=secret');
  const lists = { tools: () => Promise.reject(why) };
  pool = new FakePool({ one: { lists: { tools: [tool('echo')] } }, bad: { lists, methods: { 'tools/call': echo } } });
  const client = await connect(`${await start()}/mcp`);
  const called = async () => (await client.call('tools/call', { name: 'bad__late' })).error;
  expect(await called()).toEqual({
    code: -32_603,
    message: 'server "bad" did not start',
    data: { code: 'ERR_START_FAILED', retryable: true },
  });
  // A list that timed out says nothing of the call, which was never sent.
  why = new RequestTimeoutError('bad', 'tools/list', 10);
  expect(await called()).toMatchObject({ data: { code: 'ERR_NOT_SENT', retryable: true } });
  why = new RpcError('bad', -32_000, 'no database');
  expect(await called()).toMatchObject({
    message: expect.stringContaining('its tools could not be listed'),
    data: { code: 'ERR_NOT_SENT' },
  });
  expect(pool.calls.some(({ method }) => method === 'tools/call')).toBe(false);
});

test('a server that was removed is gone from the list, one that was added is there', async () => {
  const client = await connect(`${await start()}/mcp`);
  const names = async () =>
    ((await client.call('tools/list')).result?.['tools'] as { name: string }[] | undefined) ?? [];
  expect(await names()).toHaveLength(3);
  pool.remove('one');
  expect(await names()).toHaveLength(1);
  pool.add('three', { lists: { tools: [tool('echo')] } });
  expect(await names()).toHaveLength(2);
});

test('a result goes through byte for byte, whatever numbers are in it', async () => {
  const bytes = Buffer.from('{"big":12345678901234567890,"z" : 1.0}');
  pool = new FakePool({ one: { methods: { 'tools/call': () => bytes } } });
  const client = await connect(`${await start()}/servers/one/mcp`);
  const { text } = await client.send({ jsonrpc: '2.0', id: 'a', method: 'tools/call', params: {} });
  expect(text).toBe(`{"jsonrpc":"2.0","id":"a","result":${bytes}}`);
});

test("a server's own error goes through as it came, ours is -32603 with its code", async () => {
  pool = new FakePool({
    one: {
      methods: {
        'tools/call': () => Promise.reject(new RpcError('one', -32_042, 'go there', { url: 'x' })),
        'resources/read': () => Promise.reject(new StartError('one', 'it exited')),
        'prompts/get': () => Promise.reject(new Error('secret detail')),
      },
    },
  });
  const client = await connect(`${await start()}/servers/one/mcp`);
  expect((await client.call('tools/call')).error).toEqual({ code: -32_042, message: 'go there', data: { url: 'x' } });
  expect((await client.call('resources/read')).error).toMatchObject({
    code: -32_603,
    data: { code: 'ERR_START_FAILED', retryable: true },
  });
  expect((await client.call('prompts/get')).error).toEqual({ code: -32_603, message: 'internal error' });
  expect((await client.call('what/ever')).error).toMatchObject({ code: -32_601 });
});

test('progress comes on the stream of its call, under the token of the client, the answer last', async () => {
  const slow = (
    _: unknown,
    options: { onProgress?: (progress: { progressToken: number; progress: number }) => void },
  ) => {
    options.onProgress?.({ progressToken: 99, progress: 1 });
    options.onProgress?.({ progressToken: 99, progress: 2 });
    return { done: true };
  };
  pool = new FakePool({ one: { methods: { 'tools/call': slow } } });
  const client = await connect(`${await start()}/servers/one/mcp`);
  const params = { name: 'x', _meta: { progressToken: 'mine' } };
  const { headers, messages } = await client.send({ jsonrpc: '2.0', id: 7, method: 'tools/call', params });
  expect(headers['content-type']).toBe('text/event-stream');
  expect(messages).toEqual([
    { jsonrpc: '2.0', method: 'notifications/progress', params: { progressToken: 'mine', progress: 1 } },
    { jsonrpc: '2.0', method: 'notifications/progress', params: { progressToken: 'mine', progress: 2 } },
    { jsonrpc: '2.0', id: 7, result: { done: true } },
  ]);
  const plain = await client.send(
    { jsonrpc: '2.0', id: 8, method: 'tools/call', params },
    { accept: 'application/json' },
  );
  expect(plain.messages).toEqual([{ jsonrpc: '2.0', id: 8, result: { done: true } }]);
  expect((await client.send({ jsonrpc: '2.0', id: 9, method: 'ping' })).headers['content-type']).toBe(
    'application/json',
  );
});

test('a cancelled call is cancelled upstream and not answered; others of the session go on', async () => {
  let aborted: unknown;
  const started: (() => void)[] = [];
  pool = new FakePool({
    one: {
      methods: {
        'tools/call': (params, { signal }) =>
          new Promise((resolve) => {
            started.push(() => resolve({ name: params?.['name'] }));
            signal?.addEventListener('abort', () => (aborted = [params?.['name'], messageOf(signal.reason)]));
          }),
      },
    },
  });
  const client = await connect(`${await start()}/servers/one/mcp`);
  const first = client.send({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'first' } });
  const second = client.send({ jsonrpc: '2.0', id: 2, method: 'tools/call', params: { name: 'second' } });
  await expect.poll(() => started.length).toBe(2);
  expect((await client.call('tools/call', { name: 'again' }, 1)).error).toMatchObject({ code: -32_600 });
  const params = { requestId: 1, reason: 'the user went home' };
  expect((await client.send({ jsonrpc: '2.0', method: 'notifications/cancelled', params })).status).toBe(202);
  expect(await first).toMatchObject({ status: 200, messages: [] });
  expect(aborted).toEqual(['first', 'the user went home']);
  for (const finish of started) finish();
  expect((await second).messages).toEqual([{ jsonrpc: '2.0', id: 2, result: { name: 'second' } }]);
});

test('an array of messages is answered by an array, in the one version that has them', async () => {
  const url = `${await start()}/servers/one/mcp`;
  const client = await connect(url, '2025-03-26');
  const batch = [
    { jsonrpc: '2.0', id: 1, method: 'ping' },
    { jsonrpc: '2.0', method: 'notifications/x' },
    { jsonrpc: '2.0', id: 2, method: 'tools/call', params: { a: 1 } },
    { jsonrpc: '1.0', id: 3, method: 'ping' },
  ];
  const { messages, text } = await client.send(batch);
  expect(text.startsWith('[')).toBe(true);
  expect([...messages].sort((a, b) => Number(a.id) - Number(b.id))).toMatchObject([
    { id: 1, result: {} },
    { id: 2, result: {} },
    { id: 3, error: { code: -32_600 } },
  ]);
  expect((await client.send([])).status).toBe(400);
  expect((await client.send([{ jsonrpc: '2.0', method: 'notifications/x' }])).status).toBe(202);
  const newer = await connect(url);
  expect((await newer.send(batch)).status).toBe(400);
});

test('options are checked, and an address that is not loopback wants to know its names', () => {
  for (const bad of [{ port: -1 }, { port: 70_000 }, { maxSessions: 0 }, { host: '' }, { maxBodyBytes: 0.5 }]) {
    expect(() => new Gateway({ pool, ...bad })).toThrow(OptionError);
  }
  expect(() => new Gateway({ pool, host: '0.0.0.0' })).toThrow(/allowedHosts/);
});

test('names of hosts that could never match are refused with a word, a port in them says nothing', async () => {
  for (const name of ['*', '*.example.com', 'https://mcp.example', 'mcp.example/mcp', 'mcp.example:*', ' ']) {
    expect(() => new Gateway({ pool, allowedHosts: ['mcp', name] })).toThrow(/allowedHosts: got ".*", expected/);
    expect(() => new Gateway({ pool, allowedOrigins: [name] })).toThrow(/allowedOrigins: got ".*", expected/);
  }
  expect(() => new Gateway({ pool, allowedOrigins: ['app.example:8080'] })).toThrow(/without port/);
  gateway = new Gateway({ pool, port: 0, allowedHosts: ['MCP.Example:3399', '::2', '[::3]:80'] });
  const client = new RawClient(`${(await gateway.listen()).url}/mcp`);
  await client.initialize();
  for (const host of ['mcp.example', 'mcp.example:3399', 'mcp.example:80', '[::2]:5', '[::3]']) {
    expect((await client.send({ jsonrpc: '2.0', id: 1, method: 'ping' }, { host })).status, host).toBe(200);
  }
});
