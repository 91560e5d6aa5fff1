import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { expect, test, vi } from 'vitest';
import { configFile, MAIN, mark, run } from '../support/cli.js';
import { closeAfter } from '../support/closeAfter.js';
import { fixture } from '../support/servers.js';
import { tempFolder } from '../support/tempFolder.js';

vi.setConfig({ testTimeout: 90_000 });

interface Answer {
  readonly id?: number;
  readonly result?: {
    readonly content?: readonly { readonly text: string }[];
    readonly tools?: readonly { name: string }[];
  };
  readonly error?: { readonly message: string; readonly data?: { readonly code: string } };
}

/** A desktop client as far as its server can tell: two pipes. */
class Client {
  readonly child: ChildProcessWithoutNullStreams;
  readonly exited: Promise<unknown>;
  readonly lines: string[] = [];
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #next = 1;

  constructor(args: readonly string[], { under = [], env = {} }: { under?: readonly string[]; env?: object } = {}) {
    const [command, ...rest] = [...under, process.execPath, MAIN, ...args] as [string, ...string[]];
    this.child = spawn(command, rest, { env: { ...process.env, ...env } });
    this.child.stderr.resume();
    this.child.stdin.on('error', () => undefined);
    this.exited = once(this.child, 'close');
    createInterface({ input: this.child.stdout }).on('line', (line) => {
      this.lines.push(line);
      const answer = JSON.parse(line) as Answer;
      this.#waiting.get(answer.id ?? 0)?.(answer);
    });
    closeAfter({
      close: async () => {
        this.child.kill('SIGKILL');
        await this.exited;
      },
    });
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  ask(method: string, params: object = {}): Promise<Answer> {
    const id = this.#next++;
    const answer = new Promise<Answer>((settle) => this.#waiting.set(id, settle));
    this.child.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', id, method, params })}\n`);
    return answer;
  }

  async initialize(): Promise<Answer> {
    const clientInfo = { name: 'desk', version: '1' };
    const answer = await this.ask('initialize', { protocolVersion: '2025-06-18', capabilities: {}, clientInfo });
    this.child.stdin.write('{"jsonrpc":"2.0","method":"notifications/initialized"}\n');
    return answer;
  }

  async echo(text: string): Promise<string | undefined> {
    const { result, error } = await this.ask('tools/call', { name: 'echo', arguments: { text } });
    return error === undefined ? result?.content?.[0]?.text : `${error.data?.code}: ${error.message}`;
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

/** Processes that are alive, not zombies, and whose command line fits. */
function running(fits: (command: string) => boolean): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const state = readFileSync(`/proc/${pid}/stat`, 'latin1').replace(/^.*\) /s, '')[0];
        return state !== 'Z' && fits(readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' '));
      } catch {
        return false;
      }
    })
    .map(Number);
}

test('five clients over one gateway are one set of children; whichever piece is killed leaves nothing, and the others go on', async () => {
  const { env, bearers } = mark();
  const file = configFile({ echo: { command: process.execPath, args: [fixture('echo-server.mjs')], env } });
  const port = await freePort();
  const args = [
    'connect',
    `http://127.0.0.1:${port}/servers/echo/mcp`,
    '--start',
    '--config',
    file,
    '--linger-ms',
    '400',
  ];
  const own = { env: { XDG_STATE_HOME: tempFolder() } };
  const gateways = () =>
    running(
      (command) =>
        command.startsWith(process.execPath) && command.includes('main.js serve') && command.includes(`--port ${port}`),
    );
  const shims = () =>
    running(
      (command) =>
        command.startsWith(process.execPath) && command.includes('main.js connect') && command.includes(`:${port}/`),
    );
  const all = Array.from({ length: 4 }, () => new Client(args, own));
  const orphan = new Client(args, { ...own, under: ['sh', '-c', '"$@"; true', 'sh'] });
  const clients = [...all, orphan];
  const initialized = await Promise.all(clients.map((client) => client.initialize()));
  expect(initialized.map(({ error }) => error)).toEqual(clients.map(() => undefined));
  const say = (some: readonly Client[]) => Promise.all(some.map((client, i) => client.echo(`said ${i}`)));
  const said = (some: readonly Client[]) => some.map((_, i) => `said ${i}`);
  expect(await say(clients)).toEqual(said(clients));
  await expect.poll(() => [gateways().length, shims().length], { timeout: 20_000 }).toEqual([1, 5]);
  expect(bearers()).toHaveLength(1);
  const [gateway] = gateways();
  const [server] = bearers();

  // A shim, and the client of another: its pipe stays open, its parent is gone.
  const [killed, ...rest] = all as [Client, ...Client[]];
  killed.child.kill('SIGKILL');
  orphan.child.kill('SIGKILL');
  await vi.waitFor(() => expect(shims()).toHaveLength(3), 10_000);
  expect(await say(rest)).toEqual(said(rest));
  expect([gateways(), bearers()]).toEqual([[gateway], [server]]);

  // The server: the next call starts it again.
  process.kill(Number(server), 'SIGKILL');
  await vi.waitFor(() => expect(bearers()).not.toContain(server));
  await vi.waitFor(async () => expect(await say(rest.slice(0, 1))).toEqual(['said 0']), 10_000);
  expect(await say(rest)).toEqual(said(rest));
  expect(bearers()).toHaveLength(1);

  // The gateway, with a call in flight: that one's outcome is unknown, all clients go on over the next one.
  const [second] = bearers();
  const lost = rest[0]?.ask('tools/call', { name: 'sleep', arguments: { ms: 60_000 } });
  await vi.waitFor(async () => {
    const { result } = (await rest[1]?.ask('tools/call', { name: 'calls', arguments: {} })) ?? {};
    expect(result?.content?.[0]?.text).toContain('"sleep":1');
  });
  process.kill(gateway as number, 'SIGKILL');
  expect((await lost)?.error?.data?.code).toBe('ERR_OUTCOME_UNKNOWN');
  await vi.waitFor(() => expect(bearers()).not.toContain(second), 10_000);
  expect(await say(rest)).toEqual(said(rest));
  await vi.waitFor(() => expect([gateways().length, bearers().length]).toEqual([1, 1]), 10_000);
  expect(gateways()).not.toEqual([gateway]);

  // When the last client is gone, so is all.
  for (const { child } of rest) child.stdin.end();
  await Promise.all(rest.map(({ exited }) => exited));
  expect(rest.map(({ child }) => child.exitCode)).toEqual(rest.map(() => 0));
  await vi.waitFor(() => expect([gateways(), bearers(), shims()]).toEqual([[], [], []]), 15_000);
});

test('a signal ends connect also while its client reads nothing', async () => {
  const gateway = createHttpServer((request, response) => {
    request.resume().on('end', () => {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ jsonrpc: '2.0', id: 1, result: { pad: 'x'.repeat(2_000_000) } }));
      answered++;
    });
  });
  let answered = 0;
  gateway.listen(0, '127.0.0.1');
  await once(gateway, 'listening');
  const { port } = gateway.address() as { port: number };
  const args = [MAIN, 'connect', `http://127.0.0.1:${port}/mcp`];
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  closeAfter({ close: async () => void child.kill('SIGKILL') });
  child.stdin.write('{"jsonrpc":"2.0","id":1,"method":"ping"}\n'.repeat(4));
  await vi.waitFor(() => expect(answered).toBe(4), 10_000);
  child.kill('SIGTERM');
  expect(await exited).toEqual([0, null]);
  child.stdout.destroy();
  gateway.closeAllConnections();
  await once(gateway.close(), 'close');
});

test('serve --stdio is one server that is all of them: nothing but the protocol on stdout, and it ends with its client', async () => {
  const { env, bearers } = mark();
  const echo = { command: process.execPath, args: [fixture('echo-server.mjs')], env };
  const file = configFile({ echo, other: echo, broken: { command: '/no/such/program' } });
  const endings: readonly [string, (client: Client) => void][] = [
    ['the end of stdin', ({ child }) => void child.stdin.end()],
    ['SIGHUP', ({ child }) => void child.kill('SIGHUP')],
  ];
  await Promise.all(
    endings.map(async ([how, end]) => {
      const client = new Client(['serve', '--stdio', '--config', file]);
      await client.initialize();
      const { result } = await client.ask('tools/list');
      const names = result?.tools?.map(({ name }) => name) ?? [];
      expect(names).toEqual(expect.arrayContaining(['echo__echo0', 'other__echo0']));
      const called = await client.ask('tools/call', { name: 'echo__echo0', arguments: {} });
      expect(JSON.stringify(called)).toContain('unknown tool echo0');
      expect((await client.ask('no/such')).error?.message).toContain('no/such');
      end(client);
      await client.exited;
      expect([how, client.child.exitCode]).toEqual([how, 0]);
      for (const line of client.lines) expect(JSON.parse(line)).toMatchObject({ jsonrpc: '2.0' });
    }),
  );
  expect(bearers()).toEqual([]);
  // Its parent dies, and the pipe stays open.
  const orphan = new Client(['serve', '--stdio', '--config', file], { under: ['sh', '-c', '"$@"; true', 'sh'] });
  await orphan.initialize();
  expect(bearers().length).toBeGreaterThan(0);
  orphan.child.kill('SIGKILL');
  await vi.waitFor(() => expect(bearers()).toEqual([]), 10_000);
});

test('a gateway that is not there, cannot be started or has no config is told to the client, which gets an answer', async () => {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}/mcp`;
  const none = new Client(['connect', url]);
  expect((await none.initialize()).error).toMatchObject({ data: { code: 'ERR_NOT_SENT', retryable: true } });
  const bad = join(tempFolder(), 'mcp.json');
  writeFileSync(bad, '{ "mcpServers": ');
  const own = { env: { XDG_STATE_HOME: tempFolder() } };
  const broken = new Client(['connect', url, '--start', '--config', bad], own);
  expect((await broken.initialize()).error?.message).toMatch(/none could be started: .*mcp\.json: not JSON/);
  for (const { child } of [none, broken]) child.stdin.end();
  await Promise.all([none.exited, broken.exited]);
  expect(await run('connect', url, '--start')).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('--start needs --config'),
  });
  expect(await run('connect', 'ftp://x')).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('http or https URL'),
  });
});
