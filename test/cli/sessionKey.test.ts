import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { Cli, configFile, run } from '../support/cli.js';
import { RawClient } from '../support/httpClient.js';
import { fixture } from '../support/servers.js';
import { tempFolder } from '../support/tempFolder.js';

// Programs start here, and the machine may be busy.
vi.setConfig({ testTimeout: 60_000 });

const config = (): string => configFile({ echo: { command: process.execPath, args: [fixture('echo-server.mjs')] } });

test('a session goes on after its gateway was killed and started again with the same key; a new key seals, the old one opens', async () => {
  const file = join(tempFolder(), 'keys');
  const [old, fresh] = [randomBytes(32).toString('hex'), randomBytes(32).toString('hex')];
  writeFileSync(file, `${old}\n`);
  const args = ['serve', '--config', config(), '--port', '0', '--json', '--session-key', file];
  const first = new Cli(...args);
  const client = new RawClient(`${(await first.event('ready'))['url']}/servers/echo/mcp`);
  await client.initialize();
  first.kill('SIGKILL');
  await first.exited;
  writeFileSync(file, `${fresh}\n\n${old}\n`);
  const second = new Cli(...args);
  const again = new RawClient(`${(await second.event('ready'))['url']}/servers/echo/mcp`);
  again.sessionId = client.sessionId;
  const { result } = await again.call('tools/call', { name: 'echo', arguments: { text: 'still here' } });
  expect(JSON.stringify(result)).toContain('still here');
  second.kill('SIGTERM');
  expect(await second.exited).toEqual({ code: 0, signal: null });
});

test('keys that cannot be used end it at once, and are not shown', async () => {
  const empty = join(tempFolder(), 'keys');
  writeFileSync(empty, '\n');
  const short = join(tempFolder(), 'keys');
  writeFileSync(short, 'short-secret\n');
  const serve = (from: string) => run('serve', '--config', config(), '--port', '0', '--session-key', from);
  const asLines = run('serve', '--config', config(), '--port', '0', '--json', '--session-key', empty);
  const runs = await Promise.all(['/nowhere/keys', 'env:NO_SUCH_VARIABLE', empty, short].map(serve));
  expect((await asLines).stdout).toContain('{"event":"stopped","exitCode":1,');
  expect(runs.map(({ code }) => code)).toEqual([1, 1, 1, 1]);
  const told = [
    'cannot be read',
    'expected a variable that is set',
    'there is no key in it',
    '32 random bytes or more',
  ];
  for (const [index, { stderr }] of runs.entries()) {
    expect(stderr).toContain(told[index]);
    expect(stderr).not.toContain('short-secret');
  }
});
