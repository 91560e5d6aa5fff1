import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { transformWithOxc } from 'vite';
import { afterEach, expect, test } from 'vitest';
import { descendantsOf, isAlive } from '../support/processes.js';
import { tempFolder } from '../support/tempFolder.js';

const MAIN = resolve(import.meta.dirname, '../../dist/cli/main.js');
let child: ChildProcess | undefined;

afterEach(() => {
  if (child?.pid !== undefined)
    for (const pid of [...descendantsOf(child.pid), child.pid]) if (isAlive(pid)) process.kill(pid, 'SIGKILL');
});

const SERVER = (more: string): string => `
  const send = (m) => process.stdout.write(JSON.stringify({ jsonrpc: '2.0', ...m }) + '\\n');
  ${more}
  require('readline').createInterface({ input: process.stdin }).on('line', (line) => {
    const { id, method, params } = JSON.parse(line);
    if (id === undefined) return;
    if (method === 'initialize') send({ id, result: { protocolVersion: params.protocolVersion, capabilities: { tools: {} }, serverInfo: { name: 's', version: '1' } } });
    else if (method === 'tools/list') send({ id, result: { tools: [] } });
    else send({ id, result: {} });
  });`;

async function start(
  server: string,
  args: readonly string[] = [],
  stderr: 'pipe' | number = 'pipe',
): Promise<{ url: string; process: ChildProcess }> {
  const folder = tempFolder();
  writeFileSync(join(folder, 's.cjs'), server);
  writeFileSync(
    join(folder, 'mcp.json'),
    JSON.stringify({ mcpServers: { s: { command: process.execPath, args: [join(folder, 's.cjs')] } } }),
  );
  child = spawn(
    process.execPath,
    [MAIN, 'serve', '--config', join(folder, 'mcp.json'), '--port', '0', '--json', '--grace-ms', '200', ...args],
    {
      stdio: ['ignore', 'pipe', stderr],
      env: { ...process.env, XDG_STATE_HOME: folder },
    },
  );
  // The program holds both ends of its own pipe: it stays open, and is not read.
  if (typeof stderr === 'number') closeSync(stderr);
  const started = child;
  const url = await new Promise<string>((done) => {
    let text = '';
    started.stdout?.on('data', (chunk) => {
      text += chunk;
      const ready = text.split('\n').find((line) => line.includes('"event":"ready"'));
      if (ready !== undefined) done((JSON.parse(ready) as { url: string }).url);
    });
  });
  return { url, process: started };
}

/** Node's own pipes are sockets; a shell's are pipes. Both fill up when they are not read. */
function fifo(): number {
  const file = join(tempFolder(), 'stderr');
  execFileSync('mkfifo', [file]);
  return openSync(file, 'r+');
}

const rssBytes = (pid: number): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1_024;

test.each(['socket', 'pipe'])(
  'a stderr that is not read, a %s, stops neither the gateway nor its end, and fills no memory',
  async (kind) => {
    // Every line is logged at debug: far more than a pipe holds.
    const flood = `setInterval(() => process.stderr.write(('a line that the pool tells its log '.repeat(30) + '\\n').repeat(50)), 5);`;
    const { url, process: running } = await start(
      SERVER(flood),
      ['--log-level', 'debug'],
      kind === 'pipe' ? fifo() : 'pipe',
    );
    running.stderr?.pause();
    await new Promise((done) => setTimeout(done, 1_500));
    expect(rssBytes(running.pid as number)).toBeLessThan(250 * 2 ** 20);
    expect((await fetch(`${url}/livez`)).status).toBe(200);
    const pids = descendantsOf(running.pid as number);
    running.kill('SIGTERM');
    const [code] = (await once(running, 'exit')) as [number | null];
    expect(code).toBe(0);
    expect(pids.filter(isAlive)).toEqual([]);
  },
);

test('in a file that both stdout and stderr go to, lines stand one after the other, however they were written', async () => {
  const source = resolve(import.meta.dirname, '../../src/cli/output/NonBlockingOutput.ts');
  const { code } = await transformWithOxc(readFileSync(source, 'utf8'), source, { sourcemap: false });
  const writes = `
    const log = new NonBlockingOutput(2);
    for (let n = 0; n < 3; n++) {
      log.write('log ' + n + '\\n');
      process.stderr.write('stderr ' + n + '\\n');
      process.stdout.write('stdout ' + n + '\\n');
    }`;
  const file = join(tempFolder(), 'log');
  // As a shell opens it for `>`: not to append.
  const opened = openSync(file, 'w');
  spawnSync(process.execPath, ['--input-type=module', '-e', code + writes], { stdio: ['ignore', opened, opened] });
  closeSync(opened);
  const written = [0, 1, 2].flatMap((n) => [`log ${n}`, `stderr ${n}`, `stdout ${n}`]);
  expect(readFileSync(file, 'utf8').trimEnd().split('\n')).toEqual(written);
});

test('a third signal ends it at once, and no child that ignores signals outlives it', async () => {
  const deaf = `for (const s of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(s, () => {}); process.stdin.on('end', () => {}); setInterval(() => {}, 1000);`;
  const { process: running } = await start(SERVER(deaf));
  const pids = descendantsOf(running.pid as number);
  expect(pids.length).toBeGreaterThan(0);
  running.kill('SIGINT');
  await new Promise((done) => setTimeout(done, 400));
  running.kill('SIGINT');
  running.kill('SIGTERM');
  await once(running, 'exit');
  // They were killed in its last turn; the kernel takes its own time to end them.
  await expect.poll(() => pids.filter(isAlive)).toEqual([]);
});
