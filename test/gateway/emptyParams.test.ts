import { expect, test } from 'vitest';
import { Gateway } from '../../src/gateway/Gateway.js';
import { UnifiedPool } from '../../src/pool/UnifiedPool.js';
import { closeAfter } from '../support/closeAfter.js';
import { RawClient } from '../support/httpClient.js';
import { RawServer } from '../support/rawServer.js';

test.each([[[]], [null]])('params that are %j, as PHP and others write what is empty, are taken', async (params) => {
  const server = await RawServer.listen();
  const pool = closeAfter(new UnifiedPool({ ledger: false }));
  pool.addServer({ name: 's', transport: 'http', url: server.url, era: 'legacy' });
  const gateway = closeAfter(new Gateway({ pool, port: 0 }));
  const { url } = await gateway.listen();
  for (const path of ['/mcp', '/servers/s/mcp']) {
    const client = new RawClient(`${url}${path}`);
    await client.initialize();
    expect(await client.call('ping', params)).toMatchObject({ result: {} });
    expect(await client.call('tools/list', params)).toMatchObject({ result: { tools: expect.any(Array) } });
    const notice = { jsonrpc: '2.0', method: 'notifications/roots/list_changed', params };
    expect((await client.send(notice)).status).toBe(202);
  }
  expect(server.of('tools/list').map(({ message }) => message.params ?? {})).not.toContainEqual([]);
});
