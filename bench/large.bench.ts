import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { type Bench, type Figure, median } from './harness.js';

/**
 * What an answer of 50 MB costs others: a gateway in a process of its own, 50 MB answers one behind the other from one server, and small
 * calls to another server. Both clients are processes of their own (bench/servers/large-client.mjs), so that what they take to read is not measured.
 */
const ROOT = resolve(import.meta.dirname, '../..');
const NODE = process.execPath;
const MIB = 2 ** 20;
const BYTES = 50 * MIB;
/** The longest that a small call may take at the 99th percentile while large answers pass, in ms. */
const MAX_P99_MS = 20;

interface Line {
  readonly name: string;
  readonly server: string;
  /** Of the aggregate: tools have other names there. */
  readonly path: '/mcp' | undefined;
}

const LINES: readonly Line[] = [
  { name: 'no large answers', server: '', path: undefined },
  { name: 'stdio server, id first', server: 'first', path: undefined },
  { name: 'stdio server, id last', server: 'last', path: undefined },
  { name: 'HTTP server, JSON', server: 'json', path: undefined },
  { name: 'HTTP server, events', server: 'events', path: undefined },
  { name: 'stdio server, through /mcp', server: 'first', path: '/mcp' },
];

export async function suite(bench: Bench): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'poolkit-bench-'));
  const started: ChildProcess[] = [];
  try {
    const web = start(started, ['bench/servers/large.mjs', '--http']);
    const webPort = await portOf(web);
    const config = join(folder, 'mcp.json');
    const stdio = (...args: string[]) => ({ command: NODE, args: [join(ROOT, 'bench/servers/large.mjs'), ...args] });
    const mcpServers = {
      echo: { command: NODE, args: [join(ROOT, 'bench/servers/echo.mjs')] },
      first: stdio(),
      last: stdio('--id-last'),
      json: { type: 'http', url: `http://127.0.0.1:${webPort}/json` },
      events: { type: 'http', url: `http://127.0.0.1:${webPort}/events` },
    };
    writeFileSync(config, JSON.stringify({ mcpServers }));
    const gateway = start(started, ['dist/cli/main.js', 'serve', '--config', config, '--port', '0']);
    const gatewayPort = await portOf(gateway);
    const rounds = bench.quick ? 1 : 3;
    const figures: Figure[] = [];
    for (const line of LINES) figures.push(await measure(bench, line, rounds, gateway.pid ?? 0, gatewayPort));
    bench.result(
      'p99 of small calls, while answers of 50 MB pass (cpu: of the gateway, per large answer)',
      rounds,
      figures,
    );
    for (const { name, p99Ms = Number.NaN } of figures.slice(1)) {
      bench.target(`p99 of others in ms, ${name}`, p99Ms, '<=', MAX_P99_MS);
    }
  } finally {
    for (const each of started) each.kill('SIGTERM');
    await Promise.all(started.map((each) => each.exitCode ?? once(each, 'exit')));
    rmSync(folder, { recursive: true, force: true });
  }
}

/** One kind of large answer: what others wait meanwhile, how long one takes, and how much memory the gateway has. */
async function measure(bench: Bench, line: Line, rounds: number, pid: number, port: number): Promise<Figure> {
  const { name, server, path } = line;
  const ms = bench.quick ? 2_000 : 5_000;
  let large = 0;
  const cpu: number[] = [];
  const p50: number[] = [];
  const p99: number[] = [];
  let rssBytes = 0;
  for (let round = 0; round < rounds; round++) {
    bench.stopping.throwIfAborted();
    const clients: ChildProcess[] = [];
    const cpuBefore = cpuMsOf(pid);
    const sampling = setInterval(() => {
      rssBytes = Math.max(rssBytes, rssOf(pid));
    }, 10);
    try {
      const url = (of: string): string => `http://127.0.0.1:${port}${path ?? `/servers/${of}/mcp`}`;
      const tool = (of: string, own: string): string => (path === undefined ? own : `${of}__${own}`);
      // Those of large answers run longer, so that there is one at any time.
      const theirs = server === '' ? undefined : client(clients, url(server), tool(server, 'size'), ms + 1_000, BYTES);
      await theirs?.ready;
      const others = await client(clients, url('echo'), tool('echo', 'echo'), ms, 0).took;
      others.sort((a, b) => a - b);
      p50.push(others[Math.floor(others.length * 0.5)] ?? Number.NaN);
      p99.push(others[Math.floor(others.length * 0.99)] ?? Number.NaN);
      const took = (await theirs?.took) ?? [];
      large += took.length;
      // The first was made before the round.
      cpu.push(((cpuMsOf(pid) - cpuBefore) * 1e6) / (took.length + 1));
    } finally {
      clearInterval(sampling);
      for (const each of clients) each.kill('SIGTERM');
    }
  }
  if (server !== '') bench.note(`${name}: ${large} large answers`);
  const ns = p99.map((each) => each * 1e6);
  return {
    name,
    medianNs: median(ns),
    minNs: Math.min(...ns),
    maxNs: Math.max(...ns),
    cpuNs: server === '' ? Number.NaN : median(cpu),
    p50Ms: median(p50),
    p99Ms: median(p99),
    rssBytes,
  };
}

function start(started: ChildProcess[], args: readonly string[]): ChildProcess {
  const child = spawn(NODE, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'inherit'] });
  started.push(child);
  return child;
}

function client(started: ChildProcess[], url: string, tool: string, ms: number, bytes: number) {
  const child = start(started, ['bench/servers/large-client.mjs', url, tool, String(ms), String(bytes)]);
  let text = '';
  const ready = new Promise<void>((resolve, reject) => {
    child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
      if (text.startsWith('ready\n')) resolve();
    });
    child.once('exit', (code) => reject(new Error(`a client ended with code ${code}`)));
  });
  const took = once(child, 'close').then(([code]) => {
    if (code !== 0) throw new Error(`a client ended with code ${code}`);
    return JSON.parse(text.slice('ready\n'.length)) as number[];
  });
  return { ready, took };
}

/** The first port that a program prints. */
function portOf(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    let text = '';
    child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
      const port = /127\.0\.0\.1:(\d+)\/mcp|^(\d+)\s*$/m.exec(text);
      if (port !== null) resolve(Number(port[1] ?? port[2]));
    });
    child.once('exit', (code) => reject(new Error(`a program ended with code ${code}`)));
  });
}

function rssOf(pid: number): number {
  const kib = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kib) * 1_024;
}

/** User and system time of a process so far. */
function cpuMsOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}
