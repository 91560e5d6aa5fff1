import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { generate } from '../src/bench/load/generate.js';
import type { StepResult } from '../src/bench/report/results.js';
import type { TargetSpec } from '../src/bench/target/TargetSpec.js';
import { type Bench, median } from './harness.js';

/**
 * Gateways in front of one stdio server (bench/servers/echo.mjs), each a process as its users run it, driven by
 * `mcp-poolkit/bench` over Streamable HTTP (mcp-hub: SSE) with every answer checked. The floor is bare node:http that answers
 * the same calls by itself, without any upstream.
 */
const ROOT = resolve(import.meta.dirname, '../..');
const ECHO = join(ROOT, 'bench/servers/echo.mjs');
const HTTP_ECHO = join(ROOT, 'bench/servers/http-echo.mjs');
const NODE = process.execPath;
const bin = (name: string): string => join(ROOT, 'node_modules/.bin', name);

interface Rival {
  readonly name: string;
  readonly spec: TargetSpec;
  readonly tool: string;
}

export async function suite(bench: Bench): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'poolkit-bench-'));
  const floor = await startFloor();
  try {
    const config = join(folder, 'mcp.json');
    writeFileSync(
      config,
      JSON.stringify({
        mcpServers: {
          echo: { command: NODE, args: [ECHO] },
          web: { type: 'http', url: `http://127.0.0.1:${floor.port}/json` },
        },
      }),
    );
    const onlyEcho = join(folder, 'echo.json');
    writeFileSync(onlyEcho, JSON.stringify({ mcpServers: { echo: { command: NODE, args: [ECHO] } } }));
    const rivals = await rivalsOf(config, onlyEcho, floor.port);
    for (const inFlight of bench.quick ? [1, 64] : [1, 16, 64, 256]) await race(bench, rivals, inFlight);
  } finally {
    floor.kill();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function rivalsOf(config: string, onlyEcho: string, floorPort: number): Promise<Rival[]> {
  const ports = await Promise.all(Array.from({ length: 5 }, freePort));
  const [stdio, web, proxy, gateway, hub] = ports as [number, number, number, number, number];
  const serve = (port: number): string =>
    `"${NODE}" "${join(ROOT, 'dist/cli/main.js')}" serve --config "${config}" --port ${port}`;
  const at = (
    port: number,
    path: string,
    start: string | undefined,
    transport: 'http' | 'sse' = 'http',
  ): TargetSpec => ({
    label: path,
    config: { name: 'target', transport, url: `http://127.0.0.1:${port}${path}`, era: 'legacy' },
    ...(start !== undefined && { start }),
  });
  return [
    { name: 'bare node:http (floor)', tool: 'echo', spec: at(floorPort, '/json', undefined) },
    { name: 'ours, to a stdio server', tool: 'echo', spec: at(stdio, '/servers/echo/mcp', serve(stdio)) },
    { name: 'ours, to an HTTP server', tool: 'echo', spec: at(web, '/servers/web/mcp', serve(web)) },
    {
      name: 'mcp-proxy',
      tool: 'echo',
      spec: at(proxy, '/mcp', `"${NODE}" "${bin('mcp-proxy')}" --port ${proxy} -- "${NODE}" "${ECHO}"`),
    },
    {
      name: 'supergateway --stateful',
      tool: 'echo',
      spec: at(
        gateway,
        '/mcp',
        `"${NODE}" "${bin('supergateway')}" --stdio '"${NODE}" "${ECHO}"' --outputTransport streamableHttp --stateful --logLevel none --port ${gateway}`,
      ),
    },
    {
      name: 'mcp-hub',
      tool: 'echo__echo',
      spec: at(hub, '/mcp', `"${NODE}" "${bin('mcp-hub')}" --port ${hub} --config "${onlyEcho}"`, 'sse'),
    },
  ];
}

/** Every rival in turns at one load; then the figures of all, and what ours must reach. */
async function race(bench: Bench, rivals: readonly Rival[], inFlight: number): Promise<void> {
  const results = new Map<string, StepResult[]>();
  for (let turn = 0; turn < (bench.quick ? 1 : 3); turn++) {
    for (const { name, spec, tool } of rivals) {
      const result = await generate({
        target: spec,
        settings: { sessions: Math.min(8, inFlight) },
        workload: { kind: 'tool', tool, args: { text: '{{nonce}}' } },
        model: { model: 'closed', concurrency: inFlight },
        durationMs: bench.quick ? 1_500 : 4_000,
        warmupMs: 1_000,
        drainMs: 10_000,
      });
      if (result.all.calls === 0 || result.all.errorRatio > 0) {
        throw new Error(`${name}: ${result.all.calls} right answers, ${JSON.stringify(result.all.errors)}`);
      }
      results.set(name, [...(results.get(name) ?? []), result]);
    }
  }
  const figure = (name: string, read: (result: StepResult) => number): number =>
    median((results.get(name) ?? []).map(read));
  const rate = (name: string): number => figure(name, ({ all }) => all.callsPerSec);
  const p99 = (name: string): number => figure(name, ({ all }) => all.latencyMs?.p99 ?? Number.NaN);
  const cpu = (name: string): number =>
    figure(name, ({ processes, all }) => ((processes?.processes[0]?.cpuMs ?? Number.NaN) * 1_000) / all.calls);
  bench.note(`${inFlight} in flight over ${Math.min(8, inFlight)} sessions:`);
  for (const { name } of rivals) {
    bench.note(
      `  ${name.padEnd(26)} ${rate(name).toFixed(0).padStart(7)}/s  x${(rate(name) / rate('bare node:http (floor)')).toFixed(3)} of the floor  ` +
        `p50 ${figure(name, ({ all }) => all.latencyMs?.p50 ?? Number.NaN).toFixed(2)} ms  p99 ${p99(name).toFixed(2)} ms  ` +
        `its own CPU ${cpu(name).toFixed(1)} us a call  RSS ${(figure(name, ({ processes }) => processes?.rssPeak ?? Number.NaN) / 2 ** 20).toFixed(0)} MiB`,
    );
  }
  if (inFlight !== 64) return;
  const floor = rate('bare node:http (floor)');
  const peers = ['mcp-proxy', 'supergateway --stateful', 'mcp-hub'];
  bench.target(
    '64 in flight: share of bare node:http, to a stdio server',
    rate('ours, to a stdio server') / floor,
    '>=',
    0.55,
  );
  bench.target(
    '64 in flight: share of bare node:http, to an HTTP server',
    rate('ours, to an HTTP server') / floor,
    '>=',
    0.4,
  );
  bench.target('64 in flight: CPU of the gateway, us a call', cpu('ours, to a stdio server'), '<=', 42);
  bench.target(
    '64 in flight: p99 against the best peer',
    p99('ours, to a stdio server') / Math.min(...peers.map(p99)),
    '<=',
    0.5,
  );
  bench.target(
    '64 in flight: times the best peer',
    rate('ours, to a stdio server') / Math.max(...peers.map(rate)),
    '>=',
    3,
  );
}

async function startFloor(): Promise<{ readonly port: number; kill(): void }> {
  const child = spawn(NODE, [HTTP_ECHO], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  return { port: Number(line.toString()), kill: () => void child.kill() };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}
