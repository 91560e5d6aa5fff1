// Clients of the SDK, recorded in front of a proxy over a fake server, with `node --test examples/proxy-clients.test.mjs`: docs/testing.md.
import { test } from 'node:test';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { bearerTokens, Gateway } from 'mcp-poolkit/gateway';
import { UnifiedPool } from 'mcp-poolkit/pool';
import { check, fakeServer, History, record } from 'mcp-poolkit/testing';

const tokens = { 'token-of-alice-01': 'alice', 'token-of-bob-0001': 'bob' };

test('every user gets the answers of their own calls, and each call acts once', async () => {
  const fake = fakeServer({
    name: 'files',
    tools: { read: { serviceMs: 5 }, size: { call: ({ text }) => `${String(text).length} letters` } },
    plan: { seed: 7, rules: [{ tool: 'read', every: 4, fault: 'error' }] },
  });

  // The proxy under test: put yours here.
  const pool = new UnifiedPool();
  await pool.startAll([{ name: 'files', transport: 'http', url: (await fake.listen()).url }]);
  const gateway = new Gateway({ pool, port: 0, authenticate: bearerTokens(tokens) });
  const { url } = await gateway.listen();

  const history = new History();
  const users = Object.entries(tokens).map(async ([token, principal]) => {
    const as = { part: principal, principal, session: principal };
    const client = record(new Client({ name: principal, version: '1' }), history, as);
    const requestInit = { headers: { authorization: `Bearer ${token}` } };
    await client.connect(new StreamableHTTPClientTransport(new URL(`${url}/mcp`), { requestInit }));
    for (let call = 0; call < 20; call++) {
      const name = call % 2 ? 'files__read' : 'files__size';
      await client.callTool({ name, arguments: { text: `${principal} ${call}` } }).catch((error) => error);
    }
    await client.close();
  });
  await Promise.all(users);
  await gateway.close();
  await pool.close();
  await fake.close();

  history.end();
  history.merge(fake.events);
  const verdict = check(history, { label: 'seed 7' });
  console.log(String(verdict));
  verdict.assert();
});
