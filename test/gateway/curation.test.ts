import { createHash } from 'node:crypto';
import { resolve } from 'node:path';
import { encode } from 'gpt-tokenizer';
import { afterEach, expect, test, vi } from 'vitest';
import { Gateway } from '../../src/gateway/Gateway.js';
import type { GatewayOptions } from '../../src/gateway/GatewayOptions.js';
import { UnifiedPool } from '../../src/pool/UnifiedPool.js';
import type { Curation } from '../../src/registry/config/curation/Curation.js';
import { closeAfter } from '../support/closeAfter.js';
import { FakePool, type FakeServer } from '../support/FakePool.js';
import { exchange, RawClient } from '../support/httpClient.js';
import { tempFolder } from '../support/tempFolder.js';

afterEach(() => vi.restoreAllMocks());

const tool = (name: string, properties: object = {}, description = `does ${name}`) => ({
  name,
  description,
  inputSchema: { type: 'object', properties, required: Object.keys(properties) },
});

const serverOf = (...tools: unknown[]): FakeServer => ({
  capabilities: { tools: {}, prompts: {} },
  lists: { tools, prompts: [{ name: 'hello' }] },
  methods: { 'tools/call': (params) => ({ content: [{ type: 'text', text: String(params?.['name']) }] }) },
});

async function serving(servers: Record<string, FakeServer>, curation: Curation, options: Partial<GatewayOptions> = {}) {
  const pool = new FakePool(servers);
  const gateway = closeAfter(new Gateway({ pool, port: 0, curation, ...options }));
  const { url } = await gateway.listen();
  return { pool, gateway, url };
}

async function client(url: string): Promise<RawClient> {
  const made = new RawClient(url);
  await made.initialize();
  return made;
}

type Listed = ReturnType<typeof tool>;

async function toolsOf(from: RawClient): Promise<Listed[]> {
  return ((await from.call('tools/list')).result as { tools: Listed[] }).tools;
}

const namesOf = async (from: RawClient): Promise<string[]> => (await toolsOf(from)).map(({ name }) => name);

async function said(from: RawClient, name: string, args: object = {}): Promise<string> {
  const { result, error } = await from.call('tools/call', { name, arguments: args });
  return error === undefined ? ((result as { content: { text: string }[] }).content[0]?.text ?? '') : error.message;
}

test('tools are allowed, denied, renamed and described anew; arguments are fixed or hidden, in list and call alike', async () => {
  const files = serverOf(
    tool('read_file', { path: {}, root: {}, trace: {} }),
    tool('write_file'),
    tool('read_dir'),
    tool('open'),
    tool('delete'),
  );
  const { pool, url, gateway } = await serving(
    { files },
    {
      servers: {
        files: {
          allow: ['read_*', 'open', 'write_file'],
          deny: ['write_*'],
          rename: { read_file: 'open', read_dir: 'list' },
          describe: { read_file: 'Opens one file.' },
          fixed: { read_file: { root: '/data' } },
          hide: { read_file: ['trace'] },
        },
      },
    },
  );
  const desk = await client(`${url}/mcp`);
  const listed = await toolsOf(desk);
  // The server's own `open` has lost its name to the rule, for ever.
  expect(listed.map(({ name }) => name)).toEqual(['files__open', 'files__list']);
  expect(listed[0]).toMatchObject({
    description: 'Opens one file.',
    inputSchema: { properties: { path: {} }, required: ['path'] },
  });
  expect(Object.keys(listed[0]?.inputSchema.properties ?? {})).toEqual(['path']);
  expect(await said(desk, 'files__open', { path: 'a' })).toBe('read_file');
  expect(pool.calls.at(-1)?.params).toMatchObject({ name: 'read_file', arguments: { path: 'a', root: '/data' } });
  expect(await said(desk, 'files__open', { path: 'a', root: '/etc' })).toMatch(/argument root is not to be given/);
  expect(await said(desk, 'files__open', { trace: 1 })).toMatch(/argument trace is not to be given/);
  for (const name of ['files__delete', 'files__write_file', 'files__read_file', 'files__constructor']) {
    expect(await said(desk, name)).toMatch(/unknown tool/);
  }
  gateway.curate({});
  expect(await namesOf(desk)).toHaveLength(5);
  expect(await said(desk, 'files__delete')).toBe('delete');
});

test('a name in other letters than the one that decides is refused: its server may take it for that one', async () => {
  const { pool, url } = await serving(
    { files: serverOf(tool('read', { path: {} })) },
    { servers: { files: { fixed: { read: { path: '/data' } } } } },
  );
  const desk = await client(`${url}/mcp`);
  const name = 'files__read';
  const meta = 'io.modelcontextprotocol';
  const attempts: [method: string, params: object, told: string][] = [
    ['tools/call', { name, Name: 'erase' }, '"Name" is name'],
    ['tools/call', { name, 'n\u0061ME': 'erase' }, '"naME" is name'],
    ['tools/call', { name, 'argument\u017f': {} }, 'is arguments'],
    ['tools/call', { name, arguments: { Path: '/etc' } }, 'argument path is not to be given'],
    ['tools/call', { name, _meta: { ProgressToken: 1 } }, '"ProgressToken" is progressToken'],
    ['tools/call', { name, _meta: { [`${meta}/related-task`]: { TaskId: 't' } } }, '"TaskId" is taskId'],
    ['tasks/get', { taskId: 't', 'tas\u212aId': 'u' }, 'is taskId'],
    ['resources/read', { uri: 'a:1', URI: 'b:1' }, '"URI" is uri'],
    ['completion/complete', { ref: { type: 'ref/prompt', name: 'a', NAME: 'b' } }, '"NAME" is name'],
  ];
  const before = pool.calls.length;
  for (const [method, params, told] of attempts) {
    const { error } = await desk.call(method, params);
    expect([method, error]).toMatchObject([method, { code: -32602, message: expect.stringContaining(told) }]);
  }
  const modern = { [`${meta}/protocolVersion`]: '2026-07-28', [`${meta}/clientCapabilities`]: {} };
  const params = { name: 'read', NAME: 'erase', _meta: modern };
  const headers = {
    ...desk.headers,
    'mcp-protocol-version': '2026-07-28',
    'mcp-method': 'tools/call',
    'mcp-name': 'read',
  };
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params });
  const { messages } = await exchange(`${url}/servers/files/mcp`, { headers, body });
  expect(messages).toMatchObject([{ error: { code: -32602, message: expect.stringContaining('"NAME" is name') } }]);
  expect(pool.calls.slice(before).filter((call) => !call.method.endsWith('/list'))).toEqual([]);
  // Of its arguments, and of what no protocol names, a server may have any.
  expect(await said(desk, name, { Name: 1 })).toBe('read');
  await desk.call('other/method', { Name: 1 });
});

test('a number that JavaScript cannot hold reaches the server beside a fixed argument, and through call_tool', async () => {
  const { pool, url } = await serving(
    { s: serverOf(tool('t', { n: {}, f: {} })) },
    { servers: { s: { fixed: { t: { f: true } } } }, groups: { found: { expose: 'search' } } },
  );
  const big = '123456789012345678901';
  for (const [path, inner] of [
    ['mcp', `{"name":"s__t","arguments":{"n":${big}}}`],
    ['groups/found/mcp', `{"name":"call_tool","arguments":{"name":"s__t","arguments":{"n":${big}}}}`],
    // As models write them, too.
    ['groups/found/mcp', `{"name":"call_tool","arguments":{"name":"s__t","arguments":"{\\"n\\":${big}}"}}`],
  ] as const) {
    const desk = await client(`${url}/${path}`);
    const response = await fetch(`${url}/${path}`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        'mcp-session-id': desk.sessionId ?? '',
      },
      body: `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":${inner}}`,
    });
    expect(await response.text()).toContain('"text":"t"');
    expect(pool.calls.at(-1)?.options.paramsText).toContain(`"n":${big}`);
    expect(pool.calls.at(-1)?.options.paramsText).toContain('"f":true');
    expect(pool.calls.at(-1)?.params).toMatchObject({ name: 't' });
  }
});

test('arguments that are no object are refused where they are looked at; a name that comes twice loses nothing of what was read', async () => {
  const { pool, url } = await serving(
    { s: serverOf(tool('t', { f: {} }), { ...tool('h'), inputSchema: { type: 'object', properties: 'letters' } }) },
    {
      servers: { s: { fixed: { t: { f: true } }, hide: { h: ['x'] } } },
      groups: { found: { expose: 'search' } },
    },
  );
  const desk = await client(`${url}/mcp`);
  const searching = await client(`${url}/groups/found/mcp`);
  const ask = async (from: RawClient, params: string): Promise<string> => {
    const body = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":${params}}`;
    const { messages } = await exchange(from.url, { headers: from.headers, body });
    return messages[0]?.error === undefined ? 'ok' : `${messages[0].error.code} ${messages[0].error.message}`;
  };
  for (const given of ['"letters"', '[1]', '7', 'true']) {
    for (const name of ['s__t', 's__h'])
      expect(await ask(desk, `{"name":"${name}","arguments":${given}}`)).toBe('-32602 arguments is an object');
    for (const name of ['call_tool', 'search_tools', 'describe_tool'])
      expect(await ask(searching, `{"name":"${name}","arguments":${given}}`)).toBe('-32602 arguments is an object');
    expect(await ask(searching, `{"name":"call_tool","arguments":{"name":"s__t","arguments":${given}}}`)).toBe(
      '-32602 arguments is an object',
    );
  }
  const calls = () => pool.calls.filter(({ method }) => method === 'tools/call');
  expect(calls()).toEqual([]);
  // A schema's properties that are none have no letters for names.
  expect((await toolsOf(desk)).find(({ name }) => name === 's__h')?.inputSchema.properties).toEqual({});
  const last = (): unknown => {
    const { params, options } = calls().at(-1) ?? {};
    const written = options?.paramsText === undefined ? params : (JSON.parse(options.paramsText) as unknown);
    expect(written).toEqual(params);
    return written;
  };
  expect(await ask(desk, '{"name":"s__t","arguments":null}')).toBe('ok');
  expect(last()).toEqual({ name: 't', arguments: { f: true } });
  expect(
    await ask(
      searching,
      '{"name":"call_tool","arguments":{"name":"s__no","n\\u0061me":"s__t","arguments":{"x":1},"arguments":{"y":1}}}',
    ),
  ).toBe('ok');
  expect(last()).toEqual({ name: 't', arguments: { y: 1, f: true } });
  expect(await ask(desk, '{"name":"s__t","arguments":{"y":1},"_meta":{"a":1,"\\u0061":2}}')).toBe('ok');
  expect(last()).toEqual({ name: 't', arguments: { y: 1, f: true }, _meta: { a: 2 } });
  expect(await ask(desk, '{"name":"s__t","_meta":"letters"}')).toBe('ok');
  expect(last()).toEqual({ name: 't', arguments: { f: true } });
});

test('a group is some servers at a path of its own, with rules by the names that clients know', async () => {
  const { url, gateway, pool } = await serving(
    { files: serverOf(tool('read'), tool('write')), git: serverOf(tool('log')), web: serverOf(tool('get')) },
    { groups: { safe: { servers: ['files', 'git'], deny: ['files__w*'] }, all: {} } },
  );
  const safe = await client(`${url}/groups/safe/mcp`);
  expect(await namesOf(safe)).toEqual(['files__read', 'git__log']);
  expect(await said(safe, 'git__log')).toBe('log');
  expect(await said(safe, 'files__write')).toMatch(/unknown tool/);
  expect(await said(safe, 'web__get')).toMatch(/unknown tool/);
  const prompts = (await safe.call('prompts/list')).result as { prompts: { name: string }[] };
  expect(prompts.prompts.map(({ name }) => name)).toEqual(['files__hello', 'git__hello']);
  expect(await namesOf(await client(`${url}/groups/all/mcp`))).toHaveLength(4);
  expect((await fetch(`${url}/groups/none/mcp`, { method: 'POST' })).status).toBe(404);
  expect((await fetch(`${url}/groups/constructor/mcp`, { method: 'POST' })).status).toBe(404);
  pool.add('git2', serverOf(tool('log')));
  gateway.curate({ groups: { safe: { servers: ['git2'] } } });
  expect(await namesOf(safe)).toEqual(['git2__log']);
  gateway.curate({});
  expect((await safe.call('tools/list')).result).toBeUndefined();
});

test('prefix styles: a dot, and none for what the rules of one server alone name', async () => {
  const servers = { a: serverOf(tool('x'), tool('y'), tool('z')), 'b.c': serverOf(tool('x'), tool('w')) };
  const dotted = await serving(servers, { prefix: 'server.tool' });
  const names = await namesOf(await client(`${dotted.url}/mcp`));
  expect(names.slice(0, 3)).toEqual(['a.x', 'a.y', 'a.z']);
  expect(names[4]).toMatch(/^b_c-[0-9a-f]{8}\.w$/);
  const rules = { a: { allow: ['x', 'y', 'z*'] }, 'b.c': { allow: ['x', 'w'], rename: { w: 'wide' } } };
  const none = await serving(servers, { prefix: 'none', servers: rules });
  const desk = await client(`${none.url}/mcp`);
  const plain = await namesOf(desk);
  // Both servers name x, and z is not spelled out: they keep their servers' names, whoever is up.
  expect(plain).toEqual(['a__x', 'y', 'a__z', expect.stringMatching(/^b_c-[0-9a-f]{8}__x$/), 'wide']);
  expect(await said(desk, 'wide')).toBe('w');
  expect(await said(desk, 'y')).toBe('y');
  expect(await said(desk, 'a__y')).toMatch(/unknown tool/);
});

test('names are the same over 34 shuffled starts in each style with servers missing, are what MCP allows, and never two of one', {
  timeout: 60_000,
}, async () => {
  const all = {
    files: serverOf(tool('read'), tool('a__b'), tool('名前')),
    files_: serverOf(tool('read')),
    ファイル: serverOf(tool('read'), tool('x'.repeat(300))),
    文件: serverOf(tool('read')),
    'my server': serverOf(tool('read'), tool('find')),
    my_server: serverOf(tool('read')),
  };
  const rules: Curation['servers'] = { files: { allow: ['read', '*'] }, 'my server': { rename: { find: 'seek' } } };
  const styles = (['server__tool', 'server.tool', 'none'] as const).map((prefix) => ({
    curation: { prefix, servers: rules },
    seen: new Map<string, string>(),
  }));
  for (let start = 0; start < 34; start++) {
    const rank = (name: string) => createHash('sha256').update(`${start}${name}`).digest('hex');
    const names = Object.keys(all).sort((a, b) => rank(a).localeCompare(rank(b)));
    const some = names.slice(0, 1 + (start % names.length)) as (keyof typeof all)[];
    const pool = new FakePool(Object.fromEntries(some.map((name) => [name, all[name]])));
    // The first of them from the start, the others by a change.
    const turns = styles.map((_, i) => styles[(start + i) % styles.length] as (typeof styles)[number]);
    const [first] = turns as [(typeof styles)[number]];
    const gateway = new Gateway({ pool, port: 0, curation: first.curation });
    const { url } = await gateway.listen();
    const desk = await client(`${url}/mcp`);
    for (const { curation, seen } of turns) {
      if (seen !== first.seen) gateway.curate(curation);
      for (const { name } of await toolsOf(desk)) {
        expect(name).toMatch(/^[A-Za-z0-9_.-]{1,128}$/);
        if (seen.has(name) && start % 10 > 0) continue;
        await said(desk, name);
        const call = pool.calls.at(-1);
        const whose = JSON.stringify([call?.server, (call?.params as { name: string } | undefined)?.name]);
        expect(seen.get(name) ?? whose).toBe(whose);
        seen.set(name, whose);
      }
    }
    await gateway.close();
  }
  for (const { seen } of styles) {
    expect(new Set(seen.values()).size).toBe(seen.size);
    expect(seen.size).toBe(10);
  }
});

test('three tools in place of all: a client that lists, searches, describes and calls reaches every one', async () => {
  const servers = Object.fromEntries(
    ['files', 'git', '天気'].map((name) => [
      name,
      serverOf(
        ...Array.from({ length: 20 }, (_, i) => tool(`tool_${i}`, { [`arg${i}`]: {} }, `does thing ${i} of ${name}`)),
      ),
    ]),
  );
  servers['weather'] = serverOf(
    tool('get_forecast', { city: {} }, 'Tells the weather of tomorrow. 明日の天気予報を返す'),
  );
  const { url, pool } = await serving(servers, { expose: 'search' });
  const desk = await client(`${url}/mcp`);
  expect(await namesOf(desk)).toEqual(['search_tools', 'describe_tool', 'call_tool']);
  const search = async (args: object) =>
    JSON.parse(await said(desk, 'search_tools', args)) as { total: number; tools: { name: string }[] };
  const found: string[] = [];
  for (let offset = 0; ; offset += 50) {
    const { tools, total } = await search({ limit: 50, offset });
    found.push(...tools.map(({ name }) => name));
    if (found.length >= total) break;
  }
  expect(found).toHaveLength(61);
  for (const name of found) {
    const described = JSON.parse(await said(desk, 'describe_tool', { name })) as Listed;
    expect(described).toMatchObject({ name, inputSchema: { type: 'object' } });
    const reached = await said(desk, 'call_tool', { name, arguments: {} });
    expect(reached).toBe((pool.calls.at(-1)?.params as { name: string } | undefined)?.name);
  }
  for (const query of ['weather tomorrow', 'forcast', 'getForecast', '天気予報', 'city']) {
    expect((await search({ query })).tools[0]?.name, query).toBe('weather__get_forecast');
  }
  expect((await search({ query: 'git thing 7' })).tools.map(({ name }) => name)).toContain('git__tool_7');
  for (const [name, args, message] of [
    ['search_tools', { query: 7 }, /query is a string/],
    ['search_tools', { limit: 1_000 }, /limit is a whole number from 1 to 50/],
    ['describe_tool', { name: 'none' }, /unknown tool: none/],
    ['call_tool', {}, /name is the name of a tool/],
    ['call_tool', { name: 'files__tool_1', arguments: [] }, /arguments is an object/],
    ['call_tool', { name: 'files__tool_1', arguments: '[{}' }, /arguments is an object/],
    ['call_tool', { name: 'search_tools' }, /unknown tool: search_tools/],
  ] as const) {
    expect(await said(desk, name, args)).toMatch(message);
  }
});

test('a tool is written once for all who have it described at a time, with an app too', async () => {
  const app = { _meta: { ui: { resourceUri: 'ui://one' } } };
  const servers = { s: serverOf(tool('t', {}, 'x'.repeat(100_000)), { ...tool('app'), ...app }) };
  const { url } = await serving(servers, { expose: 'search' });
  const desk = await client(`${url}/mcp`);
  const written = vi.spyOn(JSON, 'stringify');
  const times = (name: string): number =>
    written.mock.calls.filter(([value]) => (value as { name?: string } | null)?.name === name).length;
  const describe = async (name: string) => JSON.parse(await said(desk, 'describe_tool', { name })) as Listed;
  for (const name of ['s__t', 's__app']) {
    const all = await Promise.all(Array.from({ length: 20 }, () => describe(name)));
    for (const each of all) expect(each).toEqual(all[0]);
    // What no one has any more may be collected.
    expect(times(name)).toBeLessThan(10);
  }
});

test('what the tools of server-everything, filesystem and memory cost a model, before and after', async () => {
  const bin = (name: string) =>
    resolve(import.meta.dirname, `../../node_modules/@modelcontextprotocol/server-${name}/dist/index.js`);
  const pool = closeAfter(new UnifiedPool());
  const folder = tempFolder();
  for (const name of ['everything', 'filesystem', 'memory']) {
    const args = [bin(name), ...(name === 'filesystem' ? [folder] : [])];
    pool.addServer({ name, transport: 'stdio', command: process.execPath, args });
  }
  const gateway = closeAfter(new Gateway({ pool, port: 0, curation: { groups: { few: { expose: 'search' } } } }));
  const { url } = await gateway.listen();
  const [all, few] = [await client(`${url}/mcp`), await client(`${url}/groups/few/mcp`)];
  await expect
    .poll(async () => new Set((await namesOf(all)).map((name) => name.split('__')[0])).size, { timeout: 20_000 })
    .toBe(3);
  const cost = (tools: readonly Listed[]) =>
    encode(JSON.stringify(tools.map(({ name, description, inputSchema }) => ({ name, description, inputSchema }))))
      .length;
  const [before, after] = [cost(await toolsOf(all)), cost(await toolsOf(few))];
  expect(after).toBeLessThan(before / 5);
  expect(await said(few, 'call_tool', { name: 'everything__echo', arguments: { message: 'hi' } })).toContain('hi');
  if (process.env['POOLKIT_FIGURES'] !== undefined) console.log({ before, after, tools: (await toolsOf(all)).length });
});
