import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { Client, SSEClientTransport } from '@modelcontextprotocol/client';
import { SSEPool } from '../src/pool/SSEPool.js';
import { UnifiedPool } from '../src/pool/UnifiedPool.js';
import { drive, IDENTITY } from './drive.js';
import type { Bench } from './harness.js';

const DONE = Promise.resolve('done');

/** What every call of a pool does before its server has it: one look-up, in a pool of so many names. */
async function routing(bench: Bench, names: number): Promise<void> {
  const unified = new UnifiedPool({ ledger: false });
  const servers = Array.from({ length: names }, (_, i) => `server ${i}`);
  for (const name of servers) unified.addServer({ name, transport: 'stdio', command: 'never-started', enabled: false });
  const bare = new Map(servers.map((name) => [name, DONE]));
  const figure = await bench.race(
    `routing, ${names} names`,
    [
      {
        name: 'UnifiedPool.state',
        run: async (operations: number) => {
          let stopped = 0;
          for (let i = 0; i < operations; i++) {
            if (unified.state(servers[i % names] as string) === 'stopped') stopped++;
          }
          if (stopped !== operations) throw new Error('a name went astray');
        },
      },
      {
        name: 'a Map look-up',
        run: async (operations: number) => {
          let found = 0;
          for (let i = 0; i < operations; i++) if (bare.get(servers[i % names] as string) === DONE) found++;
          if (found !== operations) throw new Error('a name went astray');
        },
      },
    ],
    { operations: 1_000_000 },
  );
  const costNs = figure('UnifiedPool.state').medianNs - figure('a Map look-up').medianNs;
  bench.target(`routing cost in ns, ${names} names`, costNs, '<=', 150);
  await unified.close();
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
