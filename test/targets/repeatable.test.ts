import { expect, test } from 'vitest';
import type { SeveralServersConfig } from '../../src/registry/config/ServerConfig.js';
import { History, record } from '../../src/testing/index.js';
import { closeAfter } from '../support/closeAfter.js';
import { RawServer } from '../support/rawServer.js';
import { said } from '../support/stdioPool.js';
import { pool, several, upstream } from '../support/upstreams.js';

const tools = { read_file: { text: 'read' }, search: { text: 'found' }, write_file: { text: 'written' } };

async function mirrored(settings: Partial<SeveralServersConfig>) {
  const [main, mirror] = await Promise.all([upstream('main', { tools }), upstream('mirror', { tools })]);
  const of = pool();
  of.addServer(several([{ url: main.url }], { mirror: { to: { url: mirror.url }, ratio: 1 }, ...settings }));
  return { of, mirror };
}

test('calls of repeatable tools are copied to a mirror: by their names, whatever a tool says of itself', async () => {
  const { of, mirror } = await mirrored({ repeatable: ['read_*', 'search'] });
  const call = (name: string, more: object = {}) => of.request('app', 'tools/call', { name, ...more });
  await call('write_file');
  await call('searching').catch(() => undefined);
  // What is asked for once, or goes on with what one client was asked, is not repeated.
  for (const more of [{ task: {} }, { requestState: '[]' }, { inputResponses: {} }]) await call('search', more);
  await call('read_file');
  await call('search');
  await expect.poll(() => of.stats('app').spread?.mirror).toMatchObject({ sent: 2, same: 2 });
  expect([mirror.ran('read_file'), mirror.ran('search'), mirror.ran()]).toEqual([1, 1, 2]);
});

test('a server that names no tool has none that is repeatable', async () => {
  const { of, mirror } = await mirrored({});
  for (const name of Object.keys(tools)) await of.callTool('app', name);
  expect(of.stats('app').spread?.mirror).toMatchObject({ sent: 0 });
  expect(mirror.ran()).toBe(0);
});

/** Breaks the connection of each server's first call. */
async function flaky() {
  let ran = 0;
  const server = closeAfter(
    await RawServer.listen({
      before: ({ message, res }) => {
        if (message?.method !== 'tools/call' || ++ran % 2 === 0) return false;
        res.destroy();
        return true;
      },
      tools: { search: ({ answer }) => answer('found'), write: ({ answer }) => answer('written') },
    }),
  );
  return { server, ran: () => ran };
}

test('a call that may have run is sent again if its tool is repeatable, and a history does not mind', async () => {
  const { server, ran } = await flaky();
  const history = new History();
  const of = record(pool(), history);
  of.addServer({ name: 'app', url: server.url, transport: 'http', era: 'legacy', repeatable: ['s*h'] });
  const call = (name: string) => said(of.request('app', 'tools/call', { name }));
  expect(await call('search')).toBe('found');
  expect(ran()).toBe(2);
  await expect(call('write')).rejects.toMatchObject({ code: 'ERR_OUTCOME_UNKNOWN' });
  expect(ran()).toBe(3);
  const invoked = history.events.filter((each) => each.type === 'invoke');
  expect(invoked.map(({ tool, idempotent = false }) => [tool, idempotent])).toEqual([
    ['search', true],
    ['write', false],
  ]);
});

test.each(['bound', 'leased'] as const)('calls of a %s server stay in their session', async (sharing) => {
  const { server, ran } = await flaky();
  const of = pool();
  const targets = [{ url: server.url, transport: 'http' as const }];
  of.addServer({ ...several(targets, { sharing, era: 'legacy' }), repeatable: ['*'] });
  const call = of.request('app', 'tools/call', { name: 'search' }, { caller: { key: 'k', principal: 'p' } });
  await expect(call).rejects.toMatchObject({ code: 'ERR_OUTCOME_UNKNOWN' });
  expect(ran()).toBe(1);
});

test.each([
  ['search', 'an array of strings'],
  [['search', 7], 'a string'],
  [[''], 'the name of a tool, got an empty string'],
])('repeatable: %j is refused', (repeatable, expected) => {
  const config = { name: 'app', url: 'http://127.0.0.1:1/mcp', repeatable: repeatable as string[] };
  expect(() => pool().addServer(config)).toThrow(new RegExp(`servers\\["app"\\]\\.repeatable.*${expected}`));
});
