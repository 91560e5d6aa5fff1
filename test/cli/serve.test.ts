import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import type { StatusData } from '../../src/gateway/status/StatusData.js';
import { Cli, configFile, MAIN, mark, run } from '../support/cli.js';
import { commandHost } from '../support/commandHost.js';
import { RawClient } from '../support/httpClient.js';
import { Program } from '../support/program.js';
import { fixture } from '../support/servers.js';
import { tempFolder } from '../support/tempFolder.js';

// Programs start here, several at once, and the machine may be busy.
vi.setConfig({ testTimeout: 60_000 });

const say = commandHost();

const ECHO = fixture('echo-server.mjs');
const node = process.execPath;

const serving = async (servers: unknown, ...args: string[]): Promise<{ program: Cli; url: string }> => {
  const program = new Cli('serve', '--config', configFile(servers), '--port', '0', '--json', ...args);
  return { program, url: String((await program.event('ready'))['url']) };
};

const SHAPES: readonly [string, object][] = [
  ['started directly', { command: node, args: [ECHO] }],
  ['behind a wrapper that stays its parent', { command: 'sh', args: ['-c', `"${node}" "${ECHO}"; true`] }],
  ['that ignores SIGTERM and the end of its input', { command: node, args: [ECHO, '--ignore-term', '--ignore-eof'] }],
];

test('ten slow calls in flight survive SIGTERM, and nothing is alive afterwards, whatever the server', async () => {
  await Promise.all(SHAPES.map(([shape, server]) => survives(shape, server)));
});

async function survives(shape: string, server: object): Promise<void> {
  const { env, bearers } = mark();
  const { program, url } = await serving({ slow: { ...server, env } });
  expect(bearers(), shape).not.toEqual([]);
  const client = new RawClient(`${url}/servers/slow/mcp`);
  await client.initialize();
  const sleep = { name: 'sleep', arguments: { ms: 1_000 } };
  const calls = Array.from({ length: 10 }, () => client.call('tools/call', sleep));
  const seen = async () => JSON.stringify(await client.call('tools/call', { name: 'calls', arguments: {} }));
  await expect.poll(seen, { timeout: 30_000 }).toMatch(/sleep\\":10/);
  program.kill('SIGTERM');
  await program.event('stopping');
  const answers = await Promise.all(calls);
  expect(
    answers.map(({ result }) => result),
    shape,
  ).toEqual(Array.from({ length: 10 }, () => ({ content: [{ type: 'text', text: 'slept' }] })));
  expect(await program.exited, shape).toEqual({ code: 0, signal: null });
  expect([program.stderr, bearers()], shape).toEqual(['', []]);
}

test('when ready it says what runs, where, since when, and how to stop it', async () => {
  const file = configFile({
    one: { command: node, args: [ECHO] },
    two: { command: node, args: [ECHO], disabled: true },
  });
  const program = new Cli('serve', '--config', file, '--port', '0');
  await program.line(/Ctrl-C stops it/);
  program.kill('SIGINT');
  const { code } = await program.exited;
  const { lines } = program;
  expect(lines[0]).toBe(`Serving ${file}`);
  const row = (name: string) =>
    lines
      .find((line) => line.trimStart().startsWith(`${name} `))
      ?.trim()
      .split(/ {3,}/);
  expect(row('one')).toEqual([
    'one',
    'ready',
    expect.stringMatching(/^\d+$/),
    '1',
    expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z, in \d+ ms$/),
  ]);
  expect(row('two')?.slice(2)).toEqual(['-', '-', '-']);
  const urls = lines.flatMap((line) => /http:\/\/127\.0\.0\.1:\d+(\S*)$/.exec(line)?.[1] ?? []);
  expect(urls).toEqual(['/mcp', '/servers/one/mcp', '/servers/two/mcp']);
  expect(lines).toContain('Stopped; no process is left.');
  expect(code).toBe(0);
});

test('a bad server is one clear line, and the others still start', async () => {
  const file = configFile({
    good: { command: node, args: [ECHO], autoApprove: ['x'] },
    empty: { command: '' },
    ghost: { command: 'no-such-program-here' },
    nowhere: { command: node, args: [ECHO], cwd: '/no/such/folder' },
    secret: { command: node, env: { TOKEN: `\${NO_SUCH_VARIABLE_HERE}` } },
    crash: { command: node, args: [ECHO, '--exit-at-start'] },
    remote: { url: 'http://127.0.0.1:1/mcp' },
  });
  const program = new Cli('serve', '--config', file, '--port', '0', '--json', '--log-level', 'silent');
  const { servers } = (await program.event('ready')) as unknown as { servers: { name: string; state: string }[] };
  expect(servers.filter(({ state }) => state === 'ready').map(({ name }) => name)).toEqual(['good']);
  program.kill('SIGTERM');
  expect((await program.exited).code).toBe(0);
  expect(program.stderr).toBe('');
  const problems = program.events.filter(({ event }) => event === 'problem').map(({ message }) => String(message));
  const of = (server: string) => problems.filter((line) => line.startsWith(`${file}: server "${server}"`));
  expect(of('empty')).toEqual([
    expect.stringContaining('field command: expected a program to run, got an empty string'),
  ]);
  expect(of('ghost')).toEqual([expect.stringMatching(/field command: .*no-such-program-here/)]);
  expect(of('nowhere')).toEqual([expect.stringMatching(/field cwd: .*no\/such\/folder/)]);
  expect(of('secret')).toEqual([expect.stringContaining('field env.TOKEN: variable NO_SUCH_VARIABLE_HERE is not set')]);
  expect(of('crash')).toEqual([expect.stringContaining('cannot start: no such luck')]);
  expect(of('remote')).toEqual([expect.stringMatching(/field url: did not start: .*ECONNREFUSED/)]);
  expect(problems).toHaveLength(6);
  expect(program.events.filter(({ event }) => event === 'warning')).toMatchObject([
    { message: `${file}: server "good", field autoApprove: not used here (line 1)` },
  ]);
});

test('a server with a connection for each session is not called before there is one', async () => {
  const { program, url } = await serving(
    { own: { command: node, args: [ECHO], sharing: 'bound' } },
    '--log-level',
    'info',
  );
  const { servers } = await program.event('ready');
  expect(servers).toMatchObject([{ name: 'own', state: 'ready' }]);
  expect(servers).not.toMatchObject([{ tools: expect.anything() }]);
  const { snapshot } = (await (await fetch(`${url}/status/data.json?history=none`)).json()) as StatusData;
  expect(snapshot.servers).toMatchObject([{ name: 'own', calls: 0, errors: 0 }]);
  expect(program.stderr).not.toContain('call.failed');
});

test('a server that is far away is served beside a program', async () => {
  const { program: far, url } = await serving({ echo: { command: node, args: [ECHO] } });
  const servers = { near: { command: node, args: [ECHO] }, far: { url: `${url}/servers/echo/mcp` } };
  const { program, url: both } = await serving(servers);
  const client = new RawClient(`${both}/mcp`);
  await client.initialize();
  const { result } = await client.call('tools/list');
  expect((result?.['tools'] as { name: string }[] | undefined)?.map(({ name }) => name)).toEqual([
    'near__echo0',
    'far__echo0',
  ]);
  for (const each of [program, far]) {
    each.kill('SIGTERM');
    expect((await each.exited).code).toBe(0);
  }
});

test('it fails, in lines and without a stack, only when no server could start', async () => {
  const table: [string, RegExp][] = [
    [configFile('{ "mcpServers": '), /mcp\.json: not JSON: /],
    [configFile({ a: { command: '' }, b: { command: 'x', disabled: true } }), /mcp\.json: server "a", field command: /],
    [configFile({ a: { command: '' } }), /mcp\.json: server "a", field command: /],
    [configFile({ a: { command: 'no-such-program-here' } }), /mcp\.json: server "a", field command: /],
    ['/no/such/file.json', /file\.json: cannot be read: no such file/],
  ];
  const ends = await Promise.all(
    table.map(([file]) => run('serve', '--config', file, '--port', '0', '--log-level', 'silent')),
  );
  for (const [index, [, line]] of table.entries()) {
    const { code, stderr, stdout } = ends[index] ?? { code: 0, stderr: '', stdout: '' };
    expect(code).toBe(1);
    expect(stdout).not.toContain('Serving');
    expect(stderr).toMatch(line);
    expect(stderr).not.toMatch(/^\s+at /m);
    for (const each of stderr.trimEnd().split('\n')) expect(each).toMatch(/^mcp-poolkit: /);
  }
});

test('an address that is taken is one line, and the servers it had started are gone', async () => {
  const { env, bearers } = mark();
  const { url } = await serving({ one: { command: node, args: [ECHO] } });
  const file = configFile({ one: { command: node, args: [ECHO], env } });
  const { code, stderr } = await run('serve', '--config', file, '--port', new URL(url).port);
  expect(code).toBe(1);
  expect(stderr).toMatch(/^mcp-poolkit: cannot listen on 127\.0\.0\.1:\d+: the port is taken .*\n$/);
  expect(bearers()).toEqual([]);
});

test('stopped while its servers still start, it leaves none behind', async () => {
  const { env, bearers } = mark();
  const file = configFile({ late: { command: node, args: [ECHO, '--start-delay=60000'], env } });
  const program = new Cli('serve', '--config', file, '--port', '0', '--json');
  await expect.poll(() => bearers().length, { timeout: 30_000 }).toBe(1);
  program.kill('SIGTERM');
  expect((await program.exited).code).toBe(0);
  expect(bearers()).toEqual([]);
});

test('a second signal forces it, also with a call that never ends and a server that ignores everything', async () => {
  const { env, bearers } = mark();
  const args = [ECHO, '--ignore-term', '--ignore-eof'];
  const { program, url } = await serving({ stuck: { command: node, args, env } }, '--grace-ms', '60000');
  expect((await program.event('ready'))['stopMs']).toBe(99_200);
  const client = new RawClient(`${url}/servers/stuck/mcp`);
  await client.initialize();
  const call = client.call('tools/call', { name: 'sleep', arguments: { ms: 600_000 } });
  const seen = async () => JSON.stringify(await client.call('tools/call', { name: 'calls', arguments: {} }));
  await expect.poll(seen, { timeout: 30_000 }).toMatch(/sleep\\":1/);
  program.kill('SIGTERM');
  await program.event('stopping');
  await new Promise((resolve) => setTimeout(resolve, 400)); // sooner it would be the same wish
  program.kill('SIGTERM');
  expect((await call).error).toMatchObject({ data: { code: 'ERR_OUTCOME_UNKNOWN' } });
  expect((await program.exited).code).toBe(143);
  // A forced end does not wait for what its SIGKILL takes: on a busy machine that is some ms later.
  await expect.poll(bearers, { timeout: 30_000 }).toEqual([]);
});

test('with a cache, the tools of a server that does not start any more are still listed', async () => {
  const cache = tempFolder();
  const list = async (url: string) => {
    const client = new RawClient(`${url}/mcp`);
    await client.initialize();
    const { result } = await client.call('tools/list');
    return (result?.['tools'] as { name: string }[] | undefined)?.map(({ name }) => name);
  };
  const flag = join(tempFolder(), 'broken');
  const start = () => {
    // Broken from the second start on, with the same configuration.
    const script = `test -e "${flag}" && exit 3; touch "${flag}"; exec "${node}" "${ECHO}"`;
    return serving(
      { one: { command: node, args: [ECHO] }, two: { command: 'sh', args: ['-c', script] } },
      ...['--cache', cache, '--log-level', 'silent'],
    );
  };
  const stop = async (program: Cli) => {
    program.kill('SIGTERM');
    expect((await program.exited).code).toBe(0);
  };
  const first = await start();
  expect(await list(first.url)).toEqual(['one__echo0', 'two__echo0']);
  await stop(first.program);
  const second = await start();
  // A list waits for a slow disk or server only so long; what is missing then follows.
  await expect.poll(() => list(second.url), { timeout: 10_000 }).toEqual(['one__echo0', 'two__echo0']);
  await stop(second.program);
});

test('options that make no sense are refused, and the help of every command names its options', async () => {
  const ends = await Promise.all([
    say(['serve', '--port', 'x']),
    say(['serve', '--what']),
    say(['--help']),
    say(['serve', '--help']),
    say(['call', '--help']),
    say(['--version']),
    run('serve', '--host', '0.0.0.0'),
  ]);
  expect(ends.map(({ code }) => code)).toEqual([1, 1, 0, 0, 0, 0, 1]);
  const [badPort, , help, serve, call, version, open] = ends.map(({ stdout, stderr }) => stdout + stderr);
  expect(open).toMatch(/mcp-poolkit: --host 0\.0\.0\.0 .*--allow-host/);
  expect(badPort).toContain('whole number from 0 to 65535');
  for (const each of ['serve', 'call', 'Examples:']) expect(help).toContain(each);
  for (const each of [
    '--config',
    '--host',
    '--port',
    '--json',
    '--grace-ms',
    '--propagation-delay',
    '--cache',
    '--allow-host',
    '/readyz',
  ]) {
    expect(serve).toContain(each);
  }
  for (const each of ['--config', '--timeout-ms', '--json', 'Exit code']) expect(call).toContain(each);
  expect(version).toMatch(/^\d+\.\d+\.\d+\n$/);
});

test('started by npm or npx, it stops when they do; started otherwise, it stays', async () => {
  const under = ['sh', '-c', '"$@"; true', 'sh'];
  const file = configFile({ one: { command: node, args: [ECHO] } });
  const args = ['serve', '--config', file, '--port', '0', '--json'];
  const start = async (npm: Record<string, string>) => {
    const { env, bearers } = mark();
    const program = new Program(MAIN, { args, under, env: { ...env, npm_lifecycle_event: undefined, ...npm } });
    await program.line(/"event":"ready"/);
    const own = bearers();
    program.kill('SIGTERM');
    return { program, bearers, own };
  };
  const [byNpx, byShell] = await Promise.all([start({ npm_lifecycle_event: 'npx' }), start({})]);
  expect(byNpx.own).toHaveLength(2);
  expect((await byNpx.program.exited).signal).toBe('SIGTERM');
  await expect.poll(byNpx.bearers, { timeout: 30_000 }).toEqual([]);
  const [left = ''] = byShell.bearers();
  expect(left).not.toBe('');
  process.kill(Number(left), 'SIGTERM');
  await byShell.program.exited;
  await expect.poll(byShell.bearers, { timeout: 30_000 }).toEqual([]);
});
