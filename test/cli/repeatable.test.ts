import { writeFileSync } from 'node:fs';
import { expect, test, vi } from 'vitest';
import { Cli, configFile } from '../support/cli.js';
import { closeAfter } from '../support/closeAfter.js';
import { RawClient } from '../support/httpClient.js';
import { type Upstream, upstream } from '../support/upstreams.js';

vi.setConfig({ testTimeout: 60_000 });

async function serving(config: string) {
  const program = new Cli('serve', '--config', config, '--port', '0', '--json');
  closeAfter({
    close: async () => {
      program.kill('SIGTERM');
      await program.exited;
    },
  });
  const { url } = await program.event('ready');
  const client = new RawClient(`${String(url)}/mcp`);
  return { program, client };
}

const target = ({ url }: Upstream) => ({ url, type: 'http' });
const call = (client: RawClient, tool: string, more: object = {}) =>
  client.call('tools/call', { name: `app__${tool}`, ...more });

test('behind serve a mirror gets copies of repeatable tools alone, and of others once the file says so', async () => {
  const tools = { read: { text: 'read' }, write: { text: 'written' } };
  const [main, mirror] = await Promise.all([upstream('main', { tools }), upstream('mirror', { tools })]);
  const app = { targets: [target(main)], mirror: { to: target(mirror), ratio: 1 } };
  const file = configFile({ app: { ...app, tools: { rename: { read: 'look' } }, repeatable: ['read'] } });
  const { program, client } = await serving(file);
  await client.initialize();
  // By the server's own names, whatever clients call them.
  for (const tool of ['write', 'look']) expect(await call(client, tool)).toHaveProperty('result');
  await expect.poll(() => mirror.ran('read')).toBe(1);
  expect(mirror.ran('write')).toBe(0);

  const change = (repeatable: unknown) =>
    writeFileSync(file, JSON.stringify({ mcpServers: { app: { ...app, repeatable } } }, null, 2));
  change(['w*']);
  await program.line(/"event":"reloaded".*"changed":\["app"\]/);
  for (const tool of ['read', 'write']) expect(await call(client, tool)).toHaveProperty('result');
  await expect.poll(() => mirror.ran('write')).toBe(1);
  expect(mirror.ran('read')).toBe(1);

  change('write');
  const problem = await program.line(/.*"event":"problem".*/);
  expect(JSON.parse(problem[0])).toMatchObject({ server: 'app', field: 'repeatable' });
  expect(problem[0]).toContain('expected an array of strings');
  await program.line(/"event":"reloaded".*"kept":\["app"\]/);
  expect(await call(client, 'write')).toHaveProperty('result');
  await expect.poll(() => mirror.ran('write')).toBe(2);
});

test('behind serve a slow call of a repeatable tool is hedged, also of a client that can be asked', async () => {
  const slow = { read: { text: 'slow', serviceMs: 60_000 }, write: { text: 'slow', serviceMs: 200 } };
  const fast = { read: { text: 'fast', steps: 2 }, write: { text: 'fast' } };
  const [first, second] = await Promise.all([
    upstream('first', { tools: slow, answers: 'events' }),
    upstream('second', { tools: fast, answers: 'events' }),
  ]);
  const settings = { balance: 'failover', hedge: { after: 20 }, era: 'legacy', repeatable: ['read'] };
  const { client } = await serving(configFile({ app: { targets: [target(first), target(second)], ...settings } }));
  await client.initialize('2025-11-25', { sampling: {} });
  const { messages } = await client.send({
    jsonrpc: '2.0',
    id: 1,
    method: 'tools/call',
    params: { name: 'app__read', _meta: { progressToken: 'mine' } },
  });
  // Of the hedge its client hears nothing but the answer.
  expect(messages).toMatchObject([{ id: 1, result: { content: [{ text: 'fast' }] } }]);
  expect(await call(client, 'write')).toMatchObject({ result: { content: [{ text: 'slow' }] } });
  expect([first, second].map(({ ran }) => [ran('read'), ran('write')])).toEqual([
    [1, 1],
    [1, 0],
  ]);
});
