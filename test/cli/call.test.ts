import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { Cli, configFile, MAIN, mark, run } from '../support/cli.js';
import { fixture } from '../support/servers.js';
import { tempFolder } from '../support/tempFolder.js';

// Programs start here, several at once, and the machine may be busy.
vi.setConfig({ testTimeout: 60_000 });

const EXAMPLE = 'examples/mcp.json';
const ECHO = fixture('echo-server.mjs');

const echo = (env: Record<string, string> = {}, ...flags: string[]): string =>
  configFile({ echo: { command: process.execPath, args: [ECHO, ...flags], env } });

test('a tool is called and its text printed; the server is gone', async () => {
  const { env, bearers } = mark();
  const end = await run('call', 'echo', 'echo', '{"text":"hi\\nthere"}', '--config', echo(env));
  expect(end).toMatchObject({ code: 0, stdout: 'hi\nthere', stderr: '' });
  expect(bearers()).toEqual([]);
});

test('a server with a connection for each session has one for the call', async () => {
  const { env, bearers } = mark();
  const file = configFile({ echo: { command: process.execPath, args: [ECHO], env, sharing: 'bound' } });
  const end = await run('call', 'echo', 'echo', '{"text":"hi"}', '--config', file);
  expect(end).toMatchObject({ code: 0, stdout: 'hi', stderr: '' });
  expect(bearers()).toEqual([]);
});

test('the real servers of the example answer, as text and as JSON', async () => {
  const [sum, files, json] = await Promise.all([
    run('call', 'everything', 'get-sum', '{"a":2,"b":3}', '--config', EXAMPLE),
    run('call', 'filesystem', 'read_text_file', '{"path":"hello.txt"}', '--config', EXAMPLE),
    run('call', 'everything', 'echo', '{"message":"hi"}', '--config', EXAMPLE, '--json'),
  ]);
  expect(sum).toMatchObject({ code: 0, stdout: expect.stringContaining('5') });
  expect(files).toMatchObject({ code: 0, stdout: expect.stringContaining('Hello from a file') });
  expect(JSON.parse(json.stdout)).toEqual({ content: [{ type: 'text', text: 'Echo: hi' }] });
});

test('numbers reach the tool as they were typed and are printed as they came, and progress with its words', async () => {
  // Answers with its arguments, as they stand in the line.
  const code = `require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
    const { id, method, params } = JSON.parse(line);
    if (id === undefined) return;
    const say = (rest) => console.log('{"jsonrpc":"2.0",' + rest + '}');
    const info = { protocolVersion: '2025-11-25', capabilities: { tools: {} }, serverInfo: { name: 'n', version: '1' } };
    if (method === 'initialize') return say('"id":' + id + ',"result":' + JSON.stringify(info));
    if (method !== 'tools/call') return say('"id":' + id + ',"error":{"code":-32601,"message":"no"}');
    const progress = { progressToken: params._meta.progressToken, progress: 1, total: 3, message: 'it reads' };
    say('"method":"notifications/progress","params":' + JSON.stringify(progress));
    say('"id":' + id + ',"result":{"content":[],"structuredContent":' + /"arguments":(\\{[^}]*\\})/.exec(line)[1] + '}');
  });`;
  const file = configFile({ n: { command: process.execPath, args: ['-e', code] } });
  const typed = '{"id":12345678901234567890,"f":1.10}';
  const [text, json] = await Promise.all([
    run('call', 'n', 'any', typed, '--config', file),
    run('call', 'n', 'any', typed, '--config', file, '--json'),
  ]);
  expect(text).toMatchObject({ code: 0, stdout: typed, stderr: 'progress: 1 of 3: it reads\n' });
  expect(json.stdout.replaceAll(/\s/g, '')).toBe(`{"content":[],"structuredContent":${typed}}`);
});

test('every failure is one line and exit code 1', async () => {
  const file = echo();
  const table: [string[], RegExp][] = [
    [['ech', 'echo', '--config', file], /no server named "ech"; did you mean "echo"\?/],
    [['echo', 'none', '--config', file], /unknown tool none/],
    [['echo', 'echo', '{', '--config', file], /the arguments are not JSON/],
    [['echo', 'echo', '[1]', '--config', file], /the arguments are not a JSON object/],
    [['echo', 'exit', '{}', '--config', file], /outcome of tools\/call unknown/],
    [
      ['echo', 'sleep', '{"ms":60000}', '--timeout-ms', '100', '--config', file],
      /did not answer tools\/call within 100 ms/,
    ],
    [['echo', 'echo', '--config', echo({}, '--exit-at-start')], /server "echo": did not start: .*no such luck/],
    [['a', 'echo', '--config', configFile({ a: { command: 'no-such-program-here' } })], /server "a", field command: /],
    [['a', 'echo', '--config', configFile({ a: { command: '' } })], /server "a", field command: /],
    [['a', 'echo', '--config', '/no/such/file.json'], /cannot be read: no such file/],
  ];
  const ends = await Promise.all(table.map(([args]) => run('call', ...args, '--log-level', 'silent')));
  for (const [index, [, line]] of table.entries()) {
    const { code, stderr, stdout } = ends[index] ?? { code: 0, stderr: '', stdout: '' };
    expect([index, code, stdout]).toEqual([index, 1, '']);
    expect(stderr).toMatch(line);
    expect(stderr).toMatch(/^mcp-poolkit: .*\n$/);
  }
});

test('interrupted in the middle of a call it ends, and so does its server', async () => {
  const { env, bearers } = mark();
  const args = ['call', 'echo', 'sleep', '{"ms":60000,"steps":600}', '--config', echo(env, '--ignore-term')];
  const program = new Cli(...args);
  await expect.poll(() => program.stderr, { timeout: 30_000 }).toContain('progress: 1 of 600');
  program.kill('SIGINT');
  expect((await program.exited).code).not.toBe(0);
  expect(bearers()).toEqual([]);
});

test.skipIf(spawnSync('script', ['--version']).error !== undefined)(
  'when its terminal closes in the middle of a call it ends in order, and so does its server',
  async () => {
    const { env, bearers } = mark();
    const code = join(tempFolder(), 'code');
    const call = `'${process.execPath}' '${MAIN}' call echo sleep '{"ms":60000,"steps":6000}' --config '${echo(env)}'`;
    // The shell gets the hangup, passes it on, and tells how the program ended.
    const shell = `${call} & p=$!; trap "kill -HUP $p" HUP; wait $p; wait $p; echo $? > '${code}.new'; mv '${code}.new' '${code}'`;
    // The server alone has the mark, by its configuration: the shell and its `mv` end a moment after the file is there.
    const terminal = spawn('script', ['-qfec', shell, '/dev/null'], {
      env: { ...process.env, SHELL: '/bin/sh' },
    });
    let shown = '';
    terminal.stdout.on('data', (text: Buffer) => {
      shown += text;
    });
    await expect.poll(() => shown, { timeout: 30_000 }).toContain('progress');
    terminal.kill('SIGKILL');
    await expect.poll(() => existsSync(code), { timeout: 30_000 }).toBe(true);
    expect(readFileSync(code, 'utf8')).toBe('1\n');
    expect(bearers()).toEqual([]);
  },
);
