import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Client as ClientV2 } from '@modelcontextprotocol/client';
import { StdioClientTransport as TransportV2 } from '@modelcontextprotocol/client/stdio';
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StdioPool } from '../src/pool/StdioPool.js';
import { drive, IDENTITY } from './drive.js';
import type { Bench, Contender } from './harness.js';

const TIMEOUT_MS = 60_000;
const COMMAND = process.execPath;
const ARGS = ['bench/servers/echo.mjs'];

interface Rival extends AsyncDisposable {
  readonly name: string;
  readonly call: (text: string) => Promise<unknown>;
}

async function ours(): Promise<Rival> {
  const pool = new StdioPool({ maxConcurrent: 512 });
  await pool.startServer({ name: 'echo', transport: 'stdio', command: COMMAND, args: ARGS });
  return {
    name: 'StdioPool',
    call: (text) =>
      pool.request('echo', 'tools/call', { name: 'echo', arguments: { text } }, { timeoutMs: TIMEOUT_MS }),
    [Symbol.asyncDispose]: () => pool.close(),
  };
}

async function sdkV2(): Promise<Rival> {
  const client = new ClientV2(IDENTITY);
  await client.connect(new TransportV2({ command: COMMAND, args: ARGS }));
  return {
    name: 'SDK v2 Client',
    call: (text) => client.callTool({ name: 'echo', arguments: { text } }, { timeout: TIMEOUT_MS }),
    [Symbol.asyncDispose]: () => client.close(),
  };
}

async function sdkV1(): Promise<Rival> {
  const client = new ClientV1(IDENTITY);
  await client.connect(new TransportV1({ command: COMMAND, args: ARGS }));
  return {
    name: 'SDK v1 Client',
    call: (text) => client.callTool({ name: 'echo', arguments: { text } }, undefined, { timeout: TIMEOUT_MS }),
    [Symbol.asyncDispose]: () => client.close(),
  };
}

/** The floor: JSON lines on the pipe, a map of pending calls, a write per message, a timeout on each call. */
async function rawLines(): Promise<Rival> {
  const child = spawn(COMMAND, ARGS, { stdio: ['pipe', 'pipe', 'ignore'] });
  const pending = new Map<number, { resolve: (result: unknown) => void; timer: NodeJS.Timeout }>();
  let rest = '';
  let nextId = 1;
  child.stdout.setEncoding('utf8');
  child.stdout.on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const { id, result } = JSON.parse(line) as { id: number; result: unknown };
      const call = pending.get(id);
      pending.delete(id);
      clearTimeout(call?.timer);
      call?.resolve(result);
    }
  });
  const request = (method: string, params: object): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const id = nextId++;
      pending.set(id, { resolve, timer: setTimeout(() => reject(new Error('timeout')), TIMEOUT_MS) });
      child.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', id, method, params })}\n`);
    });
  await request('initialize', { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: IDENTITY });
  return {
    name: 'raw JSON lines (floor)',
    call: (text) => request('tools/call', { name: 'echo', arguments: { text } }),
    [Symbol.asyncDispose]: async () => {
      child.stdin.end();
      await once(child, 'exit');
    },
  };
}

export async function suite(bench: Bench): Promise<void> {
  const rivals = await Promise.all([ours(), rawLines(), sdkV2(), sdkV1()]);
  for (const width of [1, 16, 64, 256]) {
    const contenders = rivals.map(
      ({ name, call }): Contender => ({ name, run: (operations) => drive(operations, width, call) }),
    );
    const figure = await bench.race(`echo, ${width} in flight`, contenders, {
      operations: width === 1 ? 4_000 : 20_000,
    });
    if (width !== 64) continue;
    const own = figure('StdioPool').medianNs;
    bench.target('64 in flight: times faster than the SDK v2 Client', figure('SDK v2 Client').medianNs / own, '>=', 4);
    bench.target('64 in flight: share of the floor', figure('raw JSON lines (floor)').medianNs / own, '>=', 0.8);
  }
  for (const rival of rivals) await rival[Symbol.asyncDispose]();
}
