import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { generate } from '../src/bench/load/generate.js';
import type { StepResult } from '../src/bench/report/results.js';
import type { TargetSpec } from '../src/bench/target/TargetSpec.js';
import { type Bench, type Figure, median } from './harness.js';
import { middlewareCost } from './middlewareCost.js';

/**
 * Gateways in front of one stdio server (bench/servers/echo.mjs), each a process as its users run it, driven by
 * `mcp-poolkit/bench` over Streamable HTTP (mcp-hub: SSE) with every answer checked. The floor is bare node:http that answers
 * the same calls by itself, without any upstream.
 */
const ROOT = resolve(import.meta.dirname, '../..');
const ECHO = join(ROOT, 'bench/servers/echo.mjs');
const HTTP_ECHO = join(ROOT, 'bench/servers/http-echo.mjs');
const NODE = process.execPath;
const FLOOR = 'bare node:http (floor)';
const OURS = 'ours, to a stdio server';
const OURS_PROGRESS = 'ours, to a stdio server, with progress';
const OURS_WEB = 'ours, to an HTTP server';
const OURS_EVENTS = 'ours, to an HTTP server that answers in events';
const POOL = 'the pool alone, to the stdio server';
const TURNS = 3;
const bin = (name: string): string => join(ROOT, 'node_modules/.bin', name);

interface Rival {
  readonly name: string;
  readonly spec: TargetSpec;
  readonly tool: string;
  /** @defaultValue 'tool' */
  readonly kind?: 'progress';
  /** Raced at that many in flight only. @defaultValue at each */
  readonly only?: number;
}

export async function suite(bench: Bench): Promise<void> {
  await middlewareCost(bench);
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
          events: { type: 'http', url: `http://127.0.0.1:${floor.port}/sse` },
        },
      }),
    );
    const onlyEcho = join(folder, 'echo.json');
    writeFileSync(onlyEcho, JSON.stringify({ mcpServers: { echo: { command: NODE, args: [ECHO] } } }));
    const rivals = await rivalsOf(config, onlyEcho, floor.port);
    for (const inFlight of bench.quick ? [1, 64] : [1, 16, 64, 256]) {
      const chosen = rivals.filter(({ only = inFlight }) => only === inFlight);
      await race(bench, chosen, inFlight);
    }
  } finally {
    floor.kill();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function rivalsOf(config: string, onlyEcho: string, floorPort: number): Promise<Rival[]> {
  const ports = await Promise.all(Array.from({ length: 7 }, freePort));
  const [stdio, web, progress, events, proxy, gateway, hub] = ports as [
    number,
    number,
    number,
    number,
    number,
    number,
    number,
  ];
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
    { name: FLOOR, tool: 'echo', spec: at(floorPort, '/json', undefined) },
    { name: OURS, tool: 'echo', spec: at(stdio, '/servers/echo/mcp', serve(stdio)) },
    { name: OURS_WEB, tool: 'echo', spec: at(web, '/servers/web/mcp', serve(web)) },
    {
      name: POOL,
      tool: 'echo',
      spec: { label: POOL, config: { name: 'target', transport: 'stdio', command: NODE, args: [ECHO], era: 'legacy' } },
      only: 1,
    },
    {
      name: OURS_PROGRESS,
      tool: 'echo',
      spec: at(progress, '/servers/echo/mcp', serve(progress)),
      kind: 'progress',
      only: 64,
    },
    { name: OURS_EVENTS, tool: 'echo', spec: at(events, '/servers/events/mcp', serve(events)), only: 64 },
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
  for (let turn = 0; turn < (bench.quick ? 1 : TURNS); turn++) {
    for (const { name, spec, tool, kind = 'tool' } of rivals) {
      const result = await generate(
        {
          target: spec,
          settings: { sessions: Math.min(8, inFlight) },
          workload: { kind, tool, args: { text: '{{nonce}}' } },
          model: { model: 'closed', concurrency: inFlight },
          durationMs: bench.quick ? 1_500 : 4_000,
          warmupMs: 1_000,
          drainMs: 10_000,
        },
        { stopping: bench.stopping },
      );
      bench.stopping.throwIfAborted();
      if (result.all.calls === 0 || result.all.errorRatio > 0) {
        throw new Error(`${name}: ${result.all.calls} right answers, ${JSON.stringify(result.all.errors)}`);
      }
      results.set(name, [...(results.get(name) ?? []), result]);
    }
  }
  const sessions = Math.min(8, inFlight);
  const figures = rivals.map(({ name }): Figure => {
    const turns = results.get(name) ?? [];
    const each = (read: (result: StepResult) => number): number[] => turns.map(read);
    const ns = each(({ all }) => 1e9 / all.callsPerSec);
    return {
      name,
      medianNs: median(ns),
      minNs: Math.min(...ns),
      maxNs: Math.max(...ns),
      cpuNs: median(each(({ processes, all }) => ((processes?.processes[0]?.cpuMs ?? Number.NaN) * 1e6) / all.calls)),
      p50Ms: median(each(({ all }) => all.latencyMs?.p50 ?? Number.NaN)),
      p99Ms: median(each(({ all }) => all.latencyMs?.p99 ?? Number.NaN)),
      rssBytes: median(each(({ processes }) => processes?.rssPeak ?? Number.NaN)),
    };
  });
  const of = bench.result(
    `echo through a gateway, ${inFlight} in flight over ${sessions} ${sessions === 1 ? 'session' : 'sessions'}`,
    bench.quick ? 1 : TURNS,
    figures,
  );
  const floor = of(FLOOR).medianNs;
  const ours = of(OURS);
  if (inFlight === 1) {
    const parts = floor + of(POOL).medianNs;
    bench.target('1 in flight: times bare node:http and the pool alone together', ours.medianNs / parts, '<=', 1.5);
  }
  if (inFlight !== 64) return;
  const peers = ['mcp-proxy', 'supergateway --stateful', 'mcp-hub'].map(of);
  const best = (read: (figure: Figure) => number): number => Math.min(...peers.map(read));
  bench.target('64 in flight: share of bare node:http, to a stdio server', floor / ours.medianNs, '>=', 0.55);
  const web = of(OURS_WEB).medianNs;
  bench.target('64 in flight: share of bare node:http, to an HTTP server', floor / web, '>=', 0.4);
  bench.target('64 in flight: CPU of the gateway, us a call', ours.cpuNs / 1_000, '<=', 42);
  const progress = of(OURS_PROGRESS).medianNs;
  bench.target('64 in flight: calls with progress, share of plain ones', ours.medianNs / progress, '>=', 0.7);
  const events = of(OURS_EVENTS).medianNs;
  bench.target('64 in flight: answers in events, share of plain ones', web / events, '>=', 0.7);
  const p99 = (figure: Figure): number => figure.p99Ms ?? Number.NaN;
  bench.target('64 in flight: p99 against the best peer', p99(ours) / best(p99), '<=', 0.5);
  bench.target('64 in flight: times the best peer', best(({ medianNs }) => medianNs) / ours.medianNs, '>=', 3);
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
