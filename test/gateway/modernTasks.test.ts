import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { RpcError } from '../../src/core/errors.js';
import { Gateway } from '../../src/gateway/Gateway.js';
import { closeAfter } from '../support/closeAfter.js';
import { FakePool } from '../support/FakePool.js';
import { exchange, RawClient } from '../support/httpClient.js';

const META = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientInfo': { name: 't', version: '1' },
  'io.modelcontextprotocol/clientCapabilities': {},
};

test('on a shared legacy server clients of the modern era reach no task of a session, and none is listed to them', async () => {
  let made = 0;
  const pool = new FakePool({
    one: {
      capabilities: { tools: {}, tasks: { list: {}, cancel: {} } } as never,
      methods: {
        'tools/call': () => ({ task: { taskId: `task-${++made}` } }),
        'tasks/get': (params) => ({ taskId: params?.['taskId'] }),
        'tasks/result': () => ({ content: ['secret'] }),
        'tasks/cancel': () => ({}),
        'tasks/list': () => ({ tasks: [{ taskId: 'task-1' }] }),
      },
    },
  });
  const gateway = closeAfter(new Gateway({ pool, port: 0 }));
  const url = `${(await gateway.listen()).url}/servers/one/mcp`;
  const modern = async (method: string, params: Record<string, unknown>) => {
    const headers = {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'mcp-protocol-version': '2026-07-28',
      'mcp-method': method,
      'mcp-name': String(params['taskId'] ?? params['name']),
    };
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params: { ...params, _meta: META } });
    return (await exchange(url, { headers, body })).messages[0];
  };
  const legacy = new RawClient(url);
  await legacy.initialize();
  const call = { name: 'slow', task: { ttl: 1_000 } };
  expect(await legacy.call('tools/call', call)).toMatchObject({ result: { task: { taskId: 'task-1' } } });
  expect(await legacy.call('tasks/get', { taskId: 'task-1' })).toMatchObject({ result: { taskId: 'task-1' } });
  for (const method of ['tasks/get', 'tasks/result', 'tasks/cancel']) {
    expect(await modern(method, { taskId: 'task-1' })).toMatchObject({ error: { code: -32_602 } });
  }
  expect(await modern('tasks/list', {})).toMatchObject({ error: { code: -32_601 } });
  expect(await modern('tools/call', call)).toMatchObject({ result: { task: { taskId: 'task-2' } } });
  expect(await modern('tasks/get', { taskId: 'task-2' })).toMatchObject({ result: { taskId: 'task-2' } });
  expect(await legacy.call('tasks/get', { taskId: 'task-2' })).toMatchObject({ error: { code: -32_602 } });
});

test('a code of the gateway about the headers of a call that never ran is, of a server whose tool ran, an answer', async () => {
  const error = new RpcError('one', -32_020, 'row 7 does not match');
  const pool = new FakePool({
    one: {
      capabilities: { tools: {} },
      methods: {
        'tools/call': () => {
          throw error;
        },
      },
    },
  });
  const gateway = closeAfter(new Gateway({ pool, port: 0 }));
  const url = `${(await gateway.listen()).url}/servers/one/mcp`;
  const headers = {
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
    'mcp-protocol-version': '2026-07-28',
    'mcp-method': 'tools/call',
    'mcp-name': 'a',
  };
  const call = (name: string) => {
    const params = { name, arguments: {}, _meta: META };
    return exchange(url, { headers, body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params }) });
  };
  expect(await call('a')).toMatchObject({ status: 200, messages: [{ error: { code: -32_020 } }] });
  expect(await call('b')).toMatchObject({ status: 400, messages: [{ error: { code: -32_020 } }] });
});

test.each(['/mcp', '/servers/one/mcp'])(
  'at %s what a shared server tells of a task comes to the session it was made for, and to no other',
  async (path) => {
    let asked: (() => void) | undefined;
    const waits = new Promise<void>((resolve) => (asked = resolve));
    let answer: (() => void) | undefined;
    const call = (params?: Readonly<Record<string, unknown>>): unknown => {
      if (params?.['task'] !== undefined) return { task: { taskId: 'task-1', status: 'working' } };
      asked?.();
      return new Promise((resolve) => (answer = () => resolve({ content: [] })));
    };
    const pool = new FakePool({
      one: {
        capabilities: { tools: {}, tasks: { list: {} } } as never,
        lists: { tools: [{ name: 'run', inputSchema: { type: 'object' } }] },
        methods: { 'tools/call': call, 'tasks/result': () => ({ content: ['secret'] }) },
      },
    });
    const gateway = closeAfter(new Gateway({ pool, port: 0 }));
    const url = `${(await gateway.listen()).url}${path}`;
    const [own, other] = [new RawClient(url), new RawClient(url)];
    for (const each of [own, other]) await each.initialize();
    const [heard, overheard] = [await own.listen(), await other.listen()];
    const name = path === '/mcp' ? 'one__run' : 'run';
    const made = (await own.call('tools/call', { name, task: {} })).result?.['task'] as { taskId: string };
    // Another session alone has a call in flight.
    const busy = other.call('tools/call', { name });
    await waits;
    const meta = { 'io.modelcontextprotocol/related-task': { taskId: 'task-1' } };
    const notices = [
      { method: 'notifications/tasks/status', params: { taskId: 'task-1', status: 'completed' } },
      { method: 'notifications/elicitation/complete', params: { elicitationId: 'e', _meta: meta } },
      { method: 'notifications/tools/list_changed', params: {} },
    ];
    for (const notice of notices) {
      pool.emit('notification', { server: 'one', principal: undefined, key: undefined, notice } as never);
      // What names a task is told in the next turn.
      await setImmediate();
    }
    // What is for all comes behind it.
    expect((await overheard.has(1)).map(({ method }) => method)).toEqual(['notifications/tools/list_changed']);
    expect((await heard.has(3)).map(({ method }) => method)).toEqual(notices.map(({ method }) => method));
    expect(heard.messages[0]?.params).toMatchObject({ taskId: made.taskId });
    expect((await other.call('tasks/result', { taskId: made.taskId })).error).toMatchObject({ code: -32_602 });
    expect((await own.call('tasks/result', { taskId: made.taskId })).result).toMatchObject({ content: ['secret'] });
    answer?.();
    await busy;
    await Promise.all([heard.stop(), overheard.stop()]);
  },
);
