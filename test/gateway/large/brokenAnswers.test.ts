import { expect, test, vi } from 'vitest';
import { Gateway } from '../../../src/gateway/Gateway.js';
import { StdioPool } from '../../../src/pool/StdioPool.js';
import { closeAfter } from '../../support/closeAfter.js';
import { RawClient } from '../../support/httpClient.js';
import { fixture } from '../../support/servers.js';
import { FRONTS, stdioClient } from '../../support/stdioClient.js';

// A program starts here, and the machine may be busy.
vi.setConfig({ testTimeout: 60_000 });

const MAX_BYTES = 2_000_000;
const CALL = { jsonrpc: '2.0', id: 7, method: 'tools/call', params: { name: 'large', arguments: { parts: 48 } } };
const TOO_LARGE = {
  message: expect.stringMatching(/^server "one": incoming message of \d+ bytes, 2000000 allowed$/),
  data: { code: 'ERR_MESSAGE_TOO_LARGE', retryable: false },
};

/** A gateway whose server answers with 3 MB where it may say 2. */
async function start() {
  const pool = closeAfter(new StdioPool({ ledger: false, maxMessageBytes: MAX_BYTES }));
  pool.addServer({ name: 'one', transport: 'stdio', command: process.execPath, args: [fixture('large-server.mjs')] });
  const gateway = closeAfter(new Gateway({ pool, port: 0 }));
  return { gateway, url: `${(await gateway.listen()).url}/servers/one/mcp` };
}

test.each(FRONTS)('the client of %s is told why a large result broke off', async (front) => {
  const { gateway, url } = await start();
  const { send, said, end } = await stdioClient(front, gateway, url);
  send(CALL);
  expect(await said()).toMatchObject({ id: 7, error: TOO_LARGE });
  expect(gateway.stats.cutResponses).toMatchObject({ failed: 1 });
  await end();
});

test('a response of JSON is cut for all other clients, which would take it for whole', async () => {
  const client = new RawClient((await start()).url);
  await client.initialize();
  await expect(client.send(CALL)).rejects.toMatchObject({ code: 'ECONNRESET' });
});
