import { expect, test } from 'vitest';
import { Gateway } from '../../src/gateway/Gateway.js';
import { UnifiedPool } from '../../src/pool/UnifiedPool.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { closeAfter } from '../support/closeAfter.js';
import { RawClient } from '../support/httpClient.js';
import { RawServer, said } from '../support/rawServer.js';

/** A gateway over a server whose tools and resources have these names; `listChanged`: whether it says that it tells of changes. */
async function house(names: readonly string[], listChanged: boolean) {
  const lists: string[] = [];
  const own = listChanged ? { listChanged } : {};
  const before = ({
    message,
    json,
  }: {
    message?: { id?: unknown; method?: string; params?: object };
    json(message: unknown): void;
  }) => {
    const results: Readonly<Record<string, () => object>> = {
      initialize: () => ({
        protocolVersion: '2025-11-25',
        capabilities: { tools: own, resources: own },
        serverInfo: { name: 's', version: '1' },
      }),
      'tools/list': () => ({ tools: names.map((name) => ({ name, inputSchema: { type: 'object' } })) }),
      'resources/list': () => ({ resources: names.map((name) => ({ name, uri: `note:///${name}` })) }),
      'resources/templates/list': () => ({ resourceTemplates: [] }),
      'resources/read': () => ({ contents: [{ uri: 'note:///b', text: 'b' }] }),
      'tools/call': () => said('done'),
    };
    const { method = '' } = message ?? {};
    if (method.endsWith('/list')) lists.push(method);
    const result = results[method]?.();
    if (result !== undefined) json({ jsonrpc: '2.0', id: message?.id, result });
    return result !== undefined;
  };
  const { url } = closeAfter(await RawServer.listen({ before: before as never }));
  const other = closeAfter(await RawServer.listen());
  const pool = closeAfter(new UnifiedPool({ ledger: false }));
  pool.addServer({ name: 's', transport: 'http', url });
  pool.addServer({ name: 'other', transport: 'http', url: other.url });
  const clock = new FakeClock();
  const gateway = closeAfter(new Gateway({ pool, clock, port: 0 }));
  const client = new RawClient(`${(await gateway.listen()).url}/mcp`);
  await client.initialize();
  const toolsOf = async () =>
    ((await client.call('tools/list')).result as { tools: { name: string }[] }).tools.map(({ name }) => name);
  return { client, clock, lists, toolsOf };
}

test('what a server adds that does not say when its lists change is listed, called and read', async () => {
  const names = ['a'];
  const { client, clock, lists, toolsOf } = await house(names, false);
  const stream = await client.listen();
  expect(await toolsOf()).toEqual(['s__a']);
  await client.call('resources/list');
  names.push('b');
  const asked = lists.length;
  expect(await toolsOf()).toEqual(['s__a']);
  expect(lists).toHaveLength(asked);
  await clock.advance(1_000);
  expect((await client.call('tools/call', { name: 's__b' })).result).toEqual(said('done'));
  expect((await client.call('resources/read', { uri: 'note:///b' })).result).toMatchObject({
    contents: [{ text: 'b' }],
  });
  expect(await toolsOf()).toEqual(['s__a', 's__b']);
  names.shift();
  await clock.advance(1_000);
  expect(await toolsOf()).toEqual(['s__b']);
  expect((await stream.has(1))[0]).toMatchObject({ method: 'notifications/tools/list_changed' });
  await stream.stop();
});

test('a server that says so is asked when it does', async () => {
  const names = ['a'];
  const { clock, lists, toolsOf } = await house(names, true);
  expect(await toolsOf()).toEqual(['s__a']);
  const asked = lists.length;
  names.push('b');
  await clock.advance(60_000);
  expect(await toolsOf()).toEqual(['s__a']);
  expect(lists).toHaveLength(asked);
});
