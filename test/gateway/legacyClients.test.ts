import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  LoggingMessageNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { afterEach, expect, test, vi } from 'vitest';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { dualEraConfig, dualEraGateway, shareDualEra } from '../support/dualEra.js';
import { RawClient } from '../support/httpClient.js';

// Programs start here, and the machine may be busy.
vi.setConfig({ testTimeout: 60_000 });

shareDualEra(undefined);

let clients: Client[] = [];

afterEach(async () => {
  await Promise.all(clients.map((client) => client.close()));
  clients = [];
});

const connect = async (url: string, name: string, capabilities: object = {}): Promise<Client> => {
  const client = new Client({ name, version: '7' }, { capabilities });
  clients.push(client);
  await client.connect(new StreamableHTTPClientTransport(new URL(url)) as Transport);
  return client;
};

const textOf = (result: unknown): string => (result as { content: [{ text: string }] }).content[0].text;

const sampler = async (url: string, name: string): Promise<Client> => {
  const client = await connect(url, name, { sampling: {} });
  client.setRequestHandler(CreateMessageRequestSchema, async ({ params }) => {
    const [asked] = params.messages.map(({ content }) => (content as { text: string }).text);
    return { role: 'assistant', model: 'm', content: { type: 'text', text: `${name} was asked ${asked}` } };
  });
  return client;
};

test('on a shared HTTP server each client answers what its own calls ask', async () => {
  const { path, pool } = await dualEraGateway(await dualEraConfig('http'));
  const names = ['anna', 'bert', 'cleo'];
  const all = await Promise.all(names.map((name) => sampler(path, name)));
  const calls = all.flatMap((client, index) =>
    [1, 2].map(async (round) => {
      const prompt = `${names[index]} ${round}`;
      const result = await client.callTool({ name: 'test_sampling', arguments: { prompt } });
      expect(textOf(result)).toBe(`LLM response: ${names[index]} was asked ${prompt}`);
    }),
  );
  await Promise.all(calls);
  expect(pool.stats('dual').connections).toBe(1);
});

test('a client that cannot sample is not asked, and the server is told so', async () => {
  const { path } = await dualEraGateway(await dualEraConfig('http'));
  await sampler(path, 'other');
  const client = await connect(path, 'plain');
  const result = await client.callTool({ name: 'test_sampling', arguments: { prompt: 'hello' } });
  expect(result.isError).toBe(true);
});

test('a legacy client of a server of both eras is served as a legacy one, though the pool speaks the other era with it', async () => {
  const { path, pool } = await dualEraGateway(await dualEraConfig('http'));
  await pool.startServer('dual');
  expect(pool.info('dual', {})?.era).toBe('modern');
  const client = await connect(path, 'legacy', { elicitation: {} });
  client.setRequestHandler(ElicitRequestSchema, async () => ({ action: 'accept', content: { name: 'Eve' } }));
  const lines: unknown[] = [];
  client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) => void lines.push(params.data));
  await client.setLoggingLevel('info');
  await client.callTool({ name: 'test_tool_with_logging', arguments: {} });
  expect(lines).toHaveLength(3);
  const result = await client.callTool({ name: 'test_input_required_result_elicitation', arguments: {} });
  expect(textOf(result)).toBe('Hello, Eve!');
});

test('clients of a server that speaks the legacy era alone share its one connection', async () => {
  const { path, pool } = await dualEraGateway(await dualEraConfig('http', { only: 'legacy' }));
  await pool.startServer('dual');
  await Promise.all(['a', 'b'].map((name) => connect(path, name)));
  expect(pool.stats('dual').connections).toBe(1);
});

test('a bound server sees the client itself: its version of the protocol, its name and all it can do', async () => {
  const { path } = await dualEraGateway(await dualEraConfig('stdio', { sharing: 'bound' }));
  const raw = new RawClient(path);
  await raw.initialize('2025-06-18', { elicitation: {}, experimental: { 'x.example/thing': { deep: true } } });
  const { result } = await raw.call('tools/call', { name: 'test_who', arguments: {} });
  expect(JSON.parse(textOf(result))).toMatchObject({
    era: 'legacy',
    version: '2025-06-18',
    client: { name: 'raw' },
    capabilities: { elicitation: {}, experimental: { 'x.example/thing': { deep: true } } },
  });
});

test('a call that lasts becomes a stream that heartbeats keep open, and no time of the gateway ends it', async () => {
  const clock = new FakeClock();
  const { path } = await dualEraGateway(await dualEraConfig('stdio'), { clock });
  const raw = new RawClient(path);
  await raw.initialize('2025-11-25', {});
  const body = { name: 'test_slow', arguments: { ms: 1_500 } };
  const response = await fetchHeaders(raw, body, clock);
  expect(response.headers.get('content-type')).toBe('text/event-stream');
  expect(response.headers.get('x-accel-buffering')).toBe('no');
  await clock.advance(600_000);
  expect(await response.text()).toContain('after 1500 ms');
});

/** Resolves at the response's first byte: time passes on the gateway's clock until it comes. */
async function fetchHeaders(raw: RawClient, params: object, clock: FakeClock): Promise<Response> {
  const body = JSON.stringify({ jsonrpc: '2.0', id: 99, method: 'tools/call', params });
  const headers = { ...raw.headers, 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
  let response: Response | undefined;
  const fetched = fetch(raw.url, { method: 'POST', headers, body }).then((got) => {
    response = got;
  });
  while (response === undefined) {
    await clock.advance(2_500);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await fetched;
  return response;
}

const LEFT = 'clients that left a bound server without saying so make room for those who come';

test.each([
  ['/servers/dual/mcp', 'test_who', 2, {}],
  ['/mcp', 'dual__test_who', 2, {}],
  // One user has three of four connections.
  ['/servers/dual/mcp', 'test_who', 4, { authenticate: async () => ({ principal: 'anna' }) }],
] as const)(`on %s ${LEFT} %#`, async (path, tool, maxConnections, options) => {
  const config = await dualEraConfig('stdio', { sharing: 'bound', maxConnections });
  const { url } = await dualEraGateway(config, options);
  for (const name of ['a', 'b', 'c', 'd']) {
    const client = await connect(url + path, name);
    const result = await client.callTool({ name: tool, arguments: {} });
    expect(JSON.parse(textOf(result))).toMatchObject({ client: { name } });
    await client.close();
  }
});
