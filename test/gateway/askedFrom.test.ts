import { afterEach, expect, test, vi } from 'vitest';
import { Gateway } from '../../src/gateway/Gateway.js';
import { bearerTokens } from '../../src/gateway/users/bearerTokens.js';
import type { Caller } from '../../src/pool/McpPool.js';
import { UnifiedPool } from '../../src/pool/UnifiedPool.js';
import { fakeServer } from '../../src/testing/fake/FakeServer.js';
import { closeAfter } from '../support/closeAfter.js';
import { headersOf, META, META_OF_ANYONE } from '../support/modernRequests.js';

/** What fails, and what leads calls back to one of several targets, counts to where it comes from: all of a call that the pool is told of that. */

const TOKEN = 'a-token-of-anns-0123456789';
let gateway: Gateway;

afterEach(() => gateway.close());

/** A gateway, and whom its pool is told of for what is asked by a method. */
async function house(authenticate?: ReturnType<typeof bearerTokens>) {
  const resources = { 'x:1': 'x' };
  const { url } = await closeAfter(fakeServer({ tools: { run: {} }, resources })).listen();
  const pool = closeAfter(new UnifiedPool());
  pool.addServer({ name: 'several', targets: [{ url, transport: 'http' }], era: 'modern' });
  pool.addServer({ name: 'single', url, transport: 'http', era: 'modern' });
  pool.addServer({ name: 'old', url, transport: 'http', era: 'legacy' });
  pool.addServer({ name: 'lent', url, transport: 'http', era: 'legacy', sharing: 'leased' });
  pool.addServer({ name: 'own', url, transport: 'http', era: 'legacy', sharing: 'bound' });
  const asked: [method: string, server: string, from: string | undefined][] = [];
  const note = (method: string, server: string, caller: Caller | undefined): void =>
    void asked.push([method, server, caller?.principal === undefined ? caller?.origin : 'a principal']);
  const { request, subscribe } = pool;
  vi.spyOn(pool, 'request').mockImplementation((server, method, params, options) => {
    note(method, server, options?.caller);
    return request.call(pool, server, method, params, options);
  });
  vi.spyOn(pool, 'subscribe').mockImplementation((server, filter, options) => {
    // What the gateway itself follows is for all.
    if (filter.resourceUris !== undefined) note('subscribe', server, options.caller);
    return subscribe.call(pool, server, filter, options);
  });
  gateway = new Gateway({ pool, port: 0, ...(authenticate && { authenticate }) });
  const { url: base } = await gateway.listen();
  const post = (path: string, body: object, headers: Record<string, string>): Promise<Response> =>
    fetch(`${base}${path}`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        authorization: `Bearer ${TOKEN}`,
        ...headers,
      },
      body: JSON.stringify({ jsonrpc: '2.0', id: 1, ...body }),
    });
  /** One request of the modern era; `enough` of its answer ends it. */
  const modern = async (path: string, method: string, params: object, name?: string, enough?: string) => {
    const _meta = { ...META_OF_ANYONE, [`${META}/clientCapabilities`]: {}, [`${META}/logLevel`]: 'debug' };
    const response = await post(path, { method, params: { ...params, _meta } }, headersOf(method, name));
    let told = '';
    for await (const chunk of response.body ?? []) {
      told += Buffer.from(chunk as Uint8Array).toString();
      if (enough !== undefined && told.includes(enough)) break;
    }
    return told;
  };
  const legacy = async (path: string, call: object): Promise<void> => {
    const version = '2025-11-25';
    const params = { protocolVersion: version, capabilities: {}, clientInfo: { name: 'x', version: '1' } };
    const begun = await post(path, { method: 'initialize', params }, {});
    await begun.text();
    const headers = { 'mcp-session-id': begun.headers.get('mcp-session-id') ?? '', 'mcp-protocol-version': version };
    await (await post(path, call, headers)).text();
  };
  const from = (method: string, server?: string) =>
    asked.filter(([each, at]) => each === method && (server ?? at) === at).map(([, , where]) => where);
  return { pool, modern, legacy, from };
}

const SERVERS = ['several', 'single', 'old', 'lent', 'own'];

test.each(SERVERS)('the calls of modern clients come from their addresses, at the server %s', async (server) => {
  const { pool, modern, from } = await house();
  const [own, all] = [`/servers/${server}/mcp`, '/mcp'];
  expect(await modern(own, 'tools/call', { name: 'run', arguments: {} }, 'run')).toContain('"result"');
  const name = `${server}__run`;
  expect(await modern(all, 'tools/call', { name, arguments: {} }, name)).toContain('"result"');
  expect(from('tools/call', server)).toEqual(['127.0.0.1', '127.0.0.1']);
  expect(from('ping', server)[0]).toBe('127.0.0.1');
  // That alone makes no connection of its own.
  if (server === 'single') expect(pool.stats(server).connections).toBe(1);
});

test('the levels of modern clients come from their addresses', async () => {
  const { modern, from } = await house();
  // The first call makes the connection, and each has it as it is then.
  for (let i = 0; i < 2; i++) await modern('/servers/old/mcp', 'tools/call', { name: 'run', arguments: {} }, 'run');
  expect(from('logging/setLevel', 'old')).toEqual(['127.0.0.1']);
});

test.each(['single', 'old'])(
  'what modern clients subscribe to comes from their addresses, at the server %s',
  async (server) => {
    const { modern, from } = await house();
    const notifications = { resourceSubscriptions: ['x:1'] };
    const listen = (path: string) => modern(path, 'subscriptions/listen', { notifications }, undefined, 'acknowledged');
    expect(await listen(`/servers/${server}/mcp`)).toContain('acknowledged');
    expect(await listen('/mcp')).toContain('acknowledged');
    expect(from('subscribe')).toEqual(['127.0.0.1', '127.0.0.1']);
  },
);

test.each(SERVERS)('the calls of legacy clients come from their addresses, at the server %s', async (server) => {
  const { legacy, from } = await house();
  await legacy(`/servers/${server}/mcp`, { method: 'tools/call', params: { name: 'run', arguments: {} } });
  expect(from('tools/call', server)).toEqual(['127.0.0.1']);
});

test('those of users are the users’', async () => {
  const { modern, from } = await house(bearerTokens({ [TOKEN]: 'ann' }));
  for (const server of ['several', 'old'])
    await modern(`/servers/${server}/mcp`, 'tools/call', { name: 'run', arguments: {} }, 'run');
  expect([...from('tools/call', 'several'), ...from('tools/call', 'old')]).toEqual(['a principal', 'a principal']);
});
