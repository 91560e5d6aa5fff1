import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test, vi } from 'vitest';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { RawClient } from '../support/httpClient.js';
import { house, listed, listen, listening, modern, read, uris } from '../support/offering.js';
import { tempFolder } from '../support/tempFolder.js';

// Programs start here, and the machine may be busy.
vi.setConfig({ testTimeout: 60_000 });

const ONE = { uris: ['file:///own', 'file:///both', 'ui://board'], templates: ['db://{+row}', 'only://one/{x}'] };
const TWO = { uris: ['file:///both', 'poolkit:odd/x', 'ui://board'], templates: ['db://{+row}'] };

test('resources keep their URIs; one that another server has too is told by its server, and read from it', async () => {
  const { connect } = await house({ one: ONE, 'two b': TWO });
  const client = await connect();
  const told = await uris(client);
  const two = 'poolkit:two_b-6168c36c/';
  expect(told).toEqual([...ONE.uris, `${two}file:///both`, `${two}poolkit:odd/x`, `${two}ui://board`]);
  expect(await Promise.all(told.map((uri) => read(client, String(uri))))).toEqual([
    { uri: 'file:///own', text: 'one has file:///own' },
    { uri: 'file:///both', text: 'one has file:///both' },
    { uri: 'ui://board', text: 'one has ui://board' },
    { uri: `${two}file:///both`, text: 'two b has file:///both' },
    { uri: `${two}poolkit:odd/x`, text: 'two b has poolkit:odd/x' },
    { uri: `${two}ui://board`, text: 'two b has ui://board' },
  ]);
  // One that no list has, but a template.
  expect(await read(client, 'only://one/thing')).toMatchObject({ text: 'one has only://one/thing' });
  const nowhere = await client.call('resources/read', { uri: 'what://ever' });
  expect(nowhere.error).toMatchObject({ code: -32_002, data: { uri: 'what://ever' } });
  const missing = await client.call('resources/read', { uri: `${two}x://missing` });
  expect(missing.error).toEqual({
    code: -32_002,
    message: 'Resource not found',
    data: { uri: `${two}x://missing` },
  });
});

test('a URI that a client may read as the form that names a server is told in that form', async () => {
  const odd = ['POOLKIT:one/file:///own', ' pool\tKit:one/x', 'poolkits:one/x'];
  const { connect } = await house({ one: ONE, two: { uris: odd } });
  const client = await connect();
  const [upper, blank, other] = (await uris(client)).slice(ONE.uris.length).map(String);
  expect([upper, blank, other]).toEqual([`poolkit:two/${odd[0]}`, `poolkit:two/${odd[1]}`, odd[2]]);
  expect(await read(client, upper ?? '')).toEqual({ uri: upper, text: `two has ${odd[0]}` });
  expect(await read(client, 'Poolkit:one/file:///own')).toMatchObject({ text: 'one has file:///own' });
});

test('templates of one form expand to URIs of their own servers, and are completed there', async () => {
  const { connect } = await house({ one: ONE, two: TWO });
  const client = await connect();
  const templates = await listed(client, 'resources/templates/list', 'resourceTemplates', 'uriTemplate');
  expect(templates).toEqual(['db://{+row}', 'only://one/{x}', 'poolkit:two/db://{+row}']);
  expect(await read(client, 'db://7/8')).toEqual({ uri: 'db://7/8', text: 'one has db://7/8' });
  expect(await read(client, 'poolkit:two/db://7')).toEqual({ uri: 'poolkit:two/db://7', text: 'two has db://7' });
  const complete = async (ref: object) =>
    (await client.call('completion/complete', { ref, argument: { name: 'row', value: '' } })).result?.['completion'];
  expect(await complete({ type: 'ref/resource', uri: 'poolkit:two/db://{+row}' })).toEqual({
    values: ['two', 'db://{+row}'],
  });
  expect(await complete({ type: 'ref/resource', uri: 'db://{+row}' })).toEqual({ values: ['one', 'db://{+row}'] });
  const ref = { type: 'ref/resource', uri: `db://${'x'.repeat(8_192)}` };
  const refused = await client.call('completion/complete', { ref, argument: { name: 'row', value: '' } });
  expect(refused.error?.message).toContain('8192 characters or fewer');
  expect(await complete({ type: 'ref/prompt', name: 'two__greet' })).toEqual({ values: ['two', 'greet'] });
});

test('links and embedded resources of a result lead to their server; all else is as it came, to the byte', async () => {
  const { connect } = await house({ one: ONE, two: TWO });
  const client = await connect();
  const link = async (tool: string, uri: string) => {
    const params = { name: tool, arguments: { uri } };
    return (await client.send({ jsonrpc: '2.0', id: 1, method: 'tools/call', params })).text;
  };
  const result = (uri: string, own = uri) =>
    `"result":{"z":1.0,"content":[{"type":"resource_link","name":"it","uri":"${uri}"},` +
    `{"type":"resource","resource":{"uri":"${uri}","text":"\\u0041"}}],` +
    `"structuredContent":{"uri":"${own}","big":12345678901234567890}}`;
  expect(await link('one__link', 'file:///both')).toContain(result('file:///both'));
  expect(await link('two__link', 'file:///both')).toContain(result('poolkit:two/file:///both', 'file:///both'));
  // Of no list: it is read from who told of it, and another's of that form is told apart.
  expect(await link('two__link', 'mem://1')).toContain(result('mem://1'));
  expect(await link('one__link', 'mem://1')).toContain(result('poolkit:one/mem://1', 'mem://1'));
  expect(await read(client, 'mem://1')).toMatchObject({ text: 'two has mem://1' });
  expect(await read(client, 'poolkit:one/mem://1')).toMatchObject({ text: 'one has mem://1' });
  await link('one__link', 'https://example.com/');
  expect(await link('two__link', 'https://example.com/')).toContain(result('https://example.com/'));
});

test('updates come under the URI that the client subscribed to, in both eras', async () => {
  const { connect, url } = await house({ one: ONE, two: TWO });
  const client = await connect();
  await uris(client);
  const stream = await listen(client);
  expect((await client.call('resources/subscribe', { uri: 'poolkit:two/file:///both' })).result).toEqual({});
  const modern = await listening(url, {
    resourceSubscriptions: ['poolkit:two/file:///both', 'file:///both', 'nothing://here'],
    resourcesListChanged: true,
  });
  expect((await modern.has(1))[0]?.params?.['notifications']).toEqual({
    resourcesListChanged: true,
    resourceSubscriptions: ['poolkit:two/file:///both', 'file:///both'],
  });
  await client.call('tools/call', { name: 'two__touch', arguments: { uri: 'file:///both' } });
  const told = { method: 'notifications/resources/updated', params: { uri: 'poolkit:two/file:///both' } };
  expect((await stream.has(1))[0]).toMatchObject(told);
  expect((await modern.has(2))[1]).toMatchObject(told);
  expect((await client.call('resources/unsubscribe', { uri: 'poolkit:two/file:///both' })).result).toEqual({});
  expect((await client.call('resources/unsubscribe', { uri: 'poolkit:two/file:///both' })).error).toBeDefined();
  const { error } = await client.call('resources/unsubscribe', { uri: 'x'.repeat(8_193) });
  expect(error?.message).toBe('uri is a string of 8192 characters or fewer');
});

test('a task is known by an id that says whose it is; a session sees its own, and cannot guess others', async () => {
  const { connect } = await house({ one: {}, two: {} });
  const [client, other] = [await connect(), await connect()];
  const start = async (each: RawClient, name: string) => {
    const { result = {} } = await each.call('tools/call', { name, task: { ttl: 1_000 } });
    return String((result['task'] as { taskId: string }).taskId);
  };
  const ids = [await start(client, 'one__level'), await start(client, 'two__level')];
  const foreign = await start(other, 'two__level');
  expect(new Set([...ids, foreign, '1']).size).toBe(4);
  const list = await listed(client, 'tasks/list', 'tasks', 'taskId');
  expect(list).toEqual(ids);
  expect(await listed(other, 'tasks/list', 'tasks', 'taskId')).toEqual([foreign]);
  const about = (method: string, taskId: unknown) => client.call(method, { taskId });
  expect((await about('tasks/get', ids[1])).result).toMatchObject({ taskId: ids[1], status: 'working' });
  expect((await about('tasks/cancel', ids[0])).result).toMatchObject({ taskId: ids[0], status: 'cancelled' });
  expect((await about('tasks/result', ids[1])).result).toEqual({
    content: [{ type: 'text', text: 'two did 1' }],
    _meta: { 'io.modelcontextprotocol/related-task': { taskId: ids[1] } },
  });
  for (const guess of ['1', 'two__1', `${ids[1]}0`, ids[1]?.replace('two', 'one'), 7]) {
    expect((await about('tasks/result', guess)).error).toMatchObject({ code: -32_602 });
  }
});

test('a server that never lists its tasks is passed over', async () => {
  const clock = new FakeClock();
  const { connect, pool } = await house({ mute: { bad: 'silent' }, one: {} }, { clock });
  const client = await connect();
  const { result = {} } = await client.call('tools/call', { name: 'one__level', task: {} });
  const list = listed(client, 'tasks/list', 'tasks', 'taskId');
  let told: unknown;
  void list.then((all) => {
    told = all;
  });
  // Time passes for the one that answers, too: not before it has.
  await expect.poll(() => ['mute', 'one'].map((name) => pool.stats(name).inFlight)).toEqual([1, 0]);
  for (; told === undefined; await sleep(5)) await clock.advance(100);
  expect(told).toEqual([(result['task'] as { taskId: string }).taskId]);
});

test("on a shared server's own path, too, a session has its own tasks alone", async () => {
  const { url } = await house({ one: {} });
  const path = url.replace('/mcp', '/servers/one/mcp');
  const [client, other] = [new RawClient(path), new RawClient(path)];
  await Promise.all([client.initialize(), other.initialize()]);
  const made = await client.call('tools/call', { name: 'level', task: {} });
  expect(made.result).toMatchObject({ task: { taskId: '1', status: 'working' } });
  expect(await listed(client, 'tasks/list', 'tasks', 'taskId')).toEqual(['1']);
  expect(await listed(other, 'tasks/list', 'tasks', 'taskId')).toEqual([]);
  expect((await client.call('tasks/get', { taskId: '1' })).result).toMatchObject({ taskId: '1' });
  for (const method of ['tasks/get', 'tasks/result', 'tasks/cancel']) {
    expect((await other.call(method, { taskId: '1' })).error).toMatchObject({ code: -32_602 });
  }
});

test('a log level reaches every server: those that are up, and those that start later when they are used', async () => {
  const { connect, pool } = await house({ one: {}, two: {} });
  const client = await connect();
  await pool.stopServer('two');
  expect((await client.call('logging/setLevel', { level: 'info' })).result).toEqual({});
  await pool.startServer('two');
  const level = async (name: string) => (await client.call('tools/call', { name })).result?.['content'];
  expect(await level('one__level')).toEqual([{ type: 'text', text: 'info' }]);
  await level('two__level');
  expect(await level('two__level')).toEqual([{ type: 'text', text: 'info' }]);
  const stream = await listen(client);
  await client.call('tools/call', { name: 'two__log' });
  expect((await stream.has(1))[0]).toMatchObject({ method: 'notifications/message', params: { data: 'two logs' } });
  expect((await client.call('logging/setLevel', { level: 'loud' })).error).toMatchObject({ code: -32_602 });
});

test('pages of all servers, with cursors that keep their place; one bad cursor, item or list hurts no other', async () => {
  const many = Array.from({ length: 5 }, (_, index) => `a:${index}`);
  const offers = {
    one: { uris: many },
    bad: { bad: 'resources' },
    two: { uris: ['b:0', 'b:1'], bad: 'item' },
  } as const;
  const { connect, pool } = await house(offers, { pageItems: 3 });
  const client = await connect();
  expect(await uris(client)).toEqual([...many, 'b:0', 'b:1']);
  const first = (await client.call('resources/list')).result;
  const cursor = first?.['nextCursor'];
  // As programs write a member that is not set.
  expect((await client.call('resources/list', { cursor: null })).result).toEqual(first);
  for (const wrong of ['', 'x', 7, Buffer.from('["tools","one","x",0,0]').toString('base64url')]) {
    expect((await client.call('resources/list', { cursor: wrong })).error).toMatchObject({ code: -32_602 });
  }
  // What comes before the place is gone: nothing is missed or told twice.
  await pool.removeServer('bad');
  const after = (await client.call('resources/list', { cursor })).result?.['resources'] as { uri: string }[];
  expect(after.map(({ uri }) => uri)).toEqual(['a:3', 'a:4', 'b:0']);
  await pool.removeServer('one');
  const rest = (await client.call('resources/list', { cursor })).result?.['resources'] as unknown[];
  expect(rest.length).toBeLessThanOrEqual(2);
});

test('no client waits for a slow server: what it has follows as changed lists', async () => {
  const after = join(tempFolder(), 'now');
  const { connect } = await house(
    { slow: { uris: ['slow:x'], after }, one: { uris: ['a:1'], after } },
    { serverWaitMs: 0 },
  );
  const client = await connect();
  const stream = await listen(client);
  expect(await uris(client)).toEqual([]);
  writeFileSync(after, '');
  // Only what was told makes the client look again.
  for (let told = 1; (await uris(client)).length < 2; told++) await stream.has(told);
  expect(await uris(client)).toEqual(['slow:x', 'a:1']);
});

test('what is said of URIs waits once for a server that never says its list, and then no more', async () => {
  const clock = new FakeClock();
  const { url, connect } = await house(
    { one: { uris: ['a:1'], tools: [{ name: 'link' }] }, mute: { bad: 'silent' } },
    { clock },
  );
  const client = await connect();
  const first = uris(client);
  let listed: unknown;
  void first.then((all) => {
    listed = all;
  });
  for (; listed === undefined; await sleep(5)) await clock.advance(100);
  expect(listed).toEqual(['a:1']);
  // The clock stands still: nothing waits for it.
  expect(await read(client, 'a:1')).toMatchObject({ text: 'one has a:1' });
  const link = (to: string) => client.call('tools/call', { name: 'one__link', arguments: { uri: to } });
  expect((await link('b:2')).result?.['content']).toMatchObject([{ uri: 'b:2' }, {}]);
  expect((await client.call('resources/read', { uri: 'c:3' })).error).toBeDefined();
  const { outgoing, body } = modern(url, 'resources/read', { uri: 'a:1' });
  outgoing.end(body);
  const [incoming] = (await once(outgoing, 'response')) as [IncomingMessage];
  expect((await incoming.setEncoding('utf8').toArray()).join('')).toContain('one has a:1');
});

test('a modern client keeps no process of its own on a server that speaks the legacy era alone', async () => {
  const { pool, url } = await house({ one: { uris: ['a:1'] } });
  await pool.startServer('one');
  const { pids } = pool.stats('one');
  const { outgoing, body } = modern(url, 'resources/list', {});
  outgoing.end(body);
  const [incoming] = (await once(outgoing, 'response')) as [IncomingMessage];
  expect(await incoming.setEncoding('utf8').toArray()).toEqual([expect.stringContaining('"uri":"a:1"')]);
  expect(pool.stats('one')).toMatchObject({ pids, state: 'ready' });
  const only = pool.request('one', 'ping', undefined, { caller: { era: 'modern', eraOnly: true } });
  await expect(only).rejects.toMatchObject({ code: 'ERR_OPTION', option: 'caller.era' });
  expect(pool.stats('one')).toMatchObject({ pids, state: 'ready' });
});

test('a line that a legacy server logs during the only call comes to its modern client, if that named a level', async () => {
  const { url } = await house({ one: {} });
  const log = async (path: string, name: string, level?: string): Promise<string> => {
    const { outgoing, body } = modern(path, 'tools/call', { name }, level);
    outgoing.end(body);
    const [incoming] = (await once(outgoing, 'response')) as [IncomingMessage];
    return (await incoming.setEncoding('utf8').toArray()).join('');
  };
  const own = url.replace('/mcp', '/servers/one/mcp');
  for (const [path, name] of [
    [own, 'log'],
    [url, 'one__log'],
  ] as const) {
    const heard = await log(path, name, 'info');
    expect(heard).toContain('"method":"notifications/message","params":{"level":"info","data":"one logs"}');
    expect(heard).toContain('logged');
    for (const level of [undefined, 'error']) expect(await log(path, name, level)).not.toContain('one logs');
  }
});
