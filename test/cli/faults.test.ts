import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { configFile, MAIN, mark } from '../support/cli.js';
import { Program } from '../support/program.js';
import { fixture } from '../support/servers.js';
import { tempFolder } from '../support/tempFolder.js';

// Programs start here, and the machine may be busy.
vi.setConfig({ testTimeout: 60_000 });

const echo = (env: Record<string, string>, ...flags: string[]): string =>
  configFile({ echo: { command: process.execPath, args: [fixture('echo-server.mjs'), ...flags], env } });

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await new Promise((done) => server.close(done));
  return port;
}

test.each([
  ['stdout', '>/dev/full'],
  ['stdout and stderr', '>/dev/full 2>/dev/full'],
])(
  '`serve` whose %s cannot be written goes on serving, stops when told, and leaves no server behind',
  async (_, redirect) => {
    const { env, bearers } = mark();
    const port = await freePort();
    const serve = new Program(MAIN, {
      under: ['sh', '-c', `exec "$@" ${redirect}`, 'sh'],
      args: ['serve', '--config', echo(env), '--port', String(port), '--log-level', 'debug'],
    });
    await expect
      .poll(
        () =>
          fetch(`http://127.0.0.1:${port}/livez`).then(
            ({ status }) => status,
            () => 0,
          ),
        { timeout: 20_000 },
      )
      .toBe(200);
    await expect.poll(() => bearers().length, { timeout: 20_000 }).toBe(1);
    serve.kill('SIGTERM');
    expect(await serve.exited).toEqual({ code: 1, signal: null });
    if (redirect.includes('2>') === false) expect(serve.stderr.match(/stdout cannot be written/g)).toHaveLength(1);
    expect(bearers()).toEqual([]);
  },
);

test('`call` whose answer cannot be written fails, and leaves no server behind', async () => {
  const { env, bearers } = mark();
  const call = new Program(MAIN, {
    under: ['sh', '-c', 'exec "$@" >/dev/full', 'sh'],
    args: ['call', 'echo', 'echo', '{"text":"hi"}', '--config', echo(env)],
  });
  expect(await call.exited).toEqual({ code: 1, signal: null });
  expect(call.stderr).toMatch(/^mcp-poolkit: stdout cannot be written: ENOSPC[^\n]*\n$/);
  expect(bearers()).toEqual([]);
});

test.each(['--help', '--version', 'help serve', 'connect --help', 'import --dry-run CONFIG'])(
  '`%s` whose text cannot be written says so, and fails',
  async (line) => {
    const args = line.split(' ').map((arg) => (arg === 'CONFIG' ? echo({}) : arg));
    const program = new Program(MAIN, { under: ['sh', '-c', 'exec "$@" >/dev/full', 'sh'], args });
    expect(await program.exited).toEqual({ code: 1, signal: null });
    expect(program.stderr).toMatch(/^mcp-poolkit: stdout cannot be written: ENOSPC[^\n]*\n$/);
  },
);

test.each(['record --out FILE --', 'fault --plan PLAN --', 'fake-server'])(
  '`%s` that cannot pass on what a server says ends, and fails',
  async (line) => {
    const folder = tempFolder();
    const plan = join(folder, 'plan.json');
    writeFileSync(plan, '{}');
    const own = line.split(' ').map((arg) => ({ FILE: join(folder, 'out'), PLAN: plan })[arg] ?? arg);
    const ping = '{"jsonrpc":"2.0","id":1,"method":"ping"}';
    const behind = own.includes('--');
    const program = new Program(MAIN, {
      under: ['sh', '-c', `${behind ? 'exec' : `echo '${ping}' |`} "$@" >/dev/full`, 'sh'],
      args: behind ? [...own, 'sh', '-c', `echo '${ping}'; cat`] : own,
    });
    expect(await program.exited).toEqual({ code: 1, signal: null });
    expect(program.stderr).toMatch(/^mcp-poolkit: stdout cannot be written: ENOSPC[^\n]*\n$/);
  },
);

test('`fake-server` whose reader is gone ends, with its input still open', async () => {
  const pings = `for i in $(seq 200); do echo '{"jsonrpc":"2.0","id":1,"method":"ping"}'; sleep 0.1; done`;
  const program = new Program(MAIN, {
    under: ['sh', '-c', `(${pings}; echo 'input over' >&2) | { "$@"; echo "code $?" >&2; } | head -n 1`, 'sh'],
    args: ['fake-server'],
  });
  expect(await program.exited).toEqual({ code: 0, signal: null });
  expect(program.stderr).toBe('code 0\n');
});

test('a fault of the program itself is an orderly stop with exit code 1, and leaves no server behind', async () => {
  for (const [fault, ...flags] of [
    // Ignores the end of its input and SIGTERM: what does not kill it leaves it behind.
    ['throw new Error("planted")', '--ignore-eof', '--ignore-term'],
    ['Promise.reject(new Error("planted"))'],
  ] as const) {
    const { env, bearers } = mark();
    const plant = join(tempFolder(), 'plant.mjs');
    writeFileSync(plant, `process.on('SIGUSR2', () => { ${fault}; });`);
    const serve = new Program(MAIN, {
      env: { NODE_OPTIONS: `--import ${plant}` },
      args: ['serve', '--config', echo(env, ...flags), '--port', '0', '--json'],
    });
    await serve.line(/"event":"ready"/);
    expect(bearers()).toHaveLength(1);
    serve.kill('SIGUSR2');
    expect(await serve.exited, serve.stderr).toEqual({ code: 1, signal: null });
    expect(serve.stderr).toContain('planted');
    expect(bearers()).toEqual([]);
  }
});

test('`record` and `fault` whose file cannot be written end with one line and exit code 1, and leave no server behind', async () => {
  const plan = join(tempFolder(), 'plan.json');
  writeFileSync(plan, '{}');
  const call = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'echo', arguments: { text: 'hi' } } };
  const server = ['--', process.execPath, fixture('echo-server.mjs'), '--ignore-eof', '--ignore-term'];
  for (const command of [
    ['record', '--out', '/dev/full'],
    ['fault', '--plan', plan, '--events', '/dev/full'],
  ]) {
    const { env, bearers } = mark();
    const child = spawn(process.execPath, [MAIN, ...command, ...server], { env: { ...process.env, ...env } });
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    // Its stdin stays open: the fault alone ends it.
    child.stdin.write(`${JSON.stringify(call)}\n`);
    const [code] = await once(child, 'close');
    expect([code, said]).toEqual([1, expect.stringMatching(/^mcp-poolkit: [^\n]*ENOSPC[^\n]*\n$/)]);
    await expect.poll(bearers).toEqual([]);
  }
});

test.each(['http', 'tcp'])('`fault` whose plan refuses connections for a while is there again (%s)', async (scheme) => {
  const upstream = createServer((socket) => socket.on('error', () => undefined)).listen(0, '127.0.0.1');
  await once(upstream, 'listening');
  const folder = tempFolder();
  const plan = join(folder, 'plan.json');
  writeFileSync(plan, JSON.stringify({ rules: [{ fault: 'refused', first: 1, delayMs: 50 }] }));
  const args = [
    'fault',
    '--plan',
    plan,
    '--upstream',
    `${scheme}://127.0.0.1:${(upstream.address() as AddressInfo).port}`,
  ];
  const program = spawn(process.execPath, [MAIN, ...args], { stdio: ['ignore', 'pipe', 'ignore'] });
  const exited = once(program, 'exit');
  const [told] = await once(program.stdout, 'data');
  const port = Number(/:(\d+)/.exec(String(told))?.[1]);
  const call = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"}}';
  const head = `POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: ${call.length}\r\n\r\n`;
  const reset = connect(port, '127.0.0.1', () => reset.write(scheme === 'http' ? head + call : 'a'));
  reset.resume();
  await once(reset, 'close').catch(() => once(reset, 'close'));
  const isThere = (): Promise<boolean> =>
    new Promise((resolve) => {
      const socket = connect(port, '127.0.0.1', () => resolve(socket.destroy() === socket));
      socket.on('error', () => resolve(false));
    });
  await expect.poll(isThere).toBe(true);
  program.kill('SIGTERM');
  expect(await exited).toEqual([0, null]);
  upstream.close();
});
