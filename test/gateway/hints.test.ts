import { expect, test } from 'vitest';
import { Gateway } from '../../src/gateway/Gateway.js';
import { UnifiedPool } from '../../src/pool/UnifiedPool.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { closeAfter } from '../support/closeAfter.js';
import { exchange } from '../support/httpClient.js';
import { RawServer } from '../support/rawServer.js';

const META = 'io.modelcontextprotocol';

/** A modern server whose lists hold so long, for all or not; `asked` counts its tools' lists. */
async function server(hints: object) {
  const asked = { tools: 0 };
  const raw = await RawServer.listen({
    era: 'modern',
    before: ({ message, json }) => {
      const { id, method } = message ?? {};
      const answer = (result: object): true => {
        json({ jsonrpc: '2.0', id, result: { resultType: 'complete', ...hints, ...result } });
        return true;
      };
      const supportedVersions = ['2026-07-28'];
      if (method === 'server/discover') return answer({ supportedVersions, capabilities: { tools: {}, prompts: {} } });
      if (method === 'prompts/list') return answer({ prompts: [{ name: 'p' }] });
      if (method !== 'tools/list') return false;
      asked.tools++;
      return answer({ tools: [{ name: 't', inputSchema: { type: 'object' } }] });
    },
  });
  return { url: raw.url, asked };
}

test('lists of /mcp hold as long as what is left of the shortest, and are for all only where each is', async () => {
  const clock = new FakeClock();
  const long = await server({ ttlMs: 60_000, cacheScope: 'public' });
  const short = await server({ ttlMs: 30_000, cacheScope: 'private' });
  const pool = closeAfter(new UnifiedPool({ ledger: false }));
  pool.addServer({ name: 'long', transport: 'http', url: long.url, era: 'modern' });
  const gateway = closeAfter(new Gateway({ pool, port: 0, clock }));
  const { url } = await gateway.listen();
  const hints = async (kind: 'tools' | 'prompts'): Promise<unknown> => {
    const method = `${kind}/list`;
    const _meta = { [`${META}/protocolVersion`]: '2026-07-28', [`${META}/clientCapabilities`]: {} };
    const headers = {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'mcp-protocol-version': '2026-07-28',
      'mcp-method': method,
    };
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params: { _meta } });
    const { messages } = await exchange(`${url}/mcp`, { headers, body });
    const { ttlMs, cacheScope, [kind]: items } = messages[0]?.result ?? {};
    return { ttlMs, cacheScope, items: (items as unknown[]).length };
  };
  for (const kind of ['tools', 'prompts'] as const) {
    expect(await hints(kind)).toEqual({ ttlMs: 60_000, cacheScope: 'public', items: 1 });
  }
  await clock.advance(20_000);
  expect(await hints('tools')).toEqual({ ttlMs: 40_000, cacheScope: 'public', items: 1 });
  expect(await hints('prompts')).toEqual({ ttlMs: 40_000, cacheScope: 'public', items: 1 });
  pool.addServer({ name: 'short', transport: 'http', url: short.url, era: 'modern' });
  expect(await hints('tools')).toEqual({ ttlMs: 30_000, cacheScope: 'private', items: 2 });
  expect(await hints('prompts')).toEqual({ ttlMs: 30_000, cacheScope: 'private', items: 2 });
  expect([long.asked.tools, short.asked.tools]).toEqual([1, 1]);
  // A list whose time is over is asked for anew.
  await clock.advance(31_000);
  await expect.poll(() => hints('tools')).toEqual({ ttlMs: 9_000, cacheScope: 'private', items: 2 });
  expect(long.asked.tools).toBe(1);
  expect(short.asked.tools).toBeGreaterThan(1);
});
