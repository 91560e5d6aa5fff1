import { expect, test, vi } from 'vitest';
import type { ServerConfig } from '../../src/registry/config/ServerConfig.js';
import { RawClient } from '../support/httpClient.js';
import { house, listen, listening, read, uris } from '../support/offering.js';

// Programs start here, and the machine may be busy.
vi.setConfig({ testTimeout: 60_000 });

test("a tool's app is read from the tool's server", async () => {
  const tool = (meta: object) => ({ name: 'board', inputSchema: { type: 'object' }, _meta: meta });
  const { connect } = await house({
    one: { tools: [tool({ ui: { resourceUri: 'ui://board', csp: {} }, 'ui/resourceUri': 'ui://board' })] },
    two: { tools: [tool({ ui: { resourceUri: 'ui://board', visibility: ['app'] }, other: 'ui://board' })] },
  });
  const client = await connect();
  const { result = {} } = await client.call('tools/list');
  const apps = (result['tools'] as { name: string; _meta?: object }[]).filter(({ _meta }) => _meta !== undefined);
  expect(apps.map(({ name, _meta }) => [name, _meta])).toEqual([
    ['one__board', { ui: { resourceUri: 'ui://board', csp: {} }, 'ui/resourceUri': 'ui://board' }],
    ['two__board', { ui: { resourceUri: 'poolkit:two/ui://board', visibility: ['app'] }, other: 'ui://board' }],
  ]);
  expect(await read(client, 'ui://board')).toEqual({ uri: 'ui://board', text: 'one has ui://board' });
  expect(await read(client, 'poolkit:two/ui://board')).toMatchObject({ text: 'two has ui://board' });
});

test('a tool that names a URI of another server takes nothing from the one that lists it', async () => {
  const named = { name: 'board', inputSchema: { type: 'object' }, _meta: { ui: { resourceUri: 'a:1' } } };
  const { connect } = await house({ evil: { uris: ['e:1'], tools: [named] }, one: { uris: ['a:1'] } });
  const client = await connect();
  await client.call('tools/list');
  expect(await read(client, 'a:1')).toEqual({ uri: 'a:1', text: 'one has a:1' });
  expect(await uris(client)).toEqual(['e:1', 'a:1']);
  const { result = {} } = await client.call('tools/list');
  expect(result['tools']).toContainEqual(
    expect.objectContaining({ name: 'evil__board', _meta: { ui: { resourceUri: 'poolkit:evil/a:1' } } }),
  );
});

test("no server takes over a tool's app by listing it, whatever is asked for first", async () => {
  const tools = [{ name: 'board', inputSchema: { type: 'object' }, _meta: { ui: { resourceUri: 'ui://one' } } }];
  const { connect } = await house({ thief: { uris: ['ui://one'] }, one: { tools } });
  const client = await connect();
  const { result = {} } = await client.call('tools/list');
  const app = { ui: { resourceUri: 'poolkit:one/ui://one' } };
  expect(result['tools']).toContainEqual(expect.objectContaining({ name: 'one__board', _meta: app }));
  expect(await read(client, app.ui.resourceUri)).toMatchObject({ text: 'one has ui://one' });
});

test("a URI that clients were shown as one server's leads there or nowhere, whatever another lists later on", async () => {
  const tools = [{ name: 'board', inputSchema: { type: 'object' }, _meta: { ui: { resourceUri: 'ui://one' } } }];
  const { connect, pool } = await house({ thief: {}, one: { uris: ['a:1'], templates: ['row:{x}'], tools } });
  const client = await connect();
  const stream = await listen(client);
  expect(await uris(client)).toEqual(['a:1']);
  await client.call('tools/list');
  const call = (name: string, given: object) => client.call('tools/call', { name, arguments: given });
  for (const uri of ['link:1', 'row:1']) {
    expect((await call('one__link', { uri })).result?.['content']).toMatchObject([{ uri }, { resource: { uri } }]);
  }
  expect(await read(client, 'row:2')).toMatchObject({ text: 'one has row:2' });
  const shown = ['a:1', 'ui://one', 'link:1', 'row:1', 'row:2'];
  await call('thief__touch', { listed: shown });
  await stream.has(1);
  const told = shown.map((uri) => `poolkit:thief/${uri}`);
  expect(await uris(client)).toEqual([...told, 'a:1']);
  const texts = async () => Promise.all(shown.map(async (uri) => (await read(client, uri))?.text));
  expect(await texts()).toEqual(shown.map((uri) => `one has ${uri}`));
  // It is not there any more: no other is asked.
  await pool.removeServer('one');
  expect(await texts()).toEqual(shown.map(() => undefined));
  expect(await uris(client)).toEqual(told);
});

test('a subscription goes on at the server that an applied config puts in the place of its own, and ends with a stop', async () => {
  const { url, connect, pool } = await house({ one: { uris: ['a:1'] }, two: { uris: ['b:1'] } });
  const client = await connect();
  const own = new RawClient(url.replace(/mcp$/, 'servers/one/mcp'));
  await own.initialize('2025-11-25');
  const modern = await listening(url, { resourceSubscriptions: ['a:1', 'b:1'] });
  for (const each of [client, own]) await each.call('resources/subscribe', { uri: 'a:1' });
  const heard = [modern, await listen(client), await listen(own)];
  const [one, two] = [pool.config('one'), pool.config('two')] as [ServerConfig, ServerConfig];
  // Each session has a connection of its own from now on.
  await pool.apply([
    { ...one, sharing: 'bound' },
    { ...two, maxConcurrent: 7 },
  ]);
  const updates = async () => {
    await client.call('tools/call', { name: 'two__touch', arguments: { uri: 'b:1' } });
    await client.call('tools/call', { name: 'one__touch', arguments: { uri: 'a:1' } });
    await own.call('tools/call', { name: 'touch', arguments: { uri: 'a:1' } });
    return heard.map(({ messages }) => messages.some(({ method }) => method === 'notifications/resources/updated'));
  };
  // Each is taken up as soon as the new server is there.
  await expect.poll(updates).toEqual([true, true, true]);
  const later = await listening(url, { resourceSubscriptions: ['b:1'] });
  await pool.stopServer('two');
  await later.ended;
  expect(later.messages.at(-1)).toMatchObject({ id: 1, result: { resultType: 'complete' } });
});

test('what a server that is stopped on purpose offers leaves the lists, and comes back with it', async () => {
  const { connect, pool } = await house({ one: { uris: ['a:1'] }, two: { uris: ['b:1'] } });
  const client = await connect();
  const stream = await listen(client);
  expect(await uris(client)).toEqual(['a:1', 'b:1']);
  const changed = async (change: Promise<void>, to: readonly string[]): Promise<void> => {
    let told = stream.messages.length;
    await change;
    // Only what is told makes the client look again.
    do await stream.has(++told);
    while (String(await uris(client)) !== String(to));
  };
  await changed(pool.stopServer('two'), ['a:1']);
  expect((await client.call('resources/read', { uri: 'b:1' })).error).toBeDefined();
  await changed(pool.startServer('two'), ['a:1', 'b:1']);
  expect(await read(client, 'b:1')).toMatchObject({ text: 'two has b:1' });
});
