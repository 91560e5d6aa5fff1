import { randomBytes } from 'node:crypto';
import { Client as ClientV2, StreamableHTTPClientTransport as TransportV2 } from '@modelcontextprotocol/client';
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { Transport as TransportOfV1 } from '@modelcontextprotocol/sdk/shared/transport.js';
import { expect, test, vi } from 'vitest';
import { Gateway } from '../../../src/gateway/Gateway.js';
import type { GatewayOptions } from '../../../src/gateway/GatewayOptions.js';
import { bearerTokens } from '../../../src/gateway/users/bearerTokens.js';
import { FakeClock } from '../../../src/testing/FakeClock.js';
import { closeAfter } from '../../support/closeAfter.js';
import { FakePool } from '../../support/FakePool.js';
import { exchange, RawClient } from '../../support/httpClient.js';

vi.setConfig({ testTimeout: 60_000 });

const KEY = randomBytes(32);
const TOOL = { name: 'echo', inputSchema: { type: 'object' as const } };

interface Replica {
  readonly gateway: Gateway;
  readonly url: string;
  readonly port: number;
}

async function replica(options: Partial<GatewayOptions> = {}, bound?: string): Promise<Replica> {
  const methods = {
    'tools/list': () => ({ tools: [TOOL] }),
    'tools/call': (params: unknown) => ({ content: [{ type: 'text', text: JSON.stringify(params) }] }),
  };
  const pool = new FakePool({ one: { methods }, two: { methods } });
  const sharing = (name: string) => ({
    name,
    transport: 'stdio',
    command: 'x',
    sharing: name === bound ? 'bound' : 'shared',
  });
  Object.assign(pool, { config: sharing });
  const gateway = closeAfter(new Gateway({ pool, port: 0, sessionKeys: [KEY], ...options }));
  const { url, port } = await gateway.listen();
  return { gateway, url, port };
}

const ping = async (client: RawClient): Promise<number> =>
  (await client.send({ jsonrpc: '2.0', id: 1, method: 'ping' })).status;

async function opened(url: string, headers: Record<string, string> = {}): Promise<RawClient> {
  const client = new RawClient(url);
  const { headers: answer } = await client.send(
    {
      jsonrpc: '2.0',
      id: 0,
      method: 'initialize',
      params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'raw', version: '1' } },
    },
    headers,
  );
  client.sessionId = String(answer['mcp-session-id']);
  return client;
}

/** The same session at another place. */
function moved(client: RawClient, url: string): RawClient {
  const other = new RawClient(url);
  other.sessionId = client.sessionId;
  return other;
}

test('sessions of both official clients go on after a restart of the gateway, without initialising anew', async () => {
  const first = await replica();
  const url = new URL(`${first.url}/servers/one/mcp`);
  const [v1, v2] = [new ClientV1({ name: 'v1', version: '1' }), new ClientV2({ name: 'v2', version: '2' })];
  const [t1, t2] = [new TransportV1(url), new TransportV2(url)];
  await Promise.all([v1.connect(t1 as TransportOfV1), v2.connect(t2)]);
  const ids = [t1.sessionId, t2.sessionId];
  await Promise.all([v1.callTool({ name: 'echo' }), v2.callTool({ name: 'echo' })]);
  await first.gateway.close();
  const second = await replica({ port: first.port });
  // Their streams come back by themselves; from then on no connection of before is used.
  await expect.poll(() => second.gateway.stats.streams, { timeout: 30_000 }).toBe(2);
  const results = await Promise.all([v1.callTool({ name: 'echo' }), v2.callTool({ name: 'echo' })]);
  expect(results).toMatchObject([{ content: [{ type: 'text' }] }, { content: [{ type: 'text' }] }]);
  expect([t1.sessionId, t2.sessionId]).toEqual(ids);
  expect(second.gateway.stats.sessions).toBe(2);
  await Promise.all([v1.close(), v2.close()]);
});

test('any replica with the key serves a session; one without it answers 404', async () => {
  const [a, b, stranger, alone] = await Promise.all([
    replica(),
    replica({ sessionKeys: [randomBytes(32), KEY] }),
    replica({ sessionKeys: [randomBytes(32)] }),
    replica(),
  ]);
  const client = await opened(`${a.url}/mcp`);
  expect(await ping(moved(client, `${b.url}/mcp`))).toBe(200);
  expect(await ping(moved(client, `${stranger.url}/mcp`))).toBe(404);
  // It is for one endpoint, and it is written in one way.
  expect(await ping(moved(client, `${alone.url}/servers/one/mcp`))).toBe(404);
  client.sessionId = `${client.sessionId}=`;
  expect(await ping(moved(client, `${alone.url}/mcp`))).toBe(404);
});

test('a session that its client ended is refused by the replica that saw it, also by one that did not have it', async () => {
  const [a, b] = await Promise.all([replica(), replica()]);
  const client = await opened(`${a.url}/mcp`);
  const there = moved(client, `${b.url}/mcp`);
  expect((await exchange(there.url, { method: 'DELETE', headers: there.headers })).status).toBe(200);
  expect(b.gateway.stats.sessions).toBe(0);
  expect(await ping(there)).toBe(404);
  expect((await exchange(there.url, { method: 'DELETE', headers: there.headers })).status).toBe(404);
  expect((await exchange(client.url, { method: 'DELETE', headers: client.headers })).status).toBe(200);
  expect(await ping(client)).toBe(404);
});

test('a ticket is its principal’s: with another’s token, and with none, it is 404', async () => {
  const authenticate = bearerTokens({
    'token-of-anna-1234': 'anna',
    'token-of-bert-1234': 'bert',
  });
  const [a, b, open] = await Promise.all([replica({ authenticate }), replica({ authenticate }), replica()]);
  const anna = { authorization: 'Bearer token-of-anna-1234' };
  const client = await opened(`${a.url}/mcp`, anna);
  const at = async (url: string, headers: Record<string, string>): Promise<number> =>
    (await moved(client, `${url}/mcp`).send({ jsonrpc: '2.0', id: 1, method: 'ping' }, headers)).status;
  expect(await at(b.url, anna)).toBe(200);
  expect(await at(b.url, { authorization: 'Bearer token-of-bert-1234' })).toBe(404);
  expect(await at(open.url, {})).toBe(404);
  expect(b.gateway.stats.sessions).toBe(1);
});

test('where a server has a connection for each session, sessions stay with their process', async () => {
  const [a, b] = await Promise.all([replica({}, 'one'), replica({}, 'one')]);
  for (const [path, status] of [
    ['/servers/one/mcp', 404],
    ['/mcp', 404],
    ['/servers/two/mcp', 200],
  ] as const) {
    const client = await opened(a.url + path);
    expect(await ping(client)).toBe(200);
    expect(await ping(moved(client, b.url + path))).toBe(status);
  }
});

test('sessions that are taken up count like new ones, and an idle one is forgotten at no cost to its client', async () => {
  const clock = new FakeClock();
  const a = await replica();
  const b = await replica({ clock, maxSessions: 3, maxSessionsPerAddress: 2, sessionIdleMs: 90_000 });
  const clients = await Promise.all([1, 2, 3].map(() => opened(`${a.url}/mcp`)));
  const [first, second, third] = clients.map((client) => moved(client, `${b.url}/mcp`)) as [
    RawClient,
    RawClient,
    RawClient,
  ];
  expect([await ping(first), await ping(second)]).toEqual([200, 200]);
  const refused = await third.send({ jsonrpc: '2.0', id: 1, method: 'ping' });
  expect(refused).toMatchObject({ status: 429, headers: { 'retry-after': '10' } });
  expect(refused.messages[0]?.error).toMatchObject({ data: { code: 'ERR_QUEUE_FULL', retryable: true } });
  await clock.advance(200_000);
  expect(b.gateway.stats.sessions).toBe(0);
  expect([await ping(third), await ping(first)]).toEqual([200, 200]);
  expect(b.gateway.stats.sessions).toBe(2);
});

test('a body for a session that can be taken up may be as large as any', async () => {
  const [a, b] = await Promise.all([replica(), replica()]);
  const client = moved(await opened(`${a.url}/servers/one/mcp`), `${b.url}/servers/one/mcp`);
  const { result } = await client.call('tools/call', { name: 'echo', arguments: { text: 'x'.repeat(500_000) } });
  expect(JSON.stringify(result).length).toBeGreaterThan(500_000);
});
