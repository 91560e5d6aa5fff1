import { expect, test } from 'vitest';
import { Gateway } from '../../src/gateway/Gateway.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { closeAfter } from '../support/closeAfter.js';
import { FakePool } from '../support/FakePool.js';
import { exchange } from '../support/httpClient.js';
import { headersOf, META_OF_ANYONE } from '../support/modernRequests.js';

test('what one modern client was linked to changes nothing for another', async () => {
  const linking = {
    capabilities: { tools: {} },
    lists: { tools: [{ name: 'link', inputSchema: { type: 'object' } }] },
    methods: { 'tools/call': () => ({ content: [{ type: 'resource_link', uri: 'file:///report', name: 'r' }] }) },
  };
  const gateway = closeAfter(new Gateway({ pool: new FakePool({ a: linking, b: linking }), port: 0 }));
  const url = `${(await gateway.listen()).url}/mcp`;
  const linked = async (name: string): Promise<string> => {
    const params = { name, arguments: {}, _meta: META_OF_ANYONE };
    const message = { jsonrpc: '2.0', id: 1, method: 'tools/call', params };
    const headers = headersOf('tools/call', name);
    return (await exchange(url, { method: 'POST', headers, body: JSON.stringify(message) })).text;
  };
  expect(await linked('a__link')).toContain('"poolkit:a/file:///report"');
  expect(await linked('b__link')).toContain('"poolkit:b/file:///report"');
});

test('a call whose headers do not say what it says is refused, also when the list cannot be read again', async () => {
  let lists = 0;
  const inputSchema = { type: 'object', properties: { region: { type: 'string', 'x-mcp-header': 'Region' } } };
  const pool = new FakePool({
    one: {
      capabilities: { tools: {} },
      lists: {
        tools: async () => {
          if (lists++ > 0) throw new Error('not now');
          return [{ name: 'there', inputSchema }];
        },
      },
      methods: { 'tools/call': () => ({ content: [] }) },
    },
  });
  const clock = new FakeClock();
  const gateway = closeAfter(new Gateway({ pool, port: 0, clock }));
  const url = `${(await gateway.listen()).url}/servers/one/mcp`;
  const call = async (more: Record<string, string>, twice = ''): Promise<unknown> => {
    const params = { name: 'there', arguments: { region: 'x' }, _meta: META_OF_ANYONE };
    const once = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params });
    const body = once.replace('"region"', `${twice}"region"`);
    const { status, messages } = await exchange(url, {
      headers: { ...headersOf('tools/call', 'there'), ...more },
      body,
    });
    return [status, messages[0]?.error?.code];
  };
  expect(await call({ 'mcp-param-region': 'x' })).toEqual([200, undefined]);
  // Its server may read the first of two.
  expect(await call({ 'mcp-param-region': 'x' }, '"region":"y",')).toEqual([400, -32020]);
  // The list was read a moment ago.
  expect([await call({}), lists]).toEqual([[400, -32020], 1]);
  await clock.advance(1_000);
  expect([await call({}), lists]).toEqual([[400, -32020], 2]);
});
