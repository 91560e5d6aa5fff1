import { expect, test } from 'vitest';
import { Gateway } from '../../src/gateway/Gateway.js';
import { UnifiedPool } from '../../src/pool/UnifiedPool.js';
import { closeAfter } from '../support/closeAfter.js';
import { exchange, RawClient } from '../support/httpClient.js';
import { headersOf, META_OF_ANYONE } from '../support/modernRequests.js';
import { RawServer } from '../support/rawServer.js';

/** Rules go by the exact name of a method: what a server could take for it reaches none. */

const LIKE_TOOLS_CALL = [
  'Tools/Call',
  ' tools/call',
  'tools/call\0',
  'tools/call\n',
  'tools\\call',
  'tools.call',
  'toolsCall',
  'tools/call/',
  'tools/\uff43all',
  'tools/ca\u200bll',
  'too\u2060ls/call',
];
const LIKE_OTHERS = ['tas\u212as/get', 'RESOURCES/read', 'Notifications/cancelled', 'Initialize', 'PING'];
const refused = { error: { code: -32_601 } };

async function served(sharing: 'shared' | 'bound' = 'shared') {
  const before = ({
    message,
    json,
  }: Parameters<NonNullable<Parameters<typeof RawServer.listen>[0]>['before'] & {}>[0]) => {
    const answers = message?.id !== undefined && !/^(initialize|ping|server\/discover)$/.test(message?.method);
    if (answers) json({ jsonrpc: '2.0', id: message.id, result: { ran: message.method } });
    return answers;
  };
  const upstream = await RawServer.listen({ before });
  const pool = closeAfter(new UnifiedPool({ ledger: false }));
  pool.addServer({ name: 's', transport: 'http', url: upstream.url, sharing });
  const gateway = closeAfter(new Gateway({ pool, port: 0 }));
  const { url } = await gateway.listen();
  const client = new RawClient(`${url}/servers/s/mcp`);
  await client.initialize();
  return { upstream, client, url: client.url };
}

test('a method that a lax server could take for one of the protocol reaches none, in both eras', async () => {
  const { upstream, client, url } = await served();
  for (const method of [...LIKE_TOOLS_CALL, ...LIKE_OTHERS]) {
    expect(await client.call(method, { name: 'x' }), JSON.stringify(method)).toMatchObject(refused);
    if (!/^[ -~]+$/.test(method)) continue;
    const params = { name: 'x', _meta: META_OF_ANYONE };
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params });
    const { status, messages } = await exchange(url, { headers: headersOf(method.trim()), body });
    expect([status, messages], method).toMatchObject([method.trim() === method ? 404 : 400, [{ error: {} }]]);
  }
  // Of a server's own, and of the protocol, all reach it.
  for (const method of ['tools/call', 'x/y', 'tools/callAll', 'rpc.Discover', 'server/Info']) {
    expect(await client.call(method, { name: 'x' })).toMatchObject({ result: { ran: method } });
  }
  const told = upstream.seen
    .map(({ message }) => message?.method)
    .filter((method) => /call|tas|res|notif/i.test(method));
  expect(told).toEqual(['notifications/initialized', 'tools/call', 'tools/callAll']);
});

test('a session of the legacy era has no methods of the modern one', async () => {
  const { upstream, client } = await served();
  for (const method of ['server/discover', 'subscriptions/listen']) {
    expect(await client.call(method, { notifications: { toolsListChanged: true } })).toMatchObject(refused);
  }
  expect(upstream.of('subscriptions/listen')).toEqual([]);
  expect(upstream.of('server/discover').filter(({ message }) => message.params?.notifications)).toEqual([]);
});

test('what is told under a name like that of another notification reaches no bound server', async () => {
  const { upstream, client } = await served('bound');
  await client.call('tools/list');
  for (const method of ['notifications/Cancelled', 'notifications/cancelled ', 'Notifications/x', 'notifications/x']) {
    await client.send({ jsonrpc: '2.0', method, params: { requestId: 1 } });
  }
  await expect.poll(() => upstream.of('notifications/x')).toHaveLength(1);
  const told = upstream.seen.map(({ message }) => message?.method).filter((method) => /^notif/i.test(method));
  expect(told).toEqual(['notifications/initialized', 'notifications/x']);
});
