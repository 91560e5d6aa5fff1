import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { Client, SSEClientTransport } from '@modelcontextprotocol/client';
import { SSEPool } from '../src/pool/SSEPool.js';
import { StdioPool } from '../src/pool/StdioPool.js';
import { UnifiedPool } from '../src/pool/UnifiedPool.js';
import { drive, IDENTITY } from './drive.js';
import type { Bench } from './harness.js';

const DONE = Promise.resolve('done');

/** A pool whose calls cost nothing, so that what is measured is the way to it. */
class InstantPool extends StdioPool {
  calls = 0;

  override request(): Promise<unknown> {
    this.calls++;
    return DONE;
  }
}

async function routing(bench: Bench, names: number): Promise<void> {
  const stdio = new InstantPool({ ledger: false });
  const servers = Array.from({ length: names }, (_, i) => `server ${i}`);
  for (const name of servers) stdio.addServer({ name, transport: 'stdio', command: 'never-started' });
  const unified = new UnifiedPool({ stdio });
  const through = (pool: { request(name: string, method: string): Promise<unknown> }) => async (operations: number) => {
    const before = stdio.calls;
    let last: Promise<unknown> = DONE;
    for (let i = 0; i < operations; i++) last = pool.request(servers[i % names] as string, 'tools/call');
    if ((await last) !== 'done' || stdio.calls - before !== operations) throw new Error('a call went astray');
  };
  const figure = await bench.race(
    `routing, ${names} names`,
    [
      { name: 'UnifiedPool', run: through(unified) },
      { name: 'the pool beneath', run: through(stdio) },
    ],
    { operations: 1_000_000 },
  );
  const costNs = figure('UnifiedPool').medianNs - figure('the pool beneath').medianNs;
  bench.target(`routing cost in ns, ${names} names`, costNs, '<=', 150);
  await unified.close();
  await stdio.close();
}

async function sseServer(): Promise<{ readonly url: string; readonly child: ChildProcess }> {
  const child = spawn(process.execPath, ['bench/servers/http-echo.mjs'], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  return { url: `http://127.0.0.1:${line.toString().trim()}/old`, child };
}

async function legacySse(bench: Bench): Promise<void> {
  const { url, child } = await sseServer();
  const pool = new SSEPool();
  await pool.startServer({ name: 'echo', transport: 'sse', url });
  const client = new Client(IDENTITY);
  await client.connect(new SSEClientTransport(new URL(url)));
  const params = (text: string) => ({ name: 'echo', arguments: { text } });
  const figure = await bench.race(
    'legacy SSE, 64 in flight',
    [
      { name: 'SSEPool', run: (n) => drive(n, 64, (text) => pool.request('echo', 'tools/call', params(text))) },
      { name: 'SDK v2 Client', run: (n) => drive(n, 64, (text) => client.callTool(params(text))), operations: 2_000 },
    ],
    { operations: 10_000 },
  );
  const ratio = figure('SDK v2 Client').medianNs / figure('SSEPool').medianNs;
  bench.target('legacy SSE at 64 in flight: times faster than the SDK v2 Client', ratio, '>=', 5);
  await client.close();
  await pool.close();
  child.kill('SIGKILL');
  await once(child, 'exit');
}

export async function suite(bench: Bench): Promise<void> {
  await routing(bench, 10);
  await routing(bench, 10_000);
  await legacySse(bench);
}
