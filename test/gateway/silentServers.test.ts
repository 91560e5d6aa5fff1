import { expect, test } from 'vitest';
import { systemClock } from '../../src/core/clock.js';
import { Gateway } from '../../src/gateway/Gateway.js';
import { HTTPClientPool } from '../../src/pool/HTTPClientPool.js';
import type { ServerSettings } from '../../src/registry/config/ServerConfig.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { closeAfter } from '../support/closeAfter.js';
import { exchange, type Message, messagesOf, RawClient } from '../support/httpClient.js';
import { RawServer } from '../support/rawServer.js';

/** Servers that are up and never answer one kind of question: neither the client nor the shutdown waits for them. */

const INFO = {
  protocolVersion: '2025-06-18',
  capabilities: { logging: {}, resources: { subscribe: true }, tools: {} },
  serverInfo: { name: 's', version: '1' },
};

/** Answers all but `silentOn`, which is heard. */
async function server(uri: string, silentOn: readonly string[] = []): Promise<RawServer> {
  const results: Readonly<Record<string, object>> = {
    initialize: INFO,
    'tools/list': { tools: [{ name: 'go', inputSchema: { type: 'object' } }] },
    'resources/list': { resources: [{ uri, name: uri }] },
    'resources/templates/list': { resourceTemplates: [] },
  };
  return RawServer.listen({
    before: ({ method, message, json }) => {
      if (method !== 'POST' || message?.id === undefined || message.method === 'server/discover') return false;
      if (!silentOn.includes(message.method))
        json({ jsonrpc: '2.0', id: message.id, result: results[message.method] ?? {} });
      return true;
    },
  });
}

async function start(
  silentOn: string | readonly string[],
  clock: FakeClock | typeof systemClock = systemClock,
  settings: Pick<ServerSettings, 'timeouts'> = {},
) {
  const evil = await server('evil://a', [silentOn].flat());
  const good = await server('good://a');
  const pool = closeAfter(new HTTPClientPool({ clock }));
  pool.addServer({ name: 'evil', transport: 'http', url: evil.url, ...settings });
  pool.addServer({ name: 'good', transport: 'http', url: good.url });
  const gateway = closeAfter(new Gateway({ pool, port: 0, clock }));
  const { url } = await gateway.listen();
  const client = new RawClient(`${url}/mcp`);
  await client.initialize('2025-06-18');
  await client.call('tools/list');
  await client.call('resources/list');
  return { evil, gateway, client, url };
}

const heard = (of: RawServer, method: string): Promise<void> =>
  expect.poll(() => of.of(method).length, { timeout: 10_000 }).toBeGreaterThan(0);
const codeOf = ({ error }: Message): unknown => error?.data?.['code'];

test.each([
  ['logging/setLevel', { level: 'info' }],
  ['resources/subscribe', { uri: 'evil://a' }],
])('the shutdown answers what waits for %s, and waits for no server', async (method, params) => {
  const { evil, gateway, client } = await start(method);
  const answer = client.call(method, params);
  await heard(evil, method);
  await gateway.close({ graceMs: 50 });
  expect(codeOf(await answer)).toBe('ERR_OUTCOME_UNKNOWN');
});

test('the shutdown answers an initialize that waits for a server', async () => {
  const silent = await RawServer.listen({
    before: ({ method, message }) => method === 'POST' && message?.method === 'initialize',
  });
  const pool = closeAfter(new HTTPClientPool());
  pool.addServer({ name: 'silent', transport: 'http', url: silent.url });
  const gateway = closeAfter(new Gateway({ pool, port: 0 }));
  const client = new RawClient(`${(await gateway.listen()).url}/servers/silent/mcp`);
  const params = { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'c', version: '1' } };
  const answer = client.call('initialize', params);
  await heard(silent, 'initialize');
  const closed = gateway.close({ graceMs: 50 });
  expect(codeOf(await answer)).toBe('ERR_OUTCOME_UNKNOWN');
  await closed;
});

test("a level is the session's also when a server never says so, and its client can give up the wait", async () => {
  const clock = new FakeClock();
  const { evil, client } = await start('logging/setLevel', clock);
  const first = client.call('logging/setLevel', { level: 'info' });
  await heard(evil, 'logging/setLevel');
  await clock.advance(5_000);
  expect(await first).toMatchObject({ result: {} });
  const second = client.send({
    jsonrpc: '2.0',
    id: 'given up',
    method: 'logging/setLevel',
    params: { level: 'error' },
  });
  await expect.poll(() => evil.of('logging/setLevel').length, { timeout: 10_000 }).toBe(2);
  await client.send({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 'given up' } });
  expect((await second).messages).toEqual([]);
});

test('a subscription, and a session with one, end though their server does not say so', async () => {
  const clock = new FakeClock();
  const { evil, client } = await start('resources/unsubscribe', clock);
  await client.call('resources/subscribe', { uri: 'evil://a' });
  const given = client.call('resources/unsubscribe', { uri: 'evil://a' });
  await heard(evil, 'resources/unsubscribe');
  // Who subscribes to it again waits until that is given up.
  await clock.advance(1_500);
  expect(await given).toMatchObject({ result: {} });
  await client.call('resources/subscribe', { uri: 'evil://a' });
  const ended = exchange(client.url, { method: 'DELETE', headers: client.headers });
  await expect.poll(() => evil.of('resources/unsubscribe').length, { timeout: 10_000 }).toBe(2);
  await clock.advance(1_000);
  expect((await ended).status).toBe(200);
});

test('what a modern client listens to is agreed on without the server that says nothing', async () => {
  const clock = new FakeClock();
  const { evil, url } = await start('resources/subscribe', clock);
  const META = 'io.modelcontextprotocol';
  const _meta = {
    [`${META}/protocolVersion`]: '2026-07-28',
    [`${META}/clientInfo`]: { name: 'c', version: '1' },
    [`${META}/clientCapabilities`]: {},
  };
  const notifications = { toolsListChanged: true, resourceSubscriptions: ['good://a', 'evil://a'] };
  const left = new AbortController();
  const response = await Promise.all([
    fetch(`${url}/mcp`, {
      method: 'POST',
      signal: left.signal,
      headers: {
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        'mcp-protocol-version': '2026-07-28',
        'mcp-method': 'subscriptions/listen',
      },
      body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'subscriptions/listen', params: { _meta, notifications } }),
    }),
    heard(evil, 'resources/subscribe').then(() => clock.advance(2_000)),
  ]).then(([first]) => first);
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  const { value } = await reader.read();
  const [told] = messagesOf(Buffer.from(value ?? []).toString());
  expect(told?.params?.['notifications']).toEqual({ toolsListChanged: true, resourceSubscriptions: ['good://a'] });
  left.abort();
});

test.each([
  ['logging/setLevel', [{ level: 'info' }, { level: 'error' }], { result: {} }],
  ['resources/subscribe', [{ uri: 'evil://a' }], { error: { data: { code: 'ERR_REQUEST_TIMEOUT' } } }],
] as const)('%s at /mcp takes no longer than the time that the server has', async (method, all, told) => {
  const clock = new FakeClock();
  const { evil, client } = await start([method, 'resources/unsubscribe'], clock, { timeouts: { default: 400 } });
  for (const [at, params] of all.entries()) {
    const answer = client.call(method, params);
    await expect.poll(() => evil.of(method).length, { timeout: 10_000 }).toBe(at + 1);
    // Times stand in steps of their own.
    await clock.advance(500);
    expect(await answer).toMatchObject(told);
  }
});
