import { StdioPool } from '../src/pool/StdioPool.js';
import type { Bench } from './harness.js';

const KINDS = [
  ...['none', 'lines of one byte', 'broken JSON', 'tiny JSON', 'odd ids', 'log messages', 'list changes', 'pings'],
  ...['unknown requests', 'stderr lines'],
];
const MAX_P99_MS = 50;

/** ms of each echo of one server, one after the other, while another floods for `forMs`. */
async function neighbour(kind: string, forMs: number): Promise<{ p99: number; slowest: number; calls: number }> {
  const pool = new StdioPool({});
  try {
    for (const [name, args] of [
      ['echo', ['bench/servers/echo.mjs']],
      ['flood', ['bench/servers/flood.mjs', kind]],
    ] as const) {
      pool.addServer({ name, transport: 'stdio', command: process.execPath, args: [...args] });
      await pool.startServer(name);
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
    const tookMs: number[] = [];
    for (const endMs = performance.now() + forMs; performance.now() < endMs; ) {
      const startMs = performance.now();
      await pool.request('echo', 'tools/call', { name: 'echo', arguments: { text: 'x' } });
      tookMs.push(performance.now() - startMs);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    tookMs.sort((a, b) => a - b);
    const at = (share: number): number => tookMs[Math.min(tookMs.length - 1, Math.floor(tookMs.length * share))] ?? NaN;
    return { p99: at(0.99), slowest: at(1), calls: tookMs.length };
  } finally {
    await pool.close({ graceMs: 0 });
  }
}

/** What one server's flood costs the calls to another: docs/security.md, S7 to S10. */
export async function suite(bench: Bench): Promise<void> {
  for (const kind of KINDS) {
    const { p99, slowest, calls } = await neighbour(kind, bench.quick ? 1_000 : 3_000);
    bench.note(`${kind}: ${calls} echoes of the neighbour, p99 ${p99.toFixed(1)} ms, slowest ${slowest.toFixed(1)} ms`);
    bench.target(`${kind}: p99 of the neighbour's echo, ms`, p99, '<=', MAX_P99_MS);
  }
}
