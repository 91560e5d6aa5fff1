import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { readWhole } from '../../src/core/files/readWhole.js';
import { StdioPool } from '../../src/pool/StdioPool.js';
import { fakeServerCommand } from '../../src/testing/fake/child/fakeServerCommand.js';
import { MAIN, run } from '../support/cli.js';
import { closeAfter } from '../support/closeAfter.js';
import { isAlive, unruly } from '../support/processes.js';
import { said } from '../support/stdioPool.js';
import { tempFolder } from '../support/tempFolder.js';

/** A real server with this answer, as a command line. */
function serverSaying(answer: string): string[] {
  const { command, args } = fakeServerCommand({ name: 'real', tools: { greet: { text: answer, steps: 1 } } });
  return [command, ...args];
}

/** One call to a server that the program stands in front of, or is. */
async function greeted(...args: readonly string[]): Promise<string> {
  const pool = closeAfter(new StdioPool());
  pool.addServer({ name: 's', transport: 'stdio', command: process.execPath, args: [MAIN, ...args] });
  const greet = pool.request('s', 'tools/call', { name: 'greet', arguments: {} }, { onProgress: () => undefined });
  const text = await said(greet);
  await pool.close();
  return text;
}

test('record writes what passes; replay is that server, compares another one with it, and shows the difference', async () => {
  const file = join(tempFolder(), 'session.jsonl');
  expect(await greeted('record', '--out', file, '--name', 'real', '--', ...serverSaying('hello'))).toBe('hello');
  // Secrets too stand in it.
  expect(statSync(file).mode & 0o777).toBe(0o600);
  const methods = readFileSync(file, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line).message.method);
  expect(methods).toEqual([
    'initialize',
    undefined,
    'notifications/initialized',
    'tools/call',
    'notifications/progress',
    undefined,
  ]);
  expect(await greeted('replay', file)).toBe('hello');
  const same = await run('replay', file, '--', ...serverSaying('hello'));
  expect([same.code, same.stdout]).toEqual([
    0,
    expect.stringMatching(/^not guilty \(replay of 6 events\): 1 calls: 1 answers/),
  ]);
  const other = await run('replay', file, '--', ...serverSaying('good bye'));
  expect(other.code).toBe(2);
  expect(other.stdout).toContain('tools/call: result.content.0.text: recorded "hello", got "good bye"');
});

test('record takes messages of any depth, as they came, and writes all of them into a pipe', async () => {
  const pipe = join(tempFolder(), 'pipe');
  execFileSync('mkfifo', [pipe]);
  const recorded = readWhole(pipe);
  const args = [MAIN, 'record', '--out', pipe, '--', ...serverSaying('hello')];
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const deep = `${'['.repeat(8_000)}${']'.repeat(8_000)}`;
  const call = `{"jsonrpc":"2.0", "id":1,"method":"ping","params":{"deep":${deep},"n":1.0}}`;
  child.stdin.write(`${call}\n`);
  await once(child.stdout, 'data');
  child.stdin.end();
  expect(await once(child, 'close')).toEqual([0, null]);
  const [first, second] = (await recorded).trim().split('\n');
  expect(first).toContain(`"from":"client","message":${call}`);
  expect(JSON.parse(second ?? '')).toMatchObject({ from: 'server', message: { id: 1, result: {} } });
});

test('lines that are no messages, or have too many values to be parsed, pass a recorder as they came, are not recorded, and are told', async () => {
  const file = join(tempFolder(), 'session.jsonl');
  const deep = `{"jsonrpc":"2.0","method":"x","params":{"deep":${'['.repeat(1e6)}${']'.repeat(1e6)}}}`;
  // Says each line again.
  const server = [process.execPath, '-e', 'process.stdin.pipe(process.stdout)'];
  const child = spawn(process.execPath, [MAIN, 'record', '--out', file, '--', ...server]);
  const told = text(child.stderr);
  const sent = `${deep}\n[1,\n{"jsonrpc":"2.0","method":"y"}\n`;
  child.stdin.write(sent);
  let heard = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    heard += chunk;
    if (heard.length >= sent.length) child.stdin.end();
  });
  await once(child, 'close');
  expect(heard === sent).toBe(true);
  expect((await told).match(/a message of the (client|server), of 2000\d+ bytes, has too many values/g)).toHaveLength(
    2,
  );
  const recorded = readFileSync(file, 'utf8').trim().split('\n');
  expect(recorded.map((line) => JSON.parse(line).message.method)).toEqual(['y', 'y']);
});

test('a server that writes a line which is longer than any message ends its recorder, which says why', async () => {
  const piece = 'Buffer.alloc(2 ** 20, 97)';
  const writes = `let n = 0; (function go() { while (n++ < 257) if (!process.stdout.write(${piece})) return process.stdout.once('drain', go); process.stdout.write('\\n'); })()`;
  const child = spawn(process.execPath, [
    MAIN,
    'record',
    '--out',
    join(tempFolder(), 'r.jsonl'),
    '--',
    process.execPath,
    '-e',
    `${writes}; process.stdin.resume()`,
  ]);
  const told = text(child.stderr);
  expect(await once(child, 'close')).toEqual([1, null]);
  expect(await told).toMatch(
    /a message of 269484032 bytes .*the output of the server cannot be passed on|the output of the server cannot be passed on: a message of 269484032 bytes/,
  );
});

test('a call that was not recorded ends the replayed server with code 2, and stderr says which', async () => {
  const file = join(tempFolder(), 'session.jsonl');
  const at = { type: 'message', server: 's', wire: 'w' };
  const request = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'greet', arguments: {} } };
  const lines = [
    { ...at, atMs: 1, from: 'client', message: request },
    { ...at, atMs: 2, from: 'server', message: { jsonrpc: '2.0', id: 1, result: { content: [] } } },
  ];
  writeFileSync(file, lines.map((line) => JSON.stringify(line)).join('\n'));
  const child = spawn(process.execPath, [MAIN, 'replay', file], { stdio: ['pipe', 'pipe', 'pipe'] });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    said += chunk;
  });
  child.stdin.end(`${JSON.stringify({ ...request, params: { name: 'other' } })}\n`);
  child.stdout.resume();
  const [code] = await once(child, 'close');
  expect(code).toBe(2);
  expect(said).toMatch(/the replay diverged: tools\/call \{"name":"other"\} is not in the recording/);
  expect(said).toMatch(
    /the replay diverged: tools\/call \{"name":"greet","arguments":\{\}\} is in the recording, and did not come/,
  );
});

test.each(['record', 'fault'])(
  'a server that outlives a killed `%s` is ended by the next start of any command',
  async (name) => {
    const folder = tempFolder();
    const plan = join(folder, 'plan.json');
    writeFileSync(plan, '{}');
    const start = (command: string, ...args: string[]): ChildProcessWithoutNullStreams => {
      const out = command === 'record' ? ['--out', join(folder, 'out')] : ['--plan', plan];
      const env = { ...process.env, XDG_STATE_HOME: folder };
      return spawn(process.execPath, [MAIN, command, ...out, '--', ...args], { env });
    };
    const { command, args } = unruly('ignoresEof');
    const killed = start(name, command, ...args);
    let first = '';
    for await (const chunk of killed.stdout) {
      first += chunk;
      if (/up \d+\n/.test(first)) break;
    }
    const pid = Number(/up (\d+)/.exec(first)?.[1]);
    killed.kill('SIGKILL');
    await once(killed, 'exit');
    expect(isAlive(pid)).toBe(true);
    const next = start(name === 'record' ? 'fault' : 'record', 'cat');
    next.stdin.end();
    await once(next, 'exit');
    expect(isAlive(pid)).toBe(false);
  },
);

test.each([
  ['a recording that is not there', ['replay', '/no/such/file'], /: \/no\/such\/file cannot be read: ENOENT/],
  [
    'a file that is no recording',
    ['replay', 'package.json'],
    /: package\.json is no recording, .*: line 1: expected one/,
  ],
  ['a file that cannot be written', ['record', '--out', '/no/such/folder/x', '--', 'node'], /\/no\/such\/folder\/x/],
])('%s is one line and code 1', async (_, args, words) => {
  const { code, stderr } = await run(...args);
  expect(code).toBe(1);
  expect(stderr.trim().split('\n')).toHaveLength(1);
  expect(stderr).toMatch(words);
});
