import { afterEach, expect, test, vi } from 'vitest';
import { Gateway } from '../../src/gateway/Gateway.js';
import { bearerTokens } from '../../src/gateway/users/bearerTokens.js';
import { UnifiedPool } from '../../src/pool/UnifiedPool.js';
import { fakeServer } from '../../src/testing/fake/FakeServer.js';
import { closeAfter } from '../support/closeAfter.js';

/** What fails, and what leads calls back to one of several targets, counts to where it comes from: all of a call that the pool is told of that. */

const META = 'io.modelcontextprotocol';
const VERSION = '2026-07-28';
const TOKEN = 'a-token-of-anns-0123456789';
let gateway: Gateway;

afterEach(() => gateway.close());

/** Where the pool is told that the calls of `ask` come from. */
async function origins(
  authenticate?: ReturnType<typeof bearerTokens>,
): Promise<(server: string, era: string) => Promise<unknown>> {
  const { url } = await closeAfter(fakeServer({ tools: { run: {} } })).listen();
  const pool = closeAfter(new UnifiedPool());
  pool.addServer({ name: 'several', targets: [{ url, transport: 'http' }], era: 'modern' });
  pool.addServer({ name: 'single', url, transport: 'http', era: 'modern' });
  const request = vi.spyOn(pool, 'request');
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
  return async (server, era) => {
    const path = `/servers/${server}/mcp`;
    const call = { method: 'tools/call', params: { name: 'run', arguments: {} } };
    if (era === 'modern') {
      const _meta = { [`${META}/protocolVersion`]: VERSION, [`${META}/clientCapabilities`]: {} };
      const headers = { 'mcp-protocol-version': VERSION, 'mcp-method': 'tools/call', 'mcp-name': 'run' };
      await (await post(path, { ...call, params: { ...call.params, _meta } }, headers)).text();
    } else {
      const version = '2025-11-25';
      const params = { protocolVersion: version, capabilities: {}, clientInfo: { name: 'x', version: '1' } };
      const begun = await post(path, { method: 'initialize', params }, {});
      await begun.text();
      const headers = { 'mcp-session-id': begun.headers.get('mcp-session-id') ?? '', 'mcp-protocol-version': version };
      await (await post(path, call, headers)).text();
    }
    const made = request.mock.calls.findLast(([, method]) => method === 'tools/call');
    request.mockClear();
    expect(made).toBeDefined();
    const caller = made?.[3]?.caller;
    return caller?.principal === undefined ? caller?.origin : 'a principal';
  };
}

test.each(['modern', 'legacy'])('the calls of %s clients come from their addresses', async (era) => {
  const from = await origins();
  expect(await from('several', era)).toBe('127.0.0.1');
  expect(await from('single', era)).toBe('127.0.0.1');
});

test('those of users are the users’', async () => {
  const from = await origins(bearerTokens({ [TOKEN]: 'ann' }));
  expect(await from('several', 'modern')).toBe('a principal');
});
