import * as v1 from '@modelcontextprotocol/sdk/types.js';
import { expect, test } from 'vitest';
import { Gateway } from '../../src/gateway/Gateway.js';
import type { ServerInfo } from '../../src/pool/McpPool.js';
import { closeAfter } from '../support/closeAfter.js';
import { FakePool } from '../support/FakePool.js';
import { RawClient } from '../support/httpClient.js';

const WHOLE = { name: 'x', version: '1', title: 't' };

/** What a client of `one` is told whose server said so of itself. */
async function told(said: { readonly capabilities?: unknown; readonly serverInfo?: unknown }) {
  class OddPool extends FakePool {
    readonly #info = { era: 'legacy', protocolVersion: '2025-11-25', ...said } as ServerInfo;
    override info(): ServerInfo {
      return this.#info;
    }
  }
  const gateway = closeAfter(new Gateway({ pool: new OddPool({ one: {} }), port: 0 }));
  const client = new RawClient(`${(await gateway.listen()).url}/servers/one/mcp`);
  const { result } = await client.initialize();
  expect(v1.InitializeResultSchema.safeParse(result).error).toBeUndefined();
  return result as { readonly capabilities: unknown; readonly serverInfo: unknown };
}

test('what a server says of itself passes as it came', async () => {
  const capabilities = {
    tools: { listChanged: true, other: 5 },
    resources: {},
    experimental: { a: { b: [] } },
    x: null,
  };
  expect(await told({ capabilities, serverInfo: WHOLE })).toMatchObject({ capabilities, serverInfo: WHOLE });
});

test.each([
  [{ tools: null, prompts: 5, logging: {} }, { logging: {} }],
  [
    { tools: true, completions: true },
    { tools: {}, completions: {} },
  ],
  [{ resources: { subscribe: 'yes', listChanged: true } }, { resources: { listChanged: true } }],
  [{ experimental: { a: null, b: {} } }, { experimental: { b: {} } }],
  [[], {}],
  [null, {}],
])('of odd capabilities (%j) clients are told what they can take', async (capabilities, taken) => {
  expect((await told({ capabilities, serverInfo: WHOLE })).capabilities).toEqual(taken);
});

test.each([
  [undefined, { name: 'one', version: '0' }],
  [{ name: 'x' }, { name: 'x', version: '0' }],
  [
    { version: '1', title: 't' },
    { name: 'one', version: '1', title: 't' },
  ],
  [
    { name: 5, version: null, title: 't' },
    { name: 'one', version: '0', title: 't' },
  ],
  ['x', { name: 'one', version: '0' }],
])('who a server is (%j) is mended where clients would refuse it', async (serverInfo, taken) => {
  expect((await told({ capabilities: {}, serverInfo })).serverInfo).toEqual(taken);
});
