import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { exchange } from '../support/httpClient.js';
import { AuthorizationServer, ProtectedServer } from '../support/oauth.js';
import { Program, runnable } from '../support/program.js';
import { examples } from '../support/servers.js';
import { tempFolder } from '../support/tempFolder.js';

// A program and its server start here, and the machine may be busy.
vi.setConfig({ testTimeout: 60_000 });

test('the proxy of docs/composing.md lets its user in, hides secrets, counts calls, and ends cleanly', async () => {
  const authority = await AuthorizationServer.listen();
  authority.clients.set('proxy', 'its-secret');
  const upstream = await ProtectedServer.listen(authority);
  const oauth = { OAUTH_SERVER: upstream.url, OAUTH_ISSUER: authority.issuer, OAUTH_SECRET: 'its-secret' };
  const env = { PORT: '0', XDG_DATA_HOME: tempFolder(), ...oauth };
  const program = new Program(await runnable('composed-proxy.ts'), { env });
  const [, port] = await program.line(/^listening .*"port":(\d+)/);
  const url = `http://127.0.0.1:${port}`;
  const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
  const post = (message: object, more: Record<string, string>) =>
    exchange(`${url}/mcp`, {
      headers: { ...headers, ...more },
      body: JSON.stringify({ jsonrpc: '2.0', id: 1, ...message }),
    });
  const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 't', version: '1' } };
  expect((await post({ method: 'initialize', params }, {})).status).toBe(401);
  const me = { authorization: 'Bearer only-for-a-first-try' };
  const opened = await post({ method: 'initialize', params }, me);
  const session = { ...me, 'mcp-session-id': String(opened.headers['mcp-session-id']) };
  const call = { name: 'everything__echo', arguments: { message: 'my key is sk-0123456789abcdef' } };
  expect((await post({ method: 'tools/call', params: call }, session)).text).toContain('my key is [redacted]');
  const far = await post({ method: 'tools/call', params: { name: 'account__who', arguments: {} } }, session);
  expect(far.text).toContain('it is you');
  expect(new Set(upstream.shown).has(me.authorization)).toBe(false);
  const metrics = await fetch(`${url}/metrics`, { headers: { connection: 'close' } });
  expect(await metrics.text()).toContain('everything');
  program.kill('SIGTERM');
  expect(await program.exited).toEqual({ code: 0, signal: null });
});

test('the blocks of docs/composing.md are the example', () => {
  const page = readFileSync(join(examples, '../docs/composing.md'), 'utf8');
  const blocks = [...page.matchAll(/```ts\n([\s\S]*?)\n```/g)].map(([, block]) => block);
  expect(`${blocks.join('\n\n')}\n`).toBe(readFileSync(join(examples, 'composed-proxy.ts'), 'utf8'));
});
