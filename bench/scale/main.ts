import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { cpus, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { Redis } from 'ioredis';
import { RedisEventStore } from '../../src/gateway/replicas/RedisEventStore.js';
import { RedisReplicas } from '../../src/gateway/replicas/RedisReplicas.js';
import { startRedis, stop } from '../fleet/programs.js';
import { simulate } from './simulate.js';

/**
 * `npm run scale -- [--quick]`: what one replica holds, and what Redis does: bytes of an idle session, of one that listens, of a server that is
 * configured and of one that runs; abandoned sessions; operations of Redis; and a simulation of what this machine cannot run.
 */
const { values } = parseArgs({ options: { quick: { type: 'boolean', default: false } } });
const SIZE = values.quick
  ? { sessions: 1_000, streams: 100, abandoned: 5_000, servers: 100, running: 5, redisMs: 500 }
  : { sessions: 10_000, streams: 1_000, abandoned: 100_000, servers: 1_000, running: 50, redisMs: 3_000 };
const ROOT = resolve(import.meta.dirname, '../../..');

interface Memory {
  readonly heap: number;
  readonly rss: number;
  readonly sessions: number;
  readonly streams: number;
}

interface Replica {
  readonly child: ChildProcess;
  readonly first: { readonly url: string; readonly pids: readonly number[] } & Readonly<
    Record<'before' | 'configured' | 'started', Memory>
  >;
  readonly ask: <T>(what: string) => Promise<T>;
}

async function replica(options: object): Promise<Replica> {
  const args = [JSON.stringify({ server: join(ROOT, 'bench/servers/echo.mjs'), ...options })];
  const child = fork(join(ROOT, 'bench/scale/gateway.mjs'), args, { execArgv: ['--expose-gc'] });
  const [first] = (await once(child, 'message')) as [Replica['first']];
  const ask = async <T>(what: string): Promise<T> => {
    child.send({ ask: what });
    return ((await once(child, 'message')) as [T])[0];
  };
  return { child, first, ask };
}

const agent = new Agent({ keepAlive: true, maxSockets: 16 });

/** One request; gives its status and session. */
function post(
  url: string,
  message: object,
  session?: string,
): Promise<{ readonly status: number; readonly session: string }> {
  const headers = {
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
    ...(session !== undefined && { 'mcp-session-id': session }),
  };
  return new Promise((done, fail) => {
    const outgoing = request(url, { method: 'POST', headers, agent }, (incoming) => {
      incoming
        .resume()
        .once('end', () =>
          done({ status: incoming.statusCode ?? 0, session: String(incoming.headers['mcp-session-id'] ?? '') }),
        );
    });
    outgoing.once('error', fail);
    outgoing.end(JSON.stringify({ jsonrpc: '2.0', id: 1, ...message }));
  });
}

const INITIALIZE = {
  method: 'initialize',
  params: {
    protocolVersion: '2025-11-25',
    capabilities: { roots: {} },
    clientInfo: { name: 'scale', version: '1.0.0' },
  },
};

/** Runs so many, sixteen at a time. */
async function many<T>(count: number, run: (index: number) => Promise<T>): Promise<T[]> {
  const results: T[] = [];
  let next = 0;
  await Promise.all(
    Array.from({ length: 16 }, async () => {
      while (next < count) {
        const index = next++;
        results[index] = await run(index);
      }
    }),
  );
  return results;
}

const row = (what: string, figure: string): void => console.log(`| ${what} | ${figure} |`);
const kib = (bytes: number): string => `${(bytes / 1_024).toFixed(1)} KiB`;
const per = (after: Memory, before: Memory, count: number): string =>
  `${kib((after.heap - before.heap) / count)} heap, ${kib((after.rss - before.rss) / count)} RSS`;

console.log(
  `node ${process.version}, ${cpus().length} × ${cpus()[0]?.model ?? 'CPU'}\n\n| what | measured |\n|---|---|`,
);
await sessions();
await servers();
await redis();
await workers();
console.log(`\n${simulate()}`);
agent.destroy();

async function sessions(): Promise<void> {
  const one = await replica({ servers: 1, running: 1, maxSessions: SIZE.sessions, idleMs: 600_000 });
  const url = `${one.first.url}/servers/s0/mcp`;
  await many(50, () => post(url, INITIALIZE));
  const empty = await one.ask<Memory>('memory');
  const ids = await many(SIZE.sessions - 50, () => post(url, INITIALIZE));
  const full = await one.ask<Memory>('memory');
  row(`an idle session, of ${full.sessions}`, per(full, empty, ids.length));
  const streams = ids.slice(0, SIZE.streams).map(({ session }) => {
    const headers = { accept: 'text/event-stream', 'mcp-session-id': session };
    return request(url, { headers, agent: false })
      .on('error', () => undefined)
      .end();
  });
  await Promise.all(streams.map((each) => once(each, 'response')));
  const listening = await one.ask<Memory>('memory');
  row(`its stream, of ${listening.streams}`, per(listening, full, streams.length));
  for (const each of streams) each.destroy();
  await end(one);
  const abandoned = await replica({ servers: 1, running: 1, maxSessions: SIZE.sessions, idleMs: 1_000 });
  const at = `${abandoned.first.url}/servers/s0/mcp`;
  await many(50, () => post(at, INITIALIZE));
  const before = await abandoned.ask<Memory>('memory');
  let refused = 0;
  const [first] = await many(SIZE.abandoned, async () => {
    for (;;) {
      const opened = await post(at, INITIALIZE);
      if (opened.status === 200) return opened;
      refused++;
      await new Promise((done) => setTimeout(done, 50));
    }
  });
  await new Promise((done) => setTimeout(done, 2_500));
  const after = await abandoned.ask<Memory>('memory');
  row(
    `${SIZE.abandoned} abandoned sessions, ${SIZE.sessions} at once at most`,
    `${after.sessions} left, heap ${kib(after.heap - before.heap)} more, refused ${refused} times meanwhile`,
  );
  const cpu = await abandoned.ask<NodeJS.CpuUsage>('cpu');
  const again = await many(500, () => post(at, { method: 'ping' }, first?.session));
  const used = await abandoned.ask<NodeJS.CpuUsage>('cpu');
  row(
    'the first of them comes back',
    `${again[0]?.status}, ${((used.user + used.system - cpu.user - cpu.system) / 500).toFixed(0)} µs CPU a ping`,
  );
  await end(abandoned);
}

async function servers(): Promise<void> {
  const one = await replica({ servers: SIZE.servers, running: SIZE.running, maxSessions: 10, idleMs: 60_000 });
  const { before, configured, started, pids } = one.first;
  row(`a configured server, of ${SIZE.servers}`, per(configured, before, SIZE.servers));
  row(`a running one, of ${SIZE.running}, here`, per(started, configured, SIZE.running));
  const rss = pids.map(
    (pid) => Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1_024,
  );
  row('its own process (a small Node program)', `${kib(rss.reduce((a, b) => a + b, 0) / rss.length)} RSS`);
  await end(one);
}

async function redis(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'mcp-poolkit-scale-'));
  const { child, port } = await startRedis(folder);
  const client = new Redis(port, '127.0.0.1');
  const replicas = new RedisReplicas({ redis: client });
  const store = new RedisEventStore({ redis: client });
  for (;;) {
    // Their connections of their own are there a little later.
    const up = await Promise.all([replicas.notes('warm'), store.storeEvent('warm', {})]).catch(() => undefined);
    if (up !== undefined) break;
    await new Promise((done) => setTimeout(done, 20));
  }
  const message = { jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data: 'x'.repeat(200) } };
  const acts: Readonly<Record<string, (i: number) => Promise<unknown>>> = {
    'a session is taken up (its notes)': (i) => replicas.notes(`s${i % 1_000}`),
    'a setting of a session is noted': (i) => replicas.note(`s${i % 1_000}`, 'level', 'info', 60_000),
    'an event of 250 bytes is stored': (i) => store.storeEvent(`s${i % 1_000}`, message),
  };
  for (const [what, act] of Object.entries(acts)) {
    const cpu = await cpuOf(client);
    const until = performance.now() + SIZE.redisMs;
    let count = 0;
    await Promise.all(
      Array.from({ length: 64 }, async () => {
        while (performance.now() < until) await act(count++);
      }),
    );
    const us = ((await cpuOf(client)) - cpu) * 1e6;
    row(
      `Redis: ${what}`,
      `${(us / count).toFixed(1)} µs CPU of Redis, so at most ${Math.floor(1e6 / (us / count)).toLocaleString('en-US')}/s`,
    );
  }
  await Promise.all([replicas.close(), store.close()]);
  client.disconnect();
  await stop(child, 'SIGKILL');
  rmSync(folder, { recursive: true, force: true });
}

/** What a call costs the processes of the gateway, alone and as workers; CPU, so that other programs matter less. */
async function workers(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'mcp-poolkit-scale-'));
  const config = join(folder, 'mcp.json');
  const echo = { command: process.execPath, args: [join(ROOT, 'bench/servers/echo.mjs')] };
  writeFileSync(config, JSON.stringify({ mcpServers: { s0: echo } }));
  for (const count of [1, 2]) {
    const args = ['serve', '--config', config, '--port', '0', '--json', '--no-status', '--workers', `${count}`];
    const child = spawn(process.execPath, [join(ROOT, 'dist/cli/main.js'), ...args], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const ready = await readyOf(child);
    const pids = [child.pid ?? 0, ...(ready.workers ?? [])];
    const url = `${ready.url}/servers/s0/mcp`;
    const { session } = await post(url, INITIALIZE);
    const call = { method: 'tools/call', params: { name: 'echo', arguments: { text: 'hello' } } };
    const calls = 2 * SIZE.sessions;
    // Until code is compiled, in each worker.
    await many(SIZE.sessions, () => post(url, call, session));
    const before = ticksOf(pids);
    const answers = await many(calls, () => post(url, call, session));
    const us = ((ticksOf(pids) - before) * 10_000) / calls;
    if (answers.some(({ status }) => status !== 200)) throw new Error('a call failed');
    row(`a call with ${count} worker${count === 1 ? '' : 's'}, 16 in flight`, `${us.toFixed(0)} µs CPU of the gateway`);
    agent.destroy();
    await stop(child);
  }
  rmSync(folder, { recursive: true, force: true });
}

function readyOf(child: ChildProcess): Promise<{ readonly url: string; readonly workers?: readonly number[] }> {
  let text = '';
  return new Promise((done, fail) => {
    // It stays open: a pipe that is closed would end what writes to it.
    child.stdout?.on('data', (chunk: Buffer) => {
      text += String(chunk);
      const line = /^\{"event":"ready".*$/m.exec(text)?.[0];
      if (line !== undefined) done(JSON.parse(line) as { url: string; workers?: number[] });
    });
    child.once('exit', () => fail(new Error('serve did not start')));
  });
}

/** User and system time of processes, in hundredths of a second. */
function ticksOf(pids: readonly number[]): number {
  const own = pids.map((pid) =>
    readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /, '')
      .split(' '),
  );
  return own.reduce((sum, fields) => sum + Number(fields[11]) + Number(fields[12]), 0);
}

async function cpuOf(client: Redis): Promise<number> {
  const text = await client.info('cpu');
  const of = (name: string): number => Number(new RegExp(`${name}:([\\d.]+)`).exec(text)?.[1] ?? 0);
  return of('used_cpu_sys') + of('used_cpu_user');
}

async function end({ child }: Replica): Promise<void> {
  const exit = once(child, 'exit');
  child.send({ ask: 'stop' });
  await exit;
}
