import { spawn, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { expect, test, vi } from 'vitest';
import { shareOf, unshareable } from '../../src/cli/workers/shareOf.js';
import { Cli, configFile, MAIN, mark, run } from '../support/cli.js';
import { RawClient } from '../support/httpClient.js';
import { isAlive } from '../support/processes.js';
import { fixture } from '../support/servers.js';

// Programs start here, several at once, and the machine may be busy.
vi.setConfig({ testTimeout: 60_000 });

const echo = (env: Record<string, string> = {}) => ({
  command: process.execPath,
  args: [fixture('echo-server.mjs')],
  env,
});

const serving = async (
  env: Record<string, string>,
  ...flags: string[]
): Promise<{ cli: Cli; url: string; pids: number[] }> => {
  const server = echo(env);
  server.args.push(...flags);
  const cli = new Cli('serve', '--config', configFile({ echo: server }), '--port', '0', '--json', '--workers', '2');
  const ready = await cli.event('ready');
  return { cli, url: `${ready['url']}/servers/echo/mcp`, pids: ready['workers'] as number[] };
};

test('workers share a port and sessions; one that is killed is replaced, and at the stop nothing is left', async () => {
  const { env, bearers } = mark();
  const { cli, url, pids } = await serving(env);
  expect(pids).toHaveLength(2);
  const client = new RawClient(url);
  await client.initialize();
  // Each request has a connection of its own, so that both workers have some of them.
  const calls = await Promise.all(
    Array.from({ length: 8 }, (_, i) => client.call('tools/call', { name: 'echo', arguments: { text: `${i}` } })),
  );
  expect(calls.map(({ result }) => JSON.stringify(result))).toEqual(
    Array.from({ length: 8 }, (_, i) => JSON.stringify({ content: [{ type: 'text', text: `${i}` }] })),
  );
  process.kill(pids[0] as number, 'SIGKILL');
  await cli.line(/^\{"event":"worker".*"state":"exited".*SIGKILL/);
  await cli.line(/^\{"event":"worker".*"state":"ready"/);
  const after = await Promise.all([1, 2, 3, 4].map(() => client.send({ jsonrpc: '2.0', id: 1, method: 'ping' })));
  expect(after.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
  const slow = client.call('tools/call', { name: 'sleep', arguments: { ms: 1_500 } });
  // Workers take turns: one of them has a server that sleeps.
  await expect
    .poll(async () => JSON.stringify(await client.call('tools/call', { name: 'calls', arguments: {} })))
    .toMatch(/sleep/);
  cli.kill('SIGTERM');
  expect(JSON.stringify((await slow).result)).toContain('slept');
  expect(await cli.exited).toEqual({ code: 0, signal: null });
  expect(cli.events.filter(({ event }) => event === 'stopped')).toHaveLength(1);
  await expect.poll(() => bearers()).toEqual([]);
});

test('when the primary is killed its workers stop, with their servers', async () => {
  const { env, bearers } = mark();
  const { cli, pids } = await serving(env);
  cli.kill('SIGKILL');
  await cli.exited;
  await expect.poll(() => [...pids.filter(isAlive), ...bearers()], { timeout: 60_000 }).toEqual([]);
});

test('SIGHUP means to workers what it means to one process: a config that has changed is read, with one that has not it is a stop', async () => {
  const { env, bearers } = mark();
  const config = configFile({ echo: echo(env) });
  const program = new Cli('serve', '--config', config, '--port', '0', '--json', '--workers', '2');
  const { workers } = await program.event('ready');
  const pids = workers as number[];
  const [few, bound] = [{ maxConnections: 1 }, { sharing: 'bound' }].map((more) => ({ ...echo(env), ...more }));
  // What workers cannot share is refused then, too.
  writeFileSync(config, JSON.stringify({ mcpServers: { echo: few, bound, other: echo(env) } }));
  program.kill('SIGHUP');
  for (const worker of [1, 2]) {
    const [line] = await program.line(new RegExp(`.*"event":"reloaded".*"worker":${worker}.*`));
    expect(JSON.parse(line)).toMatchObject({ added: ['other'], changed: [], removed: [], kept: ['echo'] });
  }
  const problems = program.events.filter(({ event }) => event === 'problem').map(({ message }) => message);
  expect(problems).toContainEqual(expect.stringMatching(/server "bound": --workers 2: .*sharing "bound"/));
  expect(pids.filter(isAlive)).toEqual(pids);
  program.kill('SIGHUP');
  expect(await program.exited).toEqual({ code: 0, signal: null });
  expect(program.output).not.toContain('"event":"worker"');
  expect(bearers()).toEqual([]);
});

test.skipIf(spawnSync('script', ['--version']).error !== undefined)(
  'when the terminal closes, the primary and its workers end, with their servers',
  async () => {
    const { env, bearers } = mark();
    const serve = `exec '${process.execPath}' '${MAIN}' serve --config '${configFile({ echo: echo(env) })}' --port 0 --json --workers 2`;
    const terminal = spawn('script', ['-qfec', serve, '/dev/null'], { env: { ...process.env, ...env } });
    let shown = '';
    terminal.stdout.on('data', (text: Buffer) => {
      shown += text;
    });
    await expect.poll(() => shown, { timeout: 30_000 }).toContain('"event":"ready"');
    expect(bearers().length).toBeGreaterThan(3);
    terminal.kill('SIGKILL');
    await expect.poll(() => bearers(), { timeout: 20_000 }).toEqual([]);
  },
);

test('a connection that was handed to a worker which dies before it takes it is closed; when all die, others listen where clients were told', async () => {
  const { cli, url, pids } = await serving({});
  process.kill(pids[0] as number, 'SIGSTOP');
  let answered = 0;
  const closed = [1, 2, 3, 4].map(async () => {
    const socket = connect(Number(new URL(url).port), '127.0.0.1').on('error', () => undefined);
    socket.write('GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
    socket.once('data', () => answered++);
    await new Promise((resolve) => void socket.once('close', resolve));
  });
  await expect.poll(() => answered).toBe(3);
  process.kill(pids[0] as number, 'SIGKILL');
  process.kill(pids[1] as number, 'SIGKILL');
  await Promise.all(closed);
  expect(answered).toBe(3);
  await cli.line(/"event":"worker".*"state":"ready"/);
  // A page acts on one worker alone: it is given no token.
  const page = await fetch(new URL('/status/events', url));
  let shown = '';
  for await (const text of page.body?.pipeThrough(new TextDecoderStream()) ?? []) {
    shown += text;
    if (shown.includes('"token":')) break;
  }
  expect(shown).toContain('"actions":false,"token":null');
  cli.kill('SIGTERM');
  expect((await cli.exited).code).toBe(0);
});

test('the servers of a worker that is killed while all stop end before the primary does', async () => {
  const { env, bearers } = mark();
  const { cli, url, pids } = await serving(env);
  const client = new RawClient(url);
  await client.initialize();
  const calls = [1, 2, 3, 4].map(() =>
    client.call('tools/call', { name: 'sleep', arguments: { ms: 60_000 } }).catch((error: unknown) => error),
  );
  await cli.line(/"event":"started".*"worker":1/);
  await cli.line(/"event":"started".*"worker":2/);
  cli.kill('SIGTERM');
  await cli.line(/"event":"stopping"/);
  for (const pid of pids) process.kill(pid, 'SIGKILL');
  await Promise.all(calls);
  expect((await cli.exited).code).toBe(1);
  expect(cli.events.filter(({ event }) => event === 'swept')).toHaveLength(1);
  expect(bearers()).toEqual([]);
});

test('the servers of a worker that died right before the stop end before the primary does', async () => {
  const { env, bearers } = mark();
  const { cli, pids } = await serving(env, '--ignore-eof', '--ignore-term');
  await expect.poll(() => bearers().length).toBe(2);
  process.kill(pids[0] as number, 'SIGKILL');
  await cli.line(/"state":"exited".*SIGKILL/);
  cli.kill('SIGTERM');
  expect(await cli.exited).toEqual({ code: 0, signal: null });
  expect(bearers()).toEqual([]);
});

test('signals while workers start, the first ones and another: a clean stop', async () => {
  const { env, bearers } = mark();
  const args = ['serve', '--config', configFile({ echo: echo(env) }), '--port', '0', '--json', '--workers', '2'];
  const childrenOf = ({ pid }: Cli): string => readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8');
  for (const signal of ['SIGTERM', 'SIGHUP'] as const) {
    const stopped = new Cli(...args);
    await expect.poll(() => childrenOf(stopped), { interval: 5, timeout: 20_000 }).not.toBe('');
    stopped.kill(signal);
    expect([await stopped.exited, stopped.stderr]).toEqual([{ code: 0, signal: null }, '']);
  }
  const cli = new Cli(...args);
  const children = (): string => childrenOf(cli);
  await cli.event('ready');
  // One is killed, so that another starts.
  const [first] = children().split(' ');
  process.kill(Number(first), 'SIGKILL');
  await cli.line(/"state":"exited".*SIGKILL/);
  await expect.poll(() => children().trim().split(' ').length, { interval: 5, timeout: 20_000 }).toBe(2);
  cli.kill('SIGTERM');
  expect(await cli.exited).toEqual({ code: 0, signal: null });
  await expect.poll(() => bearers()).toEqual([]);
});

test('what workers cannot share is said at once', async () => {
  const bound = configFile({ echo: { ...echo(), sharing: 'bound' } });
  const one = configFile({ echo: { ...echo(), maxConnections: 1 } });
  const runs = await Promise.all([
    run('serve', '--config', bound, '--port', '0', '--workers', '2'),
    run('serve', '--config', one, '--port', '0', '--workers', '2'),
    run('serve', '--config', one, '--stdio', '--workers', '2'),
    run('serve', '--config', one, '--sse', '--workers', '2'),
  ]);
  expect(runs.map(({ code }) => code)).toEqual([1, 1, 1, 1]);
  for (const [index, told] of ['sharing "bound"', 'maxConnections 1', 'one process', 'one connection'].entries()) {
    expect(runs[index]?.stderr).toContain(told);
  }
  const config = { name: 's', transport: 'stdio', command: 'x' } as const;
  expect(shareOf(config, { workers: 3 }).maxConnections).toBe(5);
  expect(shareOf({ ...config, maxConnections: 7 }, { workers: 4 }).maxConnections).toBe(1);
  expect(unshareable({ ...config, enabled: false, sharing: 'bound' }, { workers: 4 })).toBeUndefined();
});

test('a stop that a second signal forces ends with the code of that signal, also where a worker hangs', async () => {
  const { env, bearers } = mark();
  const { cli, pids } = await serving(env);
  process.kill(pids[0] as number, 'SIGSTOP');
  cli.kill('SIGTERM');
  await cli.line(/"event":"stopping"/);
  // What comes right behind the first is the same wish.
  const again = setInterval(() => cli.kill('SIGINT'), 100);
  expect(await cli.exited.finally(() => clearInterval(again))).toEqual({ code: 130, signal: null });
  expect(pids.filter(isAlive)).toEqual([]);
  expect(bearers()).toEqual([]);
});
