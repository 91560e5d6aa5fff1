import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { generate } from '../src/bench/load/generate.js';
import type { TargetSpec } from '../src/bench/target/TargetSpec.js';
import { UnifiedPool } from '../src/pool/UnifiedPool.js';
import type { ServerConfig } from '../src/registry/config/ServerConfig.js';
import { drive } from './drive.js';
import { type Bench, type Figure, median } from './harness.js';

const IN_FLIGHT = 64;
const TURNS = 5;

/** Nanoseconds per call, a sample a turn. */
interface Samples {
  readonly wall: number[];
  readonly cpu: number[];
}

/** What `mcp-poolkit bench` itself costs: the calls it drives beside the bare loop that the other benches use, at the same server. */
export async function suite(bench: Bench): Promise<void> {
  const args = ['bench/servers/echo.mjs'];
  await race(bench, 'stdio', { name: 'echo', transport: 'stdio', command: process.execPath, args });
  const child = spawn(process.execPath, ['bench/servers/http-echo.mjs'], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    const [line] = (await once(child.stdout, 'data')) as [Buffer];
    const url = `http://127.0.0.1:${Number(line.toString())}/json`;
    await race(bench, 'Streamable HTTP', { name: 'echo', transport: 'http', url, era: 'legacy' });
  } finally {
    child.kill();
  }
}

async function race(bench: Bench, transport: string, config: ServerConfig): Promise<void> {
  const durationMs = bench.quick ? 600 : 2_000;
  const [bare, own] = [{ wall: [], cpu: [] } as Samples, { wall: [], cpu: [] } as Samples];
  const spec: TargetSpec = { label: transport, config };
  for (let turn = 0; turn < (bench.quick ? 3 : TURNS); turn++) {
    await bareLoop(config, durationMs, bare);
    const { all, generator } = await generate(
      {
        target: spec,
        settings: {},
        workload: { kind: 'tool', tool: 'echo', args: { text: '{{nonce}}' } },
        model: { model: 'closed', concurrency: IN_FLIGHT },
        durationMs,
        warmupMs: 300,
        drainMs: 5_000,
      },
      { stopping: bench.stopping },
    );
    bench.stopping.throwIfAborted();
    if (all.calls === 0 || all.errorRatio > 0) throw new Error(`calls failed: ${JSON.stringify(all.errors)}`);
    own.wall.push(1e9 / all.callsPerSec);
    own.cpu.push((generator.cpuRatio * 1e9) / all.callsPerSec);
  }
  const figure = (name: string, { wall, cpu }: Samples): Figure => ({
    name,
    medianNs: median(wall),
    minNs: Math.min(...wall),
    maxNs: Math.max(...wall),
    cpuNs: median(cpu),
  });
  const of = bench.result(`${transport}, ${IN_FLIGHT} in flight, each answer checked`, own.wall.length, [
    figure('a bare loop over the pool', bare),
    figure('mcp-poolkit bench', own),
  ]);
  const share = of('a bare loop over the pool').medianNs / of('mcp-poolkit bench').medianNs;
  bench.target(`${transport}: share of the bare loop that the load generator drives`, share, '>=', 0.8);
}

async function bareLoop(config: ServerConfig, durationMs: number, samples: Samples): Promise<void> {
  const pool = new UnifiedPool({ maxConcurrent: 512 });
  try {
    await pool.startServer(config);
    const call = (text: string): Promise<unknown> =>
      pool.request('echo', 'tools/call', { name: 'echo', arguments: { text } });
    await drive(2_000, IN_FLIGHT, call);
    const startMs = performance.now();
    const startCpu = process.cpuUsage();
    let calls = 0;
    for (; performance.now() < startMs + durationMs; calls += 5_000) await drive(5_000, IN_FLIGHT, call);
    const { user, system } = process.cpuUsage(startCpu);
    samples.wall.push(((performance.now() - startMs) * 1e6) / calls);
    samples.cpu.push(((user + system) * 1_000) / calls);
  } finally {
    await pool.close();
  }
}
