// biome-ignore-all lint/suspicious/noTemplateCurlyInString: references of config files, not of ours
import { renameSync, writeFileSync } from 'node:fs';
import { expect, test, vi } from 'vitest';
import { Cli, configFile, MAIN, mark } from '../support/cli.js';
import { RawClient } from '../support/httpClient.js';
import { Program } from '../support/program.js';
import { fixture } from '../support/servers.js';

vi.setConfig({ testTimeout: 60_000 });

test('a config that changes is applied by what has changed, one that is broken changes nothing and is told, and SIGHUP reads it', async () => {
  const { env, bearers } = mark();
  const echo = { command: process.execPath, args: [fixture('echo-server.mjs')], env };
  const file = configFile({ stays: echo, goes: echo });
  const program = new Cli('serve', '--config', file, '--port', '0', '--json');
  const { url, servers } = await program.event('ready');
  const pidOf = (name: string) => (servers as { name: string; pid: number }[]).find((each) => each.name === name)?.pid;
  const client = new RawClient(`${String(url)}/servers/stays/mcp`);
  await client.initialize();
  const calls = async () => JSON.stringify((await client.call('tools/list')).result);
  const before = await calls();

  const replace = (text: string) => {
    writeFileSync(`${file}.new`, text);
    renameSync(`${file}.new`, file);
  };
  const withServers = (mcpServers: unknown) => `// edited\n${JSON.stringify({ mcpServers }, null, 2)}`;
  replace(withServers({ stays: echo, comes: { ...echo, args: [...echo.args, '--x'] } }));
  const reloaded = JSON.parse((await program.line(/.*"event":"reloaded".*/))[0]) as object;
  expect(reloaded).toMatchObject({ added: ['comes'], removed: ['goes'], changed: [], kept: [] });
  await program.line(/.*"event":"started","server":"comes".*/);
  expect(bearers()).toContain(String(pidOf('stays')));
  expect(bearers()).not.toContain(String(pidOf('goes')));

  // Half a file, then a server whose variable is unset: both are told with their place, and all run as before.
  writeFileSync(file, '{ "mcpServers": {');
  await program.line(/.*"event":"problem".*not JSON.*/);
  await program.line(/.*"event":"warning".*nothing of it is taken; the servers stay as they were.*/);
  writeFileSync(
    file,
    withServers({ stays: { ...echo, args: ['${POOLKIT_NOT_SET}'] }, comes: { ...echo, args: [...echo.args, '--x'] } }),
  );
  const problem = await program.line(/.*"event":"problem".*POOLKIT_NOT_SET is not set.*/);
  expect(JSON.parse(problem[0])).toMatchObject({ server: 'stays', field: 'args.0', line: 7 });
  await program.line(/.*"event":"reloaded".*"kept":\["stays"\].*/);
  expect(await calls()).toBe(before);
  expect(bearers()).toContain(String(pidOf('stays')));

  // SIGHUP with a change reads it; without one, from a program that started it over pipes, it is a stop.
  writeFileSync(file, withServers({ stays: echo }));
  program.kill('SIGHUP');
  await program.line(/.*"event":"reloaded".*"removed":\["comes"\].*/);
  expect(program.events.some(({ event }) => event === 'stopping')).toBe(false);
  expect(await calls()).toBe(before);
  program.kill('SIGHUP');
  expect(await program.exited).toEqual({ code: 0, signal: null });
  expect(program.events.at(-1)).toMatchObject({ event: 'stopped' });
  expect(bearers()).toEqual([]);
});

const EMPTY: readonly [string, object, string][] = [
  ['without servers', {}, 'there are no servers in it'],
  [
    'of disabled servers',
    { a: { command: 'x', disabled: true }, b: { url: 'http://h/', enabled: false } },
    'all servers in it are disabled',
  ],
];

test.each(EMPTY)(
  'a config %s is waited for: what a change brings is served, what it disables leaves the lists',
  async (_, first, why) => {
    const echo = { command: process.execPath, args: [fixture('echo-server.mjs')] };
    const file = configFile(first);
    const program = new Cli('serve', '--config', file, '--port', '0', '--json', '--log-level', 'warn');
    expect((await program.event('warning'))['message']).toMatch(
      new RegExp(`${why}: it waits for a change of the file`),
    );
    const client = new RawClient(`${String((await program.event('ready'))['url'])}/mcp`);
    await client.initialize();
    const stream = await client.listen();
    const names = async () => {
      const { result } = await client.call('tools/list');
      return (result?.['tools'] as { name: string }[] | undefined)?.map(({ name }) => name);
    };
    expect(await names()).toEqual([]);
    /** Only what is told makes the client look again. */
    const edit = async (servers: object, offered: number): Promise<void> => {
      let told = stream.messages.length;
      writeFileSync(file, JSON.stringify({ mcpServers: servers }));
      do await stream.has(++told);
      while ((await names())?.length !== offered);
    };
    await edit({ a: echo }, 1);
    await edit({ a: { ...echo, disabled: true } }, 0);
    const call = await client.call('tools/call', { name: 'a__echo0', arguments: {} });
    expect(call.error).toMatchObject({ data: { code: 'ERR_SERVER_STOPPED' } });
    await edit({ a: echo }, 1);
    await stream.stop();
    program.kill('SIGTERM');
    expect((await program.exited).code).toBe(0);
    // It is off on purpose: there is nothing to warn of.
    expect(program.stderr).not.toContain('could not be listed');
  },
);

test('a config without servers that cannot change, since it is a pipe, is an error', async () => {
  const under = ['sh', '-c', `echo '{"mcpServers":{}}' | "$@"`, 'sh'];
  const program = new Program(MAIN, { args: ['serve', '--config', '/dev/stdin', '--port', '0'], under });
  expect(await program.exited).toEqual({ code: 1, signal: null });
  expect(program.stderr).toContain('mcp-poolkit: /dev/stdin: there are no servers in it\n');
});

test('SIGHUP while servers start reads a config that has changed meanwhile, and is no stop', async () => {
  const { env, bearers } = mark();
  const slow = { command: process.execPath, args: [fixture('echo-server.mjs'), '--start-delay=700'], env };
  const file = configFile({ slow });
  const program = new Cli('serve', '--config', file, '--port', '0', '--json');
  await program.line(/.*"state":"starting".*/);
  writeFileSync(file, JSON.stringify({ mcpServers: { slow, more: slow } }));
  program.kill('SIGHUP');
  await program.line(/.*"event":"reloaded".*"added":\["more"\].*/);
  program.kill('SIGTERM');
  expect(await program.exited).toEqual({ code: 0, signal: null });
  expect(program.events.filter(({ event }) => event === 'stopping')).toMatchObject([{ reason: 'SIGTERM' }]);
  expect(bearers()).toEqual([]);
});
