import { spawnSync } from 'node:child_process';
import { connect } from 'node:net';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, test, vi } from 'vitest';
import { configFile, MAIN } from '../support/cli.js';
import { Program } from '../support/program.js';
import { fixture } from '../support/servers.js';

// Programs start here, several at once, and the machine may be busy.
vi.setConfig({ testTimeout: 60_000 });

const under = (limit: number): string[] => ['bash', '-c', `ulimit -n ${limit}; exec "$@"`, 'bash'];
const echo = (): string => configFile({ echo: { command: process.execPath, args: [fixture('echo-server.mjs')] } });
/** A line of a stack as Node prints it for what nobody caught. */
const STACK = /^\s+at |Node\.js v\d/m;

test('a tool is called where 64 files may be open', async () => {
  const args = ['call', 'echo', 'echo', '{"text":"hi"}', '--config', echo()];
  const call = new Program(MAIN, { under: under(64), args });
  expect(await call.exited, call.stderr).toEqual({ code: 0, signal: null });
  expect(call.output).toBe('hi');
  expect(call.stderr).toMatch(/^mcp-poolkit: warning: only 64 files may be open \(see ulimit -n\).*\n$/);
});

/** Node 24 ends before it has begun where fewer may be open. */
const FEWEST = Number.parseInt(process.versions.node, 10) < 24 ? 20 : 22;

test.each([FEWEST, 23, 24, 26])(
  'where %i files may be open, a call that cannot be made says why, without a stack',
  async (limit) => {
    const args = ['call', 'echo', 'echo', '{"text":"hi"}', '--config', echo(), '--log-level', 'silent'];
    const call = new Program(MAIN, { under: under(limit), args });
    const { code } = await call.exited;
    expect(call.stderr).not.toMatch(STACK);
    if (code !== 0) expect(call.stderr).toMatch(/ulimit -n|too many open files/);
  },
);

test('connections take half of the files that may be open, so that servers can still be started', async () => {
  const few = new Program(MAIN, {
    under: under(100),
    args: ['serve', '--config', echo(), '--port', '0', '--json', '--log-level', 'silent'],
  });
  const [ready] = await few.line(/^{"event":"ready".*/);
  const { url } = JSON.parse(ready) as { url: string };
  let closed = 0;
  const sockets = Array.from({ length: 60 }, () =>
    connect(Number(new URL(url).port), '127.0.0.1')
      .on('error', () => undefined)
      .once('close', () => closed++),
  );
  // Of one address three quarters of 50.
  await expect.poll(() => closed).toBe(60 - 38);
  for (const socket of sockets) socket.destroy();
  few.kill('SIGTERM');
  expect((await few.exited).code).toBe(0);
});

test('the gateway serves what fits, tells of the rest, and stops', async () => {
  const servers = Object.fromEntries(
    Array.from({ length: 20 }, (_, i) => [`s${i}`, { command: process.execPath, args: [fixture('echo-server.mjs')] }]),
  );
  const few = new Program(MAIN, {
    under: under(64),
    args: ['serve', '--config', configFile(servers), '--port', '0', '--json', '--log-level', 'silent'],
  });
  const [ready] = await few.line(/^{"event":"ready".*/);
  const { url, servers: lines } = JSON.parse(ready) as { url: string; servers: { state: string }[] };
  expect(lines.some(({ state }) => state === 'ready')).toBe(true);
  const [problem] = await few.line(/^{"event":"problem".*/);
  expect(JSON.parse(problem)).toMatchObject({ message: expect.stringContaining('too many files are open (EMFILE') });
  expect((await fetch(`${url}/livez`)).status).toBe(200);
  few.kill('SIGTERM');
  expect(await few.exited).toEqual({ code: 0, signal: null });
  expect(few.stderr).not.toMatch(STACK);
});

/** Runs Node where 4 GB may be addressed: WebAssembly reserves more. */
const little = (...args: string[]) =>
  spawnSync('sh', ['-c', 'ulimit -v 4000000; exec "$0" "$@"', process.execPath, ...args], { encoding: 'utf8' });

test.skipIf(little('-e', 'new WebAssembly.Memory({ initial: 1 })').status !== 1)(
  'where too little may be addressed for HTTP, that is said by what needs it, and nothing is rejected unheard',
  () => {
    const far = { url: 'http://127.0.0.1:9917/mcp', auth: { type: 'oauth' } };
    const signIn = little(MAIN, 'auth', 'far', '--config', configFile({ far }));
    expect(signIn).toMatchObject({ status: 1, stderr: expect.stringMatching(/^mcp-poolkit: .*ulimit -v.*\n$/) });
    const status = little(MAIN, 'status', '--url', 'http://127.0.0.1:9917/');
    expect(status).toMatchObject({ status: 1, stderr: expect.stringContaining('no gateway answers') });
    // Keys are asked for without it.
    const users = "{ issuer: 'i', audience: 'a', jwks: 'http://127.0.0.1:9917/' }";
    const headers = "{ authorization: 'Bearer eyJhbGciOiJFUzI1NiJ9.e30.AAAA' }";
    const program = `import('${pathToFileURL(resolve('dist/gateway/index.js'))}')
      .then(({ jwtUsers }) => jwtUsers(${users})({ headers: ${headers} }))
      .catch((error) => console.log(error.message))`;
    expect(little('-e', program)).toMatchObject({ status: 0, stdout: expect.stringContaining('ECONNREFUSED') });
  },
);
