import { afterEach, expect, test, vi } from 'vitest';
import * as pages from '../../src/gateway/aggregate/lists/pages.js';
import { UriOwners } from '../../src/gateway/aggregate/uris/UriOwners.js';
import { Curator } from '../../src/gateway/curation/Curator.js';
import { Gateway } from '../../src/gateway/Gateway.js';
import type { GatewayOptions } from '../../src/gateway/GatewayOptions.js';
import { HTTPClientPool } from '../../src/pool/HTTPClientPool.js';
import { closeAfter } from '../support/closeAfter.js';
import { countTurns } from '../support/countTurns.js';
import { RawClient } from '../support/httpClient.js';
import { RawServer } from '../support/rawServer.js';

const ITEMS = 700;
const PAGE = 100;
const METHODS = ['tools/list', 'prompts/list', 'resources/list', 'resources/templates/list'] as const;

/** A server that lists `ITEMS` of each kind, under the same URIs as any other. */
async function server(): Promise<RawServer> {
  const each = Array.from({ length: ITEMS }, (_, i) => i);
  const ui = (i: number): object => ({ ui: { resourceUri: `ui://${i}` }, 'openai/outputTemplate': `ui://${i}` });
  const results: Readonly<Record<string, object>> = {
    initialize: {
      protocolVersion: '2025-06-18',
      capabilities: { resources: {}, tools: {}, prompts: {} },
      serverInfo: { name: 's', version: '1' },
    },
    'tools/list': { tools: each.map((i) => ({ name: `t${i}`, inputSchema: { type: 'object' }, _meta: ui(i) })) },
    'prompts/list': { prompts: each.map((i) => ({ name: `p${i}` })) },
    'resources/list': { resources: each.map((i) => ({ uri: `r://${i}`, name: `r${i}` })) },
    'resources/templates/list': {
      resourceTemplates: each.map((i) => ({ uriTemplate: `r${i}://{x}`, name: `r${i}` })),
    },
  };
  return RawServer.listen({
    before: ({ method, message, json }) => {
      const result = results[message?.method];
      if (method !== 'POST' || message?.id === undefined || result === undefined) return false;
      json({ jsonrpc: '2.0', id: message.id, result });
      return true;
    },
  });
}

async function open(servers: readonly RawServer[], options: Partial<GatewayOptions> = {}): Promise<RawClient> {
  const pool = closeAfter(new HTTPClientPool());
  for (const [i, each] of servers.entries()) pool.addServer({ name: `s${i}`, transport: 'http', url: each.url });
  const gateway = closeAfter(new Gateway({ pool, port: 0, pageItems: PAGE, ...options }));
  const client = new RawClient(`${(await gateway.listen()).url}/mcp`);
  await client.initialize('2025-06-18');
  return client;
}

const pageOf = async (client: RawClient, method: string, cursor?: unknown): Promise<Record<string, unknown>> =>
  (await client.call(method, cursor === undefined ? {} : { cursor })).result ?? {};

afterEach(() => vi.restoreAllMocks());

test('of a long list the items of the page asked for are made, and no others', async () => {
  const client = await open([await server()]);
  for (const method of METHODS) await pageOf(client, method);
  const made = vi.spyOn(Curator.prototype, 'tool');
  const asked = vi.spyOn(UriOwners.prototype, 'get');
  for (const method of METHODS) await pageOf(client, method);
  expect(made).toHaveBeenCalledTimes(PAGE);
  // Of each of three URIs of a tool, of a resource and of a template, in two tables at most.
  expect(asked.mock.calls.length).toBeLessThanOrEqual(PAGE * 10);
});

test('of a long list the tool that is described is made, and no other', async () => {
  const client = await open([await server()], { curation: { expose: 'search' } });
  const describe = () => client.call('tools/call', { name: 'describe_tool', arguments: { name: 's0__t600' } });
  await expect.poll(async () => JSON.stringify(await describe())).toContain('ui://600');
  const made = vi.spyOn(Curator.prototype, 'tool');
  await describe();
  expect(made).toHaveBeenCalledTimes(1);
});

test('which tools of a long list a user may see is found out once', async () => {
  let looked = 0;
  const rule = {
    servers: ['*'],
    get deny(): string[] {
      looked++;
      return ['t7'];
    },
  };
  const client = await open([await server()], {
    scopes: { some: rule },
    authenticate: async () => ({ principal: 'ann', scopes: ['some'] }),
  });
  const names = async () =>
    ((await pageOf(client, 'tools/list'))['tools'] as { name: string }[]).map(({ name }) => name);
  await expect.poll(async () => (await names()).length).toBe(PAGE);
  looked = 0;
  const listed = await names();
  expect(listed.slice(5, 8)).toEqual(['s0__t5', 's0__t6', 's0__t8']);
  expect(looked).toBe(0);
});

test('whose an item is does not depend on which page is asked for first, or where', async () => {
  const servers = [await server(), await server()];
  const [client, other] = [await open(servers), await open(servers)];
  for (const method of METHODS) {
    const pages: Record<string, unknown>[] = [];
    for (let cursor: unknown; pages.length === 0 || cursor !== undefined; cursor = pages.at(-1)?.['nextCursor']) {
      pages.push(await pageOf(client, method, cursor));
    }
    expect(pages).toHaveLength((2 * ITEMS) / PAGE);
    const text = JSON.stringify(pages.slice(ITEMS / PAGE));
    if (method !== 'prompts/list') expect(text).toContain('poolkit:s1/');
    // The other begins behind the items of the first server.
    const cursor = pages[ITEMS / PAGE - 1]?.['nextCursor'];
    expect(await pageOf(other, method, cursor)).toEqual(pages[ITEMS / PAGE]);
    expect(await pageOf(other, method)).toEqual(pages[0]);
  }
});

test('a page is made in turns of the event loop', async () => {
  const client = await open([await server()]);
  await pageOf(client, 'tools/list');
  using turns = countTurns();
  const made: number[] = [];
  vi.spyOn(Curator.prototype, 'tool').mockImplementation((_server, item) => {
    const untilMs = performance.now() + 0.5;
    while (performance.now() < untilMs);
    made.push(turns.count);
    return item;
  });
  expect(((await pageOf(client, 'tools/list'))['tools'] as unknown[]).length).toBe(PAGE);
  expect(new Set(made).size).toBeGreaterThan(2);
});

test('a long list is named in turns of the event loop, once for all who ask meanwhile', async () => {
  const client = await open([await server()]);
  using turns = countTurns();
  const named: number[] = [];
  const toolName = Curator.prototype.toolName;
  vi.spyOn(Curator.prototype, 'toolName').mockImplementation(function (this: Curator, ...args) {
    const untilMs = performance.now() + 0.2;
    while (performance.now() < untilMs);
    named.push(turns.count);
    return toolName.apply(this, args);
  });
  const [call, ...pages] = await Promise.all([
    client.call('tools/call', { name: 's0__t600', arguments: {} }),
    pageOf(client, 'tools/list'),
    pageOf(client, 'tools/list'),
  ]);
  for (const page of pages) expect(page['tools']).toHaveLength(PAGE);
  // It reached its server, which does not call it.
  expect(call.error?.message).toBe('unknown tool t600');
  expect(named).toHaveLength(ITEMS);
  expect(new Set(named).size).toBeGreaterThan(5);
});

test('of a cursor that is none any more, or was made up, few keys of a long list are looked at', () => {
  let looked = 0;
  const all = Array.from({ length: 20_000 }, (_, at) => ({
    server: at < 5_000 ? 'a' : 'b',
    get key(): string {
      looked++;
      return `k${at}`;
    },
    item: at,
  }));
  const sections = ['a', 'b'].map((name) => ({ server: name, entries: all.filter(({ server }) => server === name) }));
  const [a, b] = sections as [pages.Section<number>, pages.Section<number> & { entries: typeof all }];
  const { nextCursor } = pages.pageOf('tools', sections, undefined, 7_000);
  const made = Buffer.from(JSON.stringify(['tools', 'b', 'none', 9_000, 14_000])).toString('base64url');
  looked = 0;
  // The one it stood behind is gone: what followed it has moved up.
  expect(pages.pageOf('tools', sections, made, 2).entries.map(({ item }) => item)).toEqual([13_999, 14_000]);
  expect(looked).toBeLessThan(2_100);
  for (const moved of [-900, 900]) {
    const fresh = all.slice(0, Math.max(0, moved)).map(({ key, item }) => ({ server: 'b', key: `new ${key}`, item }));
    const others = [a, { server: 'b', entries: b.entries.toSpliced(100, Math.max(0, -moved), ...fresh) }];
    expect(pages.pageOf('tools', others, nextCursor, 2).entries.map(({ item }) => item)).toEqual([7_000, 7_001]);
  }
});
