// What the suites are run against: the test server itself, and the gateway in front of it, in every way it can be had.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { Gateway } from '../../dist/gateway/index.js';
import { UnifiedPool } from '../../dist/pool/index.js';
import { renamed } from './renamed.mjs';

const SERVER = 'test/fixtures/dual-era/server.mjs';

/** Starts the test server over a URL transport; `stop` ends it. */
async function startServer(transport, era) {
  const child = spawn(process.execPath, [SERVER, `--transport=${transport}`, ...(era ? [`--era=${era}`] : [])], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = await once(createInterface(child.stdout), 'line');
  const stop = async () => {
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  };
  return { url: JSON.parse(line).url, stop };
}

async function startGateway(config) {
  const pool = new UnifiedPool();
  pool.addServer({ name: 'dual', ...config });
  const gateway = new Gateway({ pool, port: 0 });
  const { url } = await gateway.listen();
  const stop = async () => {
    await gateway.close({ graceMs: 5_000 });
    await pool.close({ graceMs: 5_000 });
  };
  return { url, stop };
}

const overUrl = (transport, sharing, era) => async () => {
  const server = await startServer(transport, era);
  const gateway = await startGateway({ transport, url: server.url, sharing });
  return {
    url: `${gateway.url}/servers/dual/mcp`,
    stop: async () => {
      await gateway.stop();
      await server.stop();
    },
  };
};

const overStdio = (sharing, era) => async () => {
  const args = [SERVER, '--transport=stdio', ...(era ? [`--era=${era}`] : [])];
  const gateway = await startGateway({ transport: 'stdio', command: process.execPath, args, sharing });
  return { url: `${gateway.url}/servers/dual/mcp`, stop: gateway.stop };
};

const aggregate = (sharing) => async () => {
  const server = await startServer('http');
  const gateway = await startGateway({ transport: 'http', url: server.url, sharing });
  const proxy = await renamed(`${gateway.url}/mcp`, 'dual__');
  return {
    url: proxy.url,
    stop: async () => {
      await proxy.stop();
      await gateway.stop();
      await server.stop();
    },
  };
};

/** Of the client role, by name: the gateway between the SDK's client and the suite's server. */
export const CLIENT_CELLS = new Map([
  ['client straight', undefined],
  ['client, HTTP, shared', { path: '/servers/s/mcp', sharing: 'shared' }],
  ['client, HTTP, bound', { path: '/servers/s/mcp', sharing: 'bound' }],
  ['client, aggregate, bound', { path: '/mcp', sharing: 'bound' }],
]);

/** A few cells for every run of the tests: some seconds, most of them spent waiting. */
export const SHORT = [
  { cell: 'aggregate, shared', set: '2026-07-28' },
  { cell: 'HTTP, shared', set: '2025-11-25' },
  { cell: 'client, HTTP, bound', set: '0.1.16' },
];

/** By name; each starts what it needs and resolves to the URL to test and a `stop`. */
export const CELLS = new Map([
  ['straight', () => startServer('http')],
  ['HTTP, shared', overUrl('http', 'shared')],
  ['HTTP, bound', overUrl('http', 'bound')],
  ['stdio, shared', overStdio('shared')],
  ['stdio, bound', overStdio('bound')],
  ['SSE, shared', overUrl('sse', 'shared')],
  ['SSE, bound', overUrl('sse', 'bound')],
  ['aggregate, shared', aggregate('shared')],
  ['aggregate, bound', aggregate('bound')],
  ['HTTP, shared, legacy server', overUrl('http', 'shared', 'legacy')],
  ['HTTP, bound, legacy server', overUrl('http', 'bound', 'legacy')],
  ['HTTP, shared, modern server', overUrl('http', 'shared', 'modern')],
  ['HTTP, bound, modern server', overUrl('http', 'bound', 'modern')],
  ['stdio, bound, modern server', overStdio('bound', 'modern')],
]);
