import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import type { BenchReport } from '../../src/bench/report/results.js';
import { splitCommand } from '../../src/bench/target/TargetSpec.js';
import { shownCommand } from '../../src/cli/bench/shownCommand.js';
import { type CommandRun, commandHost } from '../support/commandHost.js';
import { EVERYTHING } from '../support/everything.js';
import { freePort } from '../support/httpServers.js';
import { tempFolder } from '../support/tempFolder.js';

const ROOT = resolve(import.meta.dirname, '../..');
const MAIN = join(ROOT, 'dist/cli/main.js');
const SERVER = `"${process.execPath}" "${join(ROOT, 'test/fixtures/timed-server.mjs')}"`;
const FAILING = `"${process.execPath}" -e "console.error('Error: no key'); process.exit(7)"`;

const say = commandHost();

function run(args: readonly string[], options: { readonly interrupt?: boolean } = {}): Promise<CommandRun> {
  return new Promise((done) => {
    const child = spawn(process.execPath, [MAIN, ...args], { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
    let [stdout, stderr] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      stdout += chunk;
    });
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      stderr += chunk;
    });
    if (options.interrupt === true) child.stderr.once('data', () => setTimeout(() => child.kill('SIGINT'), 300));
    child.on('close', (code) => done({ code, stdout, stderr }));
  });
}

const SHORT = ['--duration', '150ms', '--warmup', '20ms', '--quiet'];

test('a run prints rates, percentiles and processes; as JSON it has its schema', async () => {
  const loud = SHORT.filter((each) => each !== '--quiet');
  const text = await run(['bench', `${SERVER} none`, '-c', '1,4', ...loud]);
  expect(text.code).toBe(0);
  expect(text.stdout).toMatch(/closed, 4 in flight/);
  expect(text.stdout).toMatch(/node timed-server\.mjs none/);
  const { stdout } = await run([
    'bench',
    `${SERVER} none`,
    '-c',
    '2',
    '--json',
    '--workers',
    '2',
    ...SHORT,
    '--duration',
    '300ms',
  ]);
  const report = JSON.parse(stdout) as BenchReport;
  expect(report).toMatchObject({ schema: 'mcp-poolkit-bench/1', complete: true });
  expect(report.steps[0]?.all.calls).toBeGreaterThan(50);
  expect(report.steps[0]?.processes?.processes[0]?.command).toMatch(/timed-server/);
});

test.each([
  [['http://127.0.0.1:1/mcp'], /did not start|ECONNREFUSED/],
  [[`${SERVER} none`, '--tool', 'ecko'], /did you mean echo/],
  [[`${SERVER} none`, '--tool', 'broken'], /answered with an error: .*no/],
  [[`${SERVER} none`, '--args', '{"text":5}'], /schema of echo/],
  [[`${SERVER} none`, '--args', '{"text":"{{nonse}}"}'], /\{\{nonce\}\}/],
  [[`${SERVER} none`, '--slo', 'p99<1s'], /--find-max/],
  [[`${SERVER} none`, '--fail-if', 'p99>+20%'], /base report/],
  [['everythin', '--config', 'examples/mcp.json'], /did you mean "everything"/],
  [['everything', '--config', 'none.json'], /none\.json: cannot be read: no such file/],
  [
    ['--direct', SERVER, '--via', 'http://127.0.0.1:1/mcp', '--via-start', FAILING],
    /exited with code 7 \(stderr: Error: no key\) before anything answered at http:\/\/127\.0\.0\.1:1\/mcp/,
  ],
  [[`${SERVER} none`, '--compare', 'package.json'], /mcp-poolkit-bench\/1/],
  [[`${SERVER} none`, '--html', '/nowhere/report.html'], /option html: got "\/nowhere\/report\.html"/],
  [[], /a URL, a server of --config, or a command line/],
])('bad input %j is one line before any load, exit 1', async (args, line) => {
  const { code, stdout, stderr } = await say(['bench', ...args, ...SHORT]);
  expect(stderr).toMatch(line);
  expect(stderr.trim().split('\n')).toHaveLength(1);
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
});

test('the command in a report shows no secrets', () => {
  const header = ['--header', 'Authorization: Bearer SECRET', 'X-Key: SECRET', '-c', '1', '--header=A: SECRET:SECRET'];
  expect(shownCommand(['bench', 'http://me:SECRET@host:1/mcp?a=SECRET', ...header])).toBe(
    "mcp-poolkit bench 'http://...@host:1/mcp?...' --header 'Authorization: ...' 'X-Key: ...' -c 1 '--header=A: ...'",
  );
  expect(shownCommand(['bench', 's', '-H', 'A: SECRET', 'B: SECRET', '-c', '1', '-HC: SECRET'])).toBe(
    "mcp-poolkit bench s -H 'A: ...' 'B: ...' -c 1 '-HC: ...'",
  );
});

test('reports and errors of bench, and fault, show no secret of a URL or of the arguments of a server', async () => {
  const url = 'http://127.0.0.1:1/mcp?token=SECRET';
  const withUser = 'http://me:SECRET@127.0.0.1:1/mcp';
  const folder = tempFolder();
  const json = join(folder, 'report.json');
  const plan = join(folder, 'plan.json');
  writeFileSync(plan, '{}');
  const outputs = await Promise.all([
    say(['bench', url, ...SHORT]),
    say(['bench', withUser, '-H', 'Authorization: Bearer SECRET', ...SHORT]),
    say(['bench', '--direct', SERVER, '--via', url, '--via-start', `${FAILING} --api-key SECRET`, ...SHORT]),
    say(['bench', `${SERVER} none --api-key SECRET`, '-c', '1', '--json', json, '--markdown', ...SHORT]),
    run(['fault', '--plan', plan, '--upstream', withUser, '--', process.execPath]),
    run(['fault', '--plan', plan, '--upstream', withUser.replace('http', 'ftp')]),
  ]);
  for (const { stdout, stderr } of outputs) expect(stdout + stderr).not.toContain('SECRET');
  expect(outputs[1]?.stderr).toContain('without user and password');
  expect(outputs[3]).toMatchObject({ code: 0, stdout: expect.stringContaining('none --api-key ...') });
  expect(readFileSync(json, 'utf8')).not.toContain('SECRET');
});

test('wrong answers are exit 2, a threshold that is broken exit 3 and in the JUnit file', async () => {
  expect(
    (await run(['bench', `${SERVER} swap`, '-c', '8', '--duration', '200ms', '--warmup', '0ms', '--quiet'])).code,
  ).toBe(2);
  const file = join(tempFolder(), 'junit.xml');
  const { code } = await run([
    'bench',
    `${SERVER} fixed:5`,
    '-c',
    '1',
    '--fail-if',
    'p50>1ms',
    '--junit',
    file,
    ...SHORT,
  ]);
  expect(code).toBe(3);
  expect(readFileSync(file, 'utf8')).toMatch(/<failure message="value /);
});

test('calls may fail under faults and below a bound of --fail-if, but no answer may be wrong', async () => {
  const faults = join(tempFolder(), 'faults.json');
  writeFileSync(faults, '{"seed":3,"ratios":{"error":0.3}}');
  const codeOf = async (mode: string, ...args: string[]): Promise<number | null> =>
    (await run(['bench', `${SERVER} ${mode}`, '-c', '4', '--faults', faults, ...args, ...SHORT])).code;
  expect(await codeOf('none')).toBe(0);
  expect(await codeOf('none', '--fail-if', 'errors>99%')).toBe(0);
  expect(await codeOf('swap')).toBe(2);
  expect(await codeOf('swap', '--fail-if', 'errors>100%')).toBe(2);
});

test('Ctrl-C ends a run cleanly with what was measured so far', async () => {
  const { code, stdout } = await run(
    // Its first line of progress says that it measures.
    ['bench', `${SERVER} fixed:2`, '-c', '2', '--duration', '60s', '--warmup', '0ms', '--json'],
    { interrupt: true },
  );
  const report = JSON.parse(stdout) as BenchReport;
  expect(code).toBe(130);
  expect(report.complete).toBe(false);
  expect(report.steps[0]?.all.calls).toBeGreaterThan(50);
  expect(report.steps[0]?.all.errors).toEqual({});
});

test('the reference server serves HTTP until it is told to end; through our own gateway its service time stays known', async () => {
  const child = spawn(process.execPath, [MAIN, 'reference', 'uniform:1:3', '--port', '0'], { cwd: ROOT });
  const ended = new Promise((done) => child.on('exit', (...how) => done(how)));
  const line = await new Promise<string>((done) => child.stderr.once('data', (data) => done(String(data))));
  const url = /http:\S+/.exec(line)?.[0] ?? '';
  const folder = tempFolder();
  const config = join(folder, 'mcp.json');
  writeFileSync(config, JSON.stringify({ mcpServers: { far: { type: 'http', url } } }));
  const port = await freePort();
  const args = ['bench', '--direct', 'far', '--config', config, '-c', '2', '--turns', '1', ...SHORT];
  const via = ['--via', `http://127.0.0.1:${port}/servers/far/mcp`];
  const start = `"${process.execPath}" "${MAIN}" serve --config "${config}" --port ${port}`;
  const { code, stdout } = await run([...args, ...via, '--via-start', start, '--json']);
  const { steps } = JSON.parse(stdout) as BenchReport;
  expect(code).toBe(0);
  expect(steps).toHaveLength(2);
  for (const { all } of steps) expect(all.beyondServiceMs?.p50).toBeLessThan(all.latencyMs?.p50 ?? 0);
  child.kill('SIGTERM');
  expect(await ended).toEqual([0, null]);
});

/** Every command of the guide, with shorter times, one turn, and the greatest of several loads: what is asked is that each runs. */
const GUIDE = readFileSync(join(ROOT, 'docs/benchmarking.md'), 'utf8');
const blocks = [...GUIDE.matchAll(/```sh\n([\s\S]*?)```/g)].map((hit) => hit[1] ?? '');

function shorten(args: string[], option: string, shorter: (value: string) => string): void {
  const at = args.indexOf(option);
  if (at > 0) args[at + 1] = shorter(args[at + 1] ?? '');
}

/**
 * A folder as a user has it: the package installed, and a config that names the server of the first steps. Where no more than its tool
 * `echo` is called, a server that starts in a quarter of the time has that name: there is one for each step.
 */
function installedFolder({ real }: { readonly real: boolean }): string {
  const folder = tempFolder();
  mkdirSync(join(folder, 'node_modules'));
  symlinkSync(ROOT, join(folder, 'node_modules/mcp-poolkit'));
  const args = real ? [EVERYTHING] : [join(ROOT, 'test/fixtures/timed-server.mjs'), 'none'];
  const mcpServers = { everything: { command: process.execPath, args } };
  writeFileSync(join(folder, 'mcp.json'), JSON.stringify({ mcpServers }));
  return folder;
}

test.each(blocks)('the guide’s commands run: %s', { timeout: 60_000 }, async (block) => {
  const cwd = installedFolder({ real: block === blocks[0] || block.includes('--scenario') });
  const commands = block.replaceAll('\\\n', ' ').trim().split('\n');
  for (const command of commands) {
    const started = splitCommand(command)
      .slice(2)
      .map((word) => word.replace(/^npx mcp-poolkit/, `"${process.execPath}" "${MAIN}"`));
    shorten(started, '--duration', () => '100ms');
    shorten(started, '--turns', () => '1');
    // Of so short a run on a busy machine the latency says nothing.
    shorten(started, '--fail-if', () => 'p99>+10000%,errors>0');
    // A search for what no load keeps goes down a few steps, and loads nothing.
    if (started.includes('--find-max')) shorten(started, '--rate', () => '20');
    shorten(started, '--slo', () => 'p99<0.001ms');
    shorten(started, '-c', (loads) => loads.split(',').at(-1) ?? loads);
    const { code, stdout, stderr } = await say([...started, '--warmup', '10ms', '--quiet'], cwd);
    expect(stderr).toBe('');
    expect(code).toBe(0);
    expect(stdout).toMatch(/Load and latency/);
  }
});

test('the guide’s scenario is the example’s', () => {
  const yaml = /```yaml\n# examples\/scenario\.yaml\n([\s\S]*?)```/.exec(GUIDE)?.[1];
  expect(readFileSync(join(ROOT, 'examples/scenario.yaml'), 'utf8')).toBe(yaml);
});
