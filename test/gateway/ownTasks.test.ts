import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { objectOf } from '../../src/connection/protocol/objectOf.js';
import { RpcError } from '../../src/core/errors.js';
import { TaskIds } from '../../src/gateway/aggregate/passage/TaskIds.js';
import { Gateway } from '../../src/gateway/Gateway.js';
import { CallsInFlight } from '../../src/gateway/session/callers/CallsInFlight.js';
import { OwnTasks, TaskOwners } from '../../src/gateway/session/OwnTasks.js';
import type { RequestOptions } from '../../src/pool/McpPool.js';
import { UnifiedPool } from '../../src/pool/UnifiedPool.js';
import type { ServerConfig } from '../../src/registry/config/ServerConfig.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { closeAfter } from '../support/closeAfter.js';
import { FakePool } from '../support/FakePool.js';
import { RawClient } from '../support/httpClient.js';
import { ownTasks } from '../support/ownTasks.js';

/** A server that counts its tasks, says that one is done in the same breath as it makes it, and tells of one that no session was given. */
const SERVER = `
const say = (...all) => process.stdout.write(all.map((each) => JSON.stringify({ jsonrpc: '2.0', ...each }) + '\\n').join(''));
const capabilities = { tools: {}, tasks: { list: {}, cancel: {}, requests: { tools: { call: {} } } } };
const status = (taskId) => ({ method: 'notifications/tasks/status', params: { taskId, status: 'completed' } });
let made = 0;
require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const { id, method, params } = JSON.parse(line);
  if (method === 'initialize') say({ id, result: { protocolVersion: params.protocolVersion, capabilities, serverInfo: { name: 's', version: '1' } } });
  else if (method === 'tools/list') say({ id, result: { tools: ['run', 'tell'].map((name) => ({ name, inputSchema: { type: 'object' } })) } });
  else if (method === 'tools/call' && params.name === 'run') {
    const taskId = 'task-' + 'x'.repeat(params.arguments.length) + ++made;
    say({ id, result: { task: { taskId, status: 'working' } } }, status(taskId));
  } else if (method === 'tools/call') say(status('late'), { id, result: { content: [] } });
  else if (method === 'tasks/result') say({ id, result: { content: [], task: params.taskId } });
  else if (id !== undefined) say({ id, result: {} });
});`;

test.each(['/mcp', '/servers/one/mcp'])(
  "at %s a task is its session's from its answer on, however long its id, and one of no known owner is told to none",
  async (path) => {
    const pool = closeAfter(new UnifiedPool());
    pool.addServer({ name: 'one', transport: 'stdio', command: process.execPath, args: ['-e', SERVER] });
    const gateway = closeAfter(new Gateway({ pool, port: 0 }));
    const url = `${(await gateway.listen()).url}${path}`;
    const [own, other] = [new RawClient(url), new RawClient(url)];
    for (const each of [own, other]) await each.initialize();
    const [heard, overheard] = [await own.listen(), await other.listen()];
    const call = (name: string, length = 0) => ({
      name: path === '/mcp' ? `one__${name}` : name,
      arguments: { length },
      ...(name === 'tell' ? {} : { task: {} }),
    });
    for (const length of [0, 2_000]) {
      const made = await own.call('tools/call', call('run', length));
      const { taskId } = objectOf(objectOf(made.result)['task']);
      expect((await heard.has(1)).at(-1)?.params).toMatchObject({ taskId });
      heard.messages.length = 0;
      expect((await other.call('tasks/result', { taskId })).error).toMatchObject({ code: -32_602 });
      expect((await own.call('tasks/result', { taskId })).result).toMatchObject({ content: [] });
    }
    // The session that alone has a call in flight is told of no task that it did not make.
    await other.call('tools/call', call('tell'));
    await other.call('tools/call', call('run'));
    expect((await overheard.has(1)).map(({ params }) => String(params?.['taskId']).endsWith('task-3'))).toEqual([true]);
    await Promise.all([heard.stop(), overheard.stop()]);
  },
);

test("a task id that a server gives again is the one's it was given last: also while another asks for it", async () => {
  const tasks = ownTasks();
  const [first, second] = [{ key: 'a' }, { key: 'b' }];
  tasks.made('s', first, { task: { taskId: '1' } });
  const asked = tasks.ask('s', first, '1', {}, async () => {
    tasks.made('s', second, Buffer.from('{"task":{"taskId":"other","taskId":"1"}}'));
    return { content: ['secret'] };
  });
  await expect(asked).rejects.toThrow('Task not found');
  await expect(tasks.ask('s', first, '1', {}, () => Promise.resolve({}))).rejects.toThrow('Task not found');
  await expect(tasks.ask('s', second, '1', {}, () => Promise.resolve('own'))).resolves.toBe('own');
  expect(await tasks.filtered('s', first, { tasks: [{ taskId: '1' }] })).toEqual(Buffer.from('{"tasks":[]}'));
});

test('while a call of a modern client that was given up may still run, log messages are told to no other', async () => {
  const clock = new FakeClock();
  const calls = new CallsInFlight(clock);
  const clients = {} as never;
  const heard: string[] = [];
  const given = calls.begin('s', clients, () => heard.push('first'));
  given.failed(new Error('cancelled'));
  given.end();
  calls.begin('s', clients, () => heard.push('second'));
  calls.soleCall('s')?.({ method: 'notifications/message' });
  expect(heard).toEqual([]);
  await clock.advance(30_000);
  calls.soleCall('s')?.({ method: 'notifications/message' });
  expect(heard).toEqual(['second']);
});

test('a group that lost a server tells nothing more of its resources', async () => {
  const pool = new FakePool({
    one: { capabilities: { resources: { subscribe: true } }, lists: { resources: [{ uri: 'a:1', name: 'a' }] } },
  });
  const gateway = closeAfter(new Gateway({ pool, port: 0, curation: { groups: { g: { servers: ['one'] } } } }));
  const client = new RawClient(`${(await gateway.listen()).url}/groups/g/mcp`);
  await client.initialize();
  const heard = await client.listen();
  await client.call('resources/subscribe', { uri: 'a:1' });
  const update = (): void =>
    pool.subscriptions[0]?.notify({ method: 'notifications/resources/updated', params: { uri: 'a:1' } });
  update();
  gateway.curate({ groups: { g: { servers: [] } } });
  update();
  // What is told behind it.
  gateway.curate({ groups: { g: { servers: ['one'] } } });
  update();
  const kinds = (await heard.has(4)).map(({ method }) => method?.split('/')[2]);
  expect(kinds).toEqual(['updated', 'list_changed', 'list_changed', 'updated']);
  await heard.stop();
});

test("behind a URL all principals have one program, whose ids are the last one's; a program of this machine is each principal's own", () => {
  const owners = new TaskOwners();
  const of = (principal: string, config: object): OwnTasks =>
    new OwnTasks(owners, { config: () => config as ServerConfig }, principal);
  const [url, command] = [{ url: 'http://127.0.0.1/' }, { command: 'x' }];
  const made = { task: { taskId: 'task-1' } };
  const has = (): boolean[] =>
    [url, command].flatMap((config) => [
      of('ann', config).has('s', { key: 'a' }, 'task-1'),
      of('bob', config).has('s', { key: 'b' }, 'task-1'),
    ]);
  for (const config of [url, command]) of('ann', config).made('s', { key: 'a' }, made);
  expect(has()).toEqual([true, false, true, false]);
  for (const config of [url, command]) of('bob', config).made('s', { key: 'b' }, made);
  expect(has()).toEqual([false, true, true, true]);
});

test('ids of tasks open in every process with the same keys, also with older ones, and for their principal alone', () => {
  const [older, newer] = ['a', 'b'].map((each) => `${each}-secret of thirty-two bytes at least`);
  const ids = (keys: string[] | undefined, principal?: string): TaskIds =>
    new TaskIds(new TaskOwners(keys).sealKeys, principal);
  const given = ids([older as string]).exposed('s', '1');
  const found = { server: 's', taskId: '1' };
  expect(ids([newer as string, older as string]).find(['s'], given)).toEqual(found);
  expect(ids([older as string]).find(['s'], ids([older as string]).exposed('s', '1'))).toEqual(found);
  for (const other of [ids([newer as string]), ids(undefined), ids([older as string], 'ann')])
    expect(other.find(['s'], given)).toBeUndefined();
});

test.each([
  ['an error', { elicitation: {} }],
  ['a question', { elicitation: { url: {} } }],
])(
  'that an elicitation of %s is complete is told to the session whose call asked for it, and an unknown one to none, though another alone has a call in flight',
  async (way, capabilities) => {
    let asked = (): void => undefined;
    const gone = new AbortController();
    const waits = new Promise<void>((resolve) => (asked = resolve));
    const data = { elicitations: [{ mode: 'url', elicitationId: 'e-1', url: 'https://example.test/', message: 'm' }] };
    const call = (params: Readonly<Record<string, unknown>> | undefined, options: RequestOptions): unknown => {
      if (params?.['name'] === 'ask' && way === 'an error') throw new RpcError('one', -32_042, 'open it first', data);
      if (params?.['name'] === 'ask') {
        const question = { id: 'q', method: 'elicitation/create', params: { ...data.elicitations[0] } };
        void options.onRequest?.(question, { signal: gone.signal }).catch(() => undefined);
        return { content: [] };
      }
      asked();
      return new Promise(() => undefined);
    };
    const pool = new FakePool({ one: { methods: { 'tools/call': call } } });
    const gateway = closeAfter(new Gateway({ pool, port: 0 }));
    const url = `${(await gateway.listen()).url}/servers/one/mcp`;
    const [own, other] = [new RawClient(url), new RawClient(url)];
    for (const each of [own, other]) await each.initialize('2025-11-25', capabilities);
    const [heard, overheard] = [await own.listen(), await other.listen()];
    const told = await own.send({ jsonrpc: '2.0', id: 'ask', method: 'tools/call', params: { name: 'ask' } });
    gone.abort();
    expect(JSON.stringify(told.messages)).toContain('e-1');
    const busy = other.call('tools/call', { name: 'wait' }).catch(() => undefined);
    await waits;
    const event = { server: 'one', principal: undefined, key: undefined };
    for (const [method, params] of [
      ['notifications/elicitation/complete', { elicitationId: 'e-2' }],
      ['notifications/elicitation/complete', { elicitationId: 'e-1' }],
      ['notifications/tools/list_changed', {}],
    ]) {
      pool.emit('notification', { ...event, notice: { method, params } } as never);
      await setImmediate();
    }
    expect((await heard.has(2)).map(({ method }) => method)).toEqual([
      'notifications/elicitation/complete',
      'notifications/tools/list_changed',
    ]);
    expect((await overheard.has(1)).map(({ method }) => method)).toEqual(['notifications/tools/list_changed']);
    await Promise.all([heard.stop(), overheard.stop()]);
    await gateway.close({ graceMs: 0 });
    await busy;
  },
);
