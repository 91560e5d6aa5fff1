import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { PassThrough } from 'node:stream';
import { expect, test, vi } from 'vitest';
import { ForbiddenError, OptionError } from '../../../src/core/errors.js';
import { Gateway } from '../../../src/gateway/Gateway.js';
import type { GatewayOptions } from '../../../src/gateway/GatewayOptions.js';
import type { AuthRequest, User } from '../../../src/gateway/users/Authenticate.js';
import { bearerTokens } from '../../../src/gateway/users/bearerTokens.js';
import { ScopeRules } from '../../../src/gateway/users/scopes/ScopeRules.js';
import { scopedPool } from '../../../src/gateway/users/scopes/scopedPool.js';
import { closeAfter } from '../../support/closeAfter.js';
import { FakePool } from '../../support/FakePool.js';
import { exchange, type Message, type Reply } from '../../support/httpClient.js';

const ACCEPT = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
const INIT = {
  jsonrpc: '2.0',
  id: 0,
  method: 'initialize',
  params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 't', version: '1' } },
};
const META = {
  _meta: {
    'io.modelcontextprotocol/protocolVersion': '2026-07-28',
    'io.modelcontextprotocol/clientInfo': { name: 't', version: '1' },
    'io.modelcontextprotocol/clientCapabilities': {},
  },
};
const RESOURCE = { resource: 'https://proxy.example/mcp', authorizationServers: ['https://issuer.example'] };
const METADATA = 'resource_metadata="https://proxy.example/.well-known/oauth-protected-resource/mcp"';
const SCOPES = {
  'files:read': { servers: ['files'], allow: ['read_*', 'list'] },
  'files:write': { servers: ['files'], deny: ['erase'] },
  admin: { servers: ['*'] },
} as const;

const tool = (name: string) => ({ name, inputSchema: { type: 'object' } });

function pool(): FakePool {
  const server = {
    capabilities: { tools: {}, prompts: {}, resources: { subscribe: true } },
    lists: {
      tools: ['read_file', 'list', 'write', 'erase'].map(tool),
      prompts: [{ name: 'greet' }],
      resources: [{ uri: 'file:///a', name: 'a' }],
    },
    methods: {
      'tools/list': () => Buffer.from(JSON.stringify({ tools: ['read_file', 'list', 'write', 'erase'].map(tool) })),
      'tools/call': (params: unknown) =>
        Buffer.from(JSON.stringify({ content: [], ran: (params as { name: string }).name })),
      'prompts/get': () => Buffer.from('{"messages":[]}'),
      'resources/read': () => Buffer.from('{"contents":[]}'),
    },
  };
  return new FakePool({ files: server, secrets: server });
}

/** The scopes of the request are what its header says. */
const authenticate = async ({ headers }: AuthRequest): Promise<User | undefined> => {
  const scopes = headers['x-scopes'];
  return typeof scopes === 'string' ? { principal: 'ann', scopes: scopes.split(' ').filter(Boolean) } : undefined;
};

async function gatewayOf(options: Partial<GatewayOptions> = {}) {
  const fake = pool();
  const all = { pool: fake, port: 0, authenticate, scopes: SCOPES, resourceMetadata: RESOURCE, sse: true, ...options };
  const gateway = closeAfter(new Gateway(all));
  const { url } = await gateway.listen();
  return { fake, gateway, url };
}

type Ask = (scopes: string, path: string, method: string, params?: object) => Promise<Reply>;

/** One request of a client of the legacy era, in a session of its own. */
const legacy =
  (url: string): Ask =>
  async (scopes, path, method, params = {}) => {
    const headers = { ...ACCEPT, 'x-scopes': scopes };
    const opened = await exchange(`${url}${path}`, { headers, body: JSON.stringify(INIT) });
    if (opened.status !== 200) return opened;
    const session = { 'mcp-session-id': String(opened.headers['mcp-session-id']) };
    return exchange(`${url}${path}`, {
      headers: { ...headers, ...session },
      body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }),
    });
  };

/** The same of the modern era. */
const modern =
  (url: string): Ask =>
  (scopes, path, method, params = {}) => {
    const { name = undefined, uri = name } = params as { readonly name?: string; readonly uri?: string };
    const headers = {
      ...ACCEPT,
      'x-scopes': scopes,
      'mcp-protocol-version': '2026-07-28',
      'mcp-method': method,
      ...(uri !== undefined && { 'mcp-name': uri }),
    };
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params: { ...params, ...META } });
    return exchange(`${url}${path}`, { headers, body });
  };

const namesOf = ({ messages }: Reply): string[] => {
  const tools = messages.at(-1)?.result?.['tools'] as { readonly name: string }[] | undefined;
  return (tools ?? []).map(({ name }) => name).sort();
};

for (const [era, asking] of Object.entries({ legacy, modern })) {
  test(`${era}: what no scope opens is not listed, and refused with 403 and the scope that would do`, async () => {
    const { url, fake } = await gatewayOf();
    const ask = asking(url);
    const all = ['erase', 'list', 'read_file', 'write'];
    for (const [path, prefix] of [
      ['/mcp', 'files__'],
      ['/servers/files/mcp', ''],
    ] as const) {
      const listed = async (scopes: string): Promise<string[]> =>
        namesOf(await ask(scopes, path, 'tools/list')).map((name) => name.replace(/^files__/, ''));
      expect(await listed('files:read')).toEqual(['list', 'read_file']);
      expect(await listed('files:write')).toEqual(['list', 'read_file', 'write']);
      if (prefix === '') expect(await listed('admin')).toEqual(all);
      const called = (scopes: string, name: string): Promise<Reply> =>
        ask(scopes, path, 'tools/call', { name: `${prefix}${name}`, arguments: {} });
      const good = await called('files:read other', 'read_file');
      expect([good.status, good.messages[0]?.result]).toEqual([200, expect.objectContaining({ ran: 'read_file' })]);
      const before = fake.calls.length;
      for (const [scopes, name, needed] of [
        ['files:read', 'write', 'files:write'],
        ['files:read files:write', 'erase', 'admin'],
      ] as const) {
        const refused = await called(scopes, name);
        expect([name, refused.status]).toEqual([name, 403]);
        expect(refused.headers['www-authenticate']).toBe(
          `Bearer error="insufficient_scope", scope="${needed}", ${METADATA}`,
        );
        expect(refused.messages[0]).toMatchObject({
          id: 1,
          error: {
            message: `tool "${name}" of server "files" needs the scope "${needed}"`,
            data: { code: 'ERR_FORBIDDEN', scope: needed },
          },
        });
      }
      expect(fake.calls.slice(before).filter(({ method }) => method === 'tools/call')).toEqual([]);
    }
  });

  test(`${era}: a server that no scope opens is not there in what all offer, and refused by itself`, async () => {
    const { url, fake } = await gatewayOf();
    const ask = asking(url);
    const text = async (method: string): Promise<string> => (await ask('files:read', '/mcp', method)).text;
    expect(await text('tools/list')).not.toContain('secrets');
    expect(await text('prompts/list')).toContain('files__greet');
    expect(await text('prompts/list')).not.toContain('secrets');
    expect((await text('resources/list')).match(/file:\/\/\/a/g)).toHaveLength(1);
    for (const [path, method, params] of [
      ['/mcp', 'tools/call', { name: 'secrets__list' }],
      ['/mcp', 'prompts/get', { name: 'secrets__greet' }],
      ['/servers/secrets/mcp', 'tools/list', {}],
      ['/servers/secrets/mcp', 'resources/read', { uri: 'file:///a' }],
    ] as const) {
      const refused = await ask('files:read', path, method, params);
      expect([path, method, refused.status]).toEqual([path, method, 403]);
      expect(refused.headers['www-authenticate']).toContain('scope="admin"');
    }
    expect(fake.calls.filter(({ server }) => server === 'secrets')).toEqual([]);
    // A URI that names a server goes to no other.
    const named = await ask('files:read', '/mcp', 'resources/read', { uri: 'poolkit:secrets/file:///a' });
    expect(named.messages).toMatchObject([{ error: { message: expect.stringContaining('Resource not found') } }]);
    expect(fake.calls.filter(({ method }) => method === 'resources/read')).toEqual([]);
    expect((await ask('', '/mcp', 'tools/call', { name: 'files__list' })).headers['www-authenticate']).toContain(
      'scope="files:read"',
    );
  });
}

test('a tool that is denied is not run under a name that a lax server takes for it', async () => {
  const { url, fake } = await gatewayOf();
  const ask = legacy(url);
  for (const name of ['erase', 'Erase', ' erase', 'erase\u0000', 'er\u200base', '\uff45rase']) {
    const refused = await ask('files:write', '/servers/files/mcp', 'tools/call', { name });
    expect([name, refused.status]).toEqual([name, 403]);
  }
  for (const name of [['erase'], null, 1, { toString: 'erase' }]) {
    const refused = await ask('files:write', '/servers/files/mcp', 'tools/call', { name });
    expect(refused.messages).toMatchObject([{ error: { code: -32602, message: expect.stringContaining('a string') } }]);
  }
  expect(fake.calls.filter(({ method }) => method === 'tools/call')).toEqual([]);
  const ran = await ask('files:write', '/servers/files/mcp', 'tools/call', { name: 'Write' });
  expect(ran.text).toContain('"ran":"Write"');
});

test('a session that was opened with more scopes is not there for a token with fewer, of the same user', async () => {
  const { url } = await gatewayOf();
  const headers = (scopes: string) => ({ ...ACCEPT, 'x-scopes': scopes });
  const opened = await exchange(`${url}/mcp`, { headers: headers('admin'), body: JSON.stringify(INIT) });
  const session = { 'mcp-session-id': String(opened.headers['mcp-session-id']) };
  const call = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'files__erase', arguments: {} } };
  const post = async (scopes: string): Promise<number> =>
    (await exchange(`${url}/mcp`, { headers: { ...headers(scopes), ...session }, body: JSON.stringify(call) })).status;
  expect([await post('admin'), await post('files:read'), await post('admin files:read')]).toEqual([200, 404, 404]);
  expect([await post('admin admin')]).toEqual([200]);
});

test('over HTTP+SSE the refusal comes on the stream, with the scope', async () => {
  const { url } = await gatewayOf();
  const headers = { 'x-scopes': 'files:read', accept: 'text/event-stream' };
  const asked = get(`${url}/sse`, { headers, agent: false });
  const [stream] = (await once(asked, 'response')) as [IncomingMessage];
  let text = '';
  stream.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  await expect.poll(() => text).toMatch(/data: \S+\n\n/);
  const [, path = ''] = /data: (\S+)/.exec(text) ?? [];
  const post = async (message: object): Promise<number> =>
    (
      await exchange(`${url}${path}`, {
        headers: { ...ACCEPT, 'x-scopes': 'files:read' },
        body: JSON.stringify(message),
      })
    ).status;
  expect(await post(INIT)).toBe(202);
  await expect.poll(() => text).toContain('"id":0');
  const call = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'files__write', arguments: {} } };
  expect(await post(call)).toBe(202);
  await expect.poll(() => text).toContain('needs the scope');
  expect(text).toContain('"scope":"files:write"');
  stream.destroy();
});

/** One client over two pipes; gives what it is answered. */
function stdio(gateway: Gateway, options: Parameters<Gateway['serveStdio']>[0]) {
  const [input, output] = [new PassThrough(), new PassThrough()];
  const answers: Message[] = [];
  output.on('data', (chunk: Buffer) => {
    for (const line of chunk.toString().split('\n').filter(Boolean)) answers.push(JSON.parse(line) as Message);
  });
  const served = gateway.serveStdio({ input, output, ...options });
  const ask = async (message: {
    readonly id: number;
    readonly method: string;
    readonly params?: object;
  }): Promise<Message | undefined> => {
    input.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
    await expect.poll(() => answers.find(({ id }) => id === message.id)).toBeDefined();
    return answers.find(({ id }) => id === message.id);
  };
  return { ask, served, end: () => void input.end() };
}

test('the one client of stdin is the user that it was said to be, by the same rules', async () => {
  const { gateway } = await gatewayOf();
  const { ask, served, end } = stdio(gateway, { user: { principal: 'me', scopes: ['files:read'] } });
  await ask(INIT);
  const listed = await ask({ id: 1, method: 'tools/list' });
  expect(listed?.error).toBeUndefined();
  expect(JSON.stringify(listed?.result)).not.toContain('write');
  const read = await ask({ id: 2, method: 'tools/call', params: { name: 'files__read_file', arguments: {} } });
  expect(read?.result).toMatchObject({ ran: 'read_file' });
  const write = await ask({ id: 3, method: 'tools/call', params: { name: 'files__write', arguments: {} } });
  expect(write?.error).toMatchObject({ data: { code: 'ERR_FORBIDDEN', scope: 'files:write' } });
  end();
  await served;
});

test('the client of stdin needs a name where the gateway asks for one, and has none where it does not', async () => {
  const { gateway } = await gatewayOf();
  await expect(gateway.serveStdio()).rejects.toMatchObject({ code: 'ERR_OPTION', option: 'user' });
  await expect(gateway.serveStdio({ user: { principal: '' } })).rejects.toMatchObject({ code: 'ERR_OPTION' });
  const open = closeAfter(new Gateway({ pool: pool(), port: 0 }));
  await expect(open.serveStdio({ user: { principal: 'me' } })).rejects.toMatchObject({
    code: 'ERR_OPTION',
    option: 'user',
  });
});

test('what is required of every token is named when it lacks', async () => {
  const need = async (): Promise<never> => {
    throw new ForbiddenError('gateway', { why: 'the scope tools is missing', scope: 'tools' });
  };
  const { url } = await gatewayOf({ authenticate: need });
  const refused = await exchange(`${url}/mcp`, { headers: ACCEPT, body: JSON.stringify(INIT) });
  expect([refused.status, refused.headers['www-authenticate']]).toEqual([
    403,
    `Bearer error="insufficient_scope", scope="tools", ${METADATA}`,
  ]);
});

test('fixed tokens have scopes; rules that are none are refused', async () => {
  const tokens = bearerTokens({ 'token-of-ann-0001': { principal: 'ann', scopes: ['files:read'] } });
  const request = {
    method: 'POST',
    url: '/',
    headers: { authorization: 'Bearer token-of-ann-0001' },
    address: undefined,
  };
  expect(await tokens(request)).toEqual({ principal: 'ann', scopes: ['files:read'] });
  const bad: unknown[] = [
    { 'a b': { servers: ['x'] } },
    { a: {} },
    { a: { servers: 'x' } },
    { a: { servers: [''] } },
    { a: { servers: ['x'], allowed: ['y'] } },
    { a: { servers: ['x'], deny: [1] } },
    'all',
  ];
  for (const scopes of bad) expect(() => new ScopeRules(scopes as never, undefined)).toThrow(OptionError);
  expect(() => new Gateway({ pool: pool(), scopes: SCOPES })).toThrow(OptionError);
  expect(() => new ScopeRules({ a: { servers: ['x'] } }, undefined).of([]).check('y')).toThrow(
    'server "y" is opened by no scope',
  );
});

test('a name that takes long to be compared with what is denied is opened by no scope that denies', () => {
  const rules = new ScopeRules(SCOPES, undefined);
  const compared = vi.spyOn(String.prototype, 'normalize');
  try {
    for (const name of ['\u0316\u0301'.repeat(2_000_000), 'x'.repeat(1_025)]) {
      expect(rules.of(['files:write']).shows('files', name)).toBe(false);
      expect(() => rules.of(['files:write']).check('files', name)).toThrow(ForbiddenError);
      expect(rules.of(['admin']).shows('files', name)).toBe(true);
    }
    expect(rules.of(['files:write']).shows('files', 'x'.repeat(1_024))).toBe(true);
    expect(compared).toHaveBeenCalledTimes(1);
  } finally {
    compared.mockRestore();
  }
});

test('of a list that says something twice, what was looked at is what a user is shown', async () => {
  const hidden = '{"name":"erase"}';
  const open = '{"name":"write","n":1.0}';
  const texts = [
    [`{"tools":[${hidden}],"tools":[${open}]}`, `{"tools":[{"name":"write","n":1.0}]}`],
    [`{"tools":[{"name":"erase","name":"write"},${open}],"a":1.0}`, `{"tools":[{"name":"write"},${open}],"a":1.0}`],
    [`{"a":1.0,"tools":[${hidden},${open}]}`, `{"a":1.0,"tools":[${open}]}`],
    [`{ "tools" : [ ${open} ] }`, `{ "tools" : [ ${open} ] }`],
    // One that cannot be called for want of a name takes no other with it.
    ...['{"toString":1,"valueOf":1}', '5', 'null'].map((name) => [
      `{"tools":[{"name":${name}},${open},null]}`,
      `{"tools":[${open}]}`,
    ]),
  ];
  let text = '';
  const given = new FakePool({ files: { methods: { 'tools/list': () => Buffer.from(text) } } });
  const access = new ScopeRules(SCOPES, undefined).of(['files:write']);
  const list = () => scopedPool(given, access).request('files', 'tools/list', undefined, { raw: true });
  for (const [sent = '', told] of texts) {
    text = sent;
    expect(String(await list())).toBe(told);
  }
  text = '{"tools":5}';
  await expect(list()).rejects.toMatchObject({ code: 'ERR_PROTOCOL' });
});
