import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import {
  ElicitRequestSchema,
  LoggingMessageNotificationSchema,
  ToolListChangedNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { afterEach, expect, test, vi } from 'vitest';
import type { Era, ServerSettings } from '../../src/registry/config/ServerConfig.js';
import { type DualGateway, dualEraConfig, dualEraGateway, shareDualEra } from '../support/dualEra.js';
import { exchange, type Reply } from '../support/httpClient.js';

// Programs start here, and the machine may be busy.
vi.setConfig({ testTimeout: 60_000 });

shareDualEra(undefined, 'modern');

const VERSION = '2026-07-28';
const META = 'io.modelcontextprotocol';

let clients: { close(): Promise<void> }[] = [];

afterEach(async () => {
  await Promise.all(clients.map((client) => client.close()));
  clients = [];
});

const start = async (
  transport: 'http' | 'stdio',
  settings: Partial<ServerSettings> & { readonly only?: Era } = {},
): Promise<DualGateway> => dualEraGateway(await dualEraConfig(transport, settings));

async function connect(url: string, mode: 'auto' | { pin: string }): Promise<Client> {
  const client = new Client(
    { name: 'modern', version: '1' },
    { versionNegotiation: { mode }, capabilities: { elicitation: {}, sampling: {}, roots: {} } },
  );
  clients.push(client);
  client.setRequestHandler('elicitation/create', async () => ({ action: 'accept', content: { name: 'Eve' } }));
  client.setRequestHandler('sampling/createMessage', async () => ({
    role: 'assistant' as const,
    model: 'm',
    content: { type: 'text' as const, text: 'Paris' },
  }));
  client.setRequestHandler('roots/list', async () => ({ roots: [{ uri: 'file:///here' }] }));
  await client.connect(new StreamableHTTPClientTransport(new URL(url)));
  return client;
}

const textOf = (result: unknown): string => (result as { content: [{ text: string }] }).content[0].text;

const steps = async (client: Client): Promise<void> => {
  const { tools } = await client.listTools();
  expect(tools.map(({ name }) => name)).toContain('test_simple_text');
  const call = async (name: string): Promise<string> => textOf(await client.callTool({ name, arguments: {} }));
  expect(await call('test_simple_text')).toBe('This is a simple text response for testing.');
  expect(await call('test_input_required_result_elicitation')).toBe('Hello, Eve!');
  expect(await call('test_input_required_result_multiple_inputs')).toBe('all 3 answered');
  const header = await client.callTool({ name: 'test_header_parameter', arguments: { region: 'Zürich' } });
  expect(textOf(header)).toBe('Zürich');
  const seen: number[] = [];
  await client.callTool(
    { name: 'test_tool_with_progress', arguments: {} },
    { onprogress: ({ progress }) => void seen.push(progress) },
  );
  expect(seen).toEqual([0, 50, 100]);
  const { contents } = await client.readResource({ uri: 'test://static-text' });
  expect(contents).toHaveLength(1);
  const prompt = await client.getPrompt({ name: 'test_prompt_with_arguments', arguments: { arg1: 'a', arg2: 'b' } });
  expect(prompt.messages).toHaveLength(1);
};

for (const [transport, settings] of [
  ['http', {}],
  ['http', { sharing: 'bound' }],
  ['stdio', {}],
  ['stdio', { sharing: 'bound' }],
  ['stdio', { sharing: 'bound', only: 'legacy' }],
  ['http', { only: 'legacy' }],
] as const) {
  test(`a modern client has all of a server over ${transport} ${JSON.stringify(settings)}`, async () => {
    const { path } = await start(transport, settings);
    // It does not ask the server first what it speaks: its first request meets a gateway that knows nothing yet.
    const pinned = await connect(path, { pin: VERSION });
    const result = await pinned.callTool({ name: 'test_input_required_result_elicitation', arguments: {} });
    expect(textOf(result)).toBe('Hello, Eve!');
    const auto = await connect(path, 'auto');
    expect(auto.getNegotiatedProtocolVersion()).toBe(VERSION);
    await steps(auto);
  });
}

test('a subscription is acknowledged and told of changes', async () => {
  const { path } = await start('http');
  const client = await connect(path, { pin: VERSION });
  const changed = new Promise<void>((resolve) => {
    client.setNotificationHandler('notifications/tools/list_changed', () => resolve());
  });
  const subscription = await client.listen({ toolsListChanged: true });
  await client.callTool({ name: 'test_trigger_tool_change', arguments: {} });
  await changed;
  await subscription.close();
});

test('a legacy client has all of a server that speaks the modern era alone', async () => {
  const { path } = await start('http', { only: 'modern' });
  const client = new ClientV1({ name: 'legacy', version: '1' }, { capabilities: { elicitation: {} } });
  clients.push(client);
  client.setRequestHandler(ElicitRequestSchema, async ({ params }) => ({
    action: 'accept',
    content: String(params.message).includes('color') ? { color: 'blue' } : { name: 'Eve' },
  }));
  const lines: unknown[] = [];
  client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) => void lines.push(params.data));
  await client.connect(new TransportV1(new URL(path)) as Transport);
  const result = await client.callTool({ name: 'test_input_required_result_multi_round', arguments: {} });
  expect(textOf(result)).toBe('Eve likes blue');
  expect(Object.keys(result)).toEqual(['content']);
  expect(Object.keys(await client.listTools())).toEqual(['tools']);
  await client.setLoggingLevel('info');
  await client.callTool({ name: 'test_tool_with_logging', arguments: {} });
  expect(lines).toHaveLength(3);
  await client.ping();
});

/** One request of the modern era, with what `change` makes of its headers and message. */
async function send(
  url: string,
  change: (
    headers: Record<string, string>,
    message: { id: unknown; method: string; params: Record<string, unknown> },
  ) => void,
): Promise<Reply> {
  const meta = { [`${META}/protocolVersion`]: VERSION, [`${META}/clientCapabilities`]: {} };
  const message = { jsonrpc: '2.0', id: 7 as unknown, method: 'tools/list', params: { _meta: meta } };
  const headers = {
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
    'mcp-protocol-version': VERSION,
    'mcp-method': 'tools/list',
  };
  change(headers, message);
  return exchange(url, { headers, body: JSON.stringify(message) });
}

test('what is not of the modern era’s form is refused with its status, its code and the id it came with', async () => {
  const { path } = await start('stdio');
  const call = (name: string, args: object, more: Record<string, string> = {}) =>
    send(path, (headers, message) => {
      message.method = 'tools/call';
      Object.assign(headers, { 'mcp-method': 'tools/call', 'mcp-name': name, ...more });
      Object.assign(message.params, { name, arguments: args });
    });
  const cases: readonly (readonly [string, Promise<Reply>, number, number])[] = [
    ['another method', send(path, (headers) => Object.assign(headers, { 'mcp-method': 'tools/call' })), 400, -32020],
    [
      'another version',
      send(path, (headers) => Object.assign(headers, { 'mcp-protocol-version': '2027-01-01' })),
      400,
      -32020,
    ],
    ['no version header', send(path, (headers) => void delete headers['mcp-protocol-version']), 400, -32020],
    ['no envelope', send(path, (_, message) => void delete message.params['_meta']), 400, -32602],
    [
      'an unknown version',
      send(path, (headers, message) => {
        headers['mcp-protocol-version'] = '2027-01-01';
        (message.params['_meta'] as Record<string, unknown>)[`${META}/protocolVersion`] = '2027-01-01';
      }),
      400,
      -32022,
    ],
    [
      'a removed method',
      send(path, (headers, message) => {
        headers['mcp-method'] = 'ping';
        message.method = 'ping';
      }),
      404,
      -32601,
    ],
    ['another name', call('test_simple_text', {}, { 'mcp-name': 'other' }), 400, -32020],
    ['a name in bad base64', call('test_simple_text', {}, { 'mcp-name': '=?base64?SGVsbG8?=' }), 400, -32020],
    ['a missing parameter header', call('test_header_parameter', { region: 'x' }), 400, -32020],
    ['another parameter', call('test_header_parameter', { region: 'x' }, { 'mcp-param-region': 'y' }), 400, -32020],
  ];
  for (const [what, sent, status, code] of cases) {
    const reply = await sent;
    expect([what, reply.status, reply.messages[0]?.id, reply.messages[0]?.error?.code]).toEqual([
      what,
      status,
      7,
      code,
    ]);
  }
  const padded = await call(
    'test_header_parameter',
    { region: 'Hello' },
    { 'mcp-param-region': '=?base64?SGVsbG8=?=' },
  );
  expect(padded.status).toBe(200);
});

test('calls that come together before the era of their server is known are all answered', async () => {
  const { path } = await start('stdio', { only: 'legacy' });
  const replies = await Promise.all(
    Array.from({ length: 16 }, () =>
      send(path, (headers, message) => {
        message.method = 'tools/call';
        Object.assign(headers, { 'mcp-method': 'tools/call', 'mcp-name': 'test_simple_text' });
        Object.assign(message.params, { name: 'test_simple_text', arguments: {} });
      }),
    ),
  );
  for (const { messages } of replies) expect(messages[0]?.error).toBeUndefined();
});

test('a call whose client closes the response is cancelled upstream', async () => {
  const { path, pool } = await start('http');
  const control = new AbortController();
  const meta = { [`${META}/protocolVersion`]: VERSION, [`${META}/clientCapabilities`]: {} };
  const params = { name: 'test_slow', arguments: { ms: 60_000 }, _meta: meta };
  const sent = fetch(path, {
    method: 'POST',
    signal: control.signal,
    headers: {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'mcp-protocol-version': VERSION,
      'mcp-method': 'tools/call',
      'mcp-name': 'test_slow',
    },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params }),
  });
  sent.catch(() => undefined);
  await expect.poll(() => pool.stats('dual').inFlight, { timeout: 20_000 }).toBe(1);
  control.abort();
  await expect.poll(() => pool.stats('dual').inFlight, { timeout: 20_000 }).toBe(0);
});

test('the aggregate serves the modern era, too', async () => {
  const { url } = await start('http');
  const client = await connect(`${url}/mcp`, { pin: VERSION });
  const result = await client.callTool({ name: 'dual__test_input_required_result_elicitation', arguments: {} });
  expect(textOf(result)).toBe('Hello, Eve!');
});

test('a legacy client of a modern server is told of changed lists', async () => {
  const { path } = await start('http', { only: 'modern' });
  const client = new ClientV1({ name: 'legacy', version: '1' });
  clients.push(client);
  const changed = new Promise<void>((resolve) => {
    client.setNotificationHandler(ToolListChangedNotificationSchema, () => resolve());
  });
  await client.connect(new TransportV1(new URL(path)) as Transport);
  // The stream for it may open after the first change; a call that the end of the test cuts off does not matter.
  const change = () => client.callTool({ name: 'test_trigger_tool_change', arguments: {} }).catch(() => undefined);
  const again = setInterval(() => void change(), 200);
  await changed.finally(() => clearInterval(again));
});
