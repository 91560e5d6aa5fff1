import { afterEach, expect, test, vi } from 'vitest';
import { Cli, run } from '../support/cli.js';
import { RawClient } from '../support/httpClient.js';
import { everythingSse } from '../support/httpServers.js';
import { RawServer } from '../support/rawServer.js';
import { RawSse } from '../support/rawSse.js';

const EXAMPLE = 'examples/remote.json';

afterEach(() => vi.unstubAllEnvs());

test('the example’s servers behind URLs are called, with and without a type, with their headers', async () => {
  const server = await RawServer.listen({ lost: 404 });
  const old = await RawSse.listen();
  const any = await everythingSse();
  vi.stubEnv('NEW_URL', server.url);
  vi.stubEnv('NEW_TOKEN', 'secret-1');
  vi.stubEnv('OLD_URL', old.url);
  vi.stubEnv('ANY_URL', any.url);
  const ends = await Promise.all([
    run('call', 'new', 'echo', '{"text":"hello"}', '--config', EXAMPLE),
    run('call', 'old', 'echo', '{"text":"hello"}', '--config', EXAMPLE),
    run('call', 'either', 'echo', '{"message":"hello"}', '--config', EXAMPLE),
  ]);
  expect(ends.map(({ code, stdout }) => [code, stdout])).toEqual([
    [0, 'hello'],
    [0, 'hello'],
    [0, 'Echo: hello'],
  ]);
  expect(server.seen.every(({ headers }) => headers.authorization === 'Bearer secret-1')).toBe(true);
  // The call is over, and so is its session.
  expect([server.of('DELETE').length, server.sessions.size]).toEqual([1, 0]);
});

test('what is not there is told in one line, without the headers', async () => {
  const server = await RawServer.listen({ before: ({ res }) => res.writeHead(401).end() !== undefined });
  vi.stubEnv('NEW_URL', server.url);
  vi.stubEnv('NEW_TOKEN', 'secret-2');
  const { code, stderr } = await run('call', 'new', 'echo', '--config', EXAMPLE, '--log-level', 'silent');
  expect(code).toBe(1);
  expect(stderr).toMatch(/^mcp-poolkit: examples\/remote\.json: server "new", field url: did not start: .*\n$/);
  expect(stderr).not.toContain('secret-2');
});

test('serve offers servers of every wire, and ends their sessions', async () => {
  const server = await RawServer.listen({
    lost: 404,
    before: ({ message, json }) => {
      if (message?.method !== 'tools/list') return false;
      json({ jsonrpc: '2.0', id: message.id, result: { tools: [{ name: 'echo', inputSchema: { type: 'object' } }] } });
      return true;
    },
  });
  const any = await everythingSse();
  vi.stubEnv('NEW_URL', server.url);
  vi.stubEnv('ANY_URL', any.url);
  const program = new Cli('serve', '--config', EXAMPLE, '--port', '0', '--json', '--log-level', 'silent');
  const { url } = await program.event('ready');
  const client = new RawClient(`${url}/mcp`);
  await client.initialize();
  const { result, error } = await client.call('tools/call', { name: 'either__echo', arguments: { message: 'hi' } });
  expect(error).toBeUndefined();
  expect(result).toMatchObject({ content: [{ text: 'Echo: hi' }] });
  program.kill('SIGTERM');
  expect((await program.exited).code).toBe(0);
  expect(server.sessions.size).toBe(0);
});
