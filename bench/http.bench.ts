import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import { Agent, type Dispatcher } from 'undici';
import { HttpConnection } from '../src/connection/http/HttpConnection.js';
import { SseConnection } from '../src/connection/sse/SseConnection.js';
import { systemClock } from '../src/core/clock.js';
import { silentLogger } from '../src/core/logger.js';
import { HTTPClientPool } from '../src/pool/HTTPClientPool.js';
import { drive, IDENTITY } from './drive.js';
import type { Bench, Contender, Figure } from './harness.js';

const TIMEOUT_MS = 60_000;

interface Rival extends AsyncDisposable {
  readonly name: string;
  readonly call: (text: string) => Promise<unknown>;
  readonly slow?: boolean;
}

const OPTIONS = {
  server: 'echo',
  clientInfo: IDENTITY,
  capabilities: {},
  clock: systemClock,
  logger: silentLogger,
  maxMessageBytes: 64 * 1024 * 1024,
  timeoutMs: TIMEOUT_MS,
  acquireTimeoutMs: TIMEOUT_MS,
  maxTotalTimeoutMs: 600_000,
  startTimeoutMs: TIMEOUT_MS,
} as const;

async function ours(url: string): Promise<Rival> {
  const pool = new HTTPClientPool({ requestTimeoutMs: TIMEOUT_MS });
  await pool.startServer({ name: 'echo', transport: 'http', url, era: 'legacy' });
  return {
    name: 'HTTPClientPool',
    call: (text) => pool.request('echo', 'tools/call', { name: 'echo', arguments: { text } }),
    [Symbol.asyncDispose]: () => pool.close(),
  };
}

/** What the pool adds is the difference. */
async function beneath(url: string): Promise<Rival> {
  const connection = await HttpConnection.open({ ...OPTIONS, url, era: 'legacy' });
  return {
    name: 'HttpConnection',
    call: (text) => connection.request('tools/call', { name: 'echo', arguments: { text } }, {}),
    [Symbol.asyncDispose]: () => connection.close(),
  };
}

async function sdkClient(url: string): Promise<Rival> {
  const client = new Client(IDENTITY);
  await client.connect(new StreamableHTTPClientTransport(new URL(url)));
  return {
    name: 'SDK v2 Client',
    slow: true,
    call: (text) => client.callTool({ name: 'echo', arguments: { text } }, { timeout: TIMEOUT_MS }),
    [Symbol.asyncDispose]: () => client.close(),
  };
}

/** The SDK's transport alone, with the least that can be on it: a map of pending ids. */
async function sdkTransport(url: string): Promise<Rival> {
  const transport = new StreamableHTTPClientTransport(new URL(url));
  const pending = new Map<unknown, (result: unknown) => void>();
  transport.onmessage = (message) => {
    const { id, result } = message as { id?: unknown; result?: unknown };
    pending.get(id)?.(result);
    pending.delete(id);
  };
  await transport.start();
  let nextId = 1;
  const request = (method: string, params: object): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const id = nextId++;
      pending.set(id, resolve);
      transport.send({ jsonrpc: '2.0', id, method, params: { ...params } }).catch(reject);
    });
  await request('initialize', { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: IDENTITY });
  return {
    name: 'SDK v2 transport',
    slow: true,
    call: (text) => request('tools/call', { name: 'echo', arguments: { text } }),
    [Symbol.asyncDispose]: () => transport.close(),
  };
}

/** The floor: undici's dispatch, one handler a call, the body parsed, and nothing else done or checked. */
class Floor implements Dispatcher.DispatchHandler {
  readonly #settle: { readonly resolve: (result: unknown) => void; readonly reject: (error: unknown) => void };
  #body: Buffer | undefined;

  constructor(settle: Floor['settle']) {
    this.#settle = settle;
  }

  get settle() {
    return this.#settle;
  }

  onConnect(): void {
    this.#body = undefined;
  }

  onHeaders(): boolean {
    return true;
  }

  onData(chunk: Buffer): boolean {
    this.#body = this.#body === undefined ? chunk : Buffer.concat([this.#body, chunk]);
    return true;
  }

  onComplete(): void {
    const text = this.#body?.toString('utf8') ?? '';
    const at = text.indexOf('data: ');
    const json = at > 0 ? text.slice(at + 6) : text;
    this.#settle.resolve((JSON.parse(json) as { result: unknown }).result);
  }

  onError(error: Error): void {
    this.#settle.reject(error);
  }
}

function floor(url: string): Rival {
  const agent = new Agent({ headersTimeout: 0, bodyTimeout: 0 });
  const { origin, pathname } = new URL(url);
  const headers = ['accept', 'application/json, text/event-stream', 'content-type', 'application/json'];
  let nextId = 1;
  return {
    name: 'undici dispatch (floor)',
    call: (text) =>
      new Promise((resolve, reject) => {
        const params = { name: 'echo', arguments: { text } };
        const body = JSON.stringify({ jsonrpc: '2.0', id: nextId++, method: 'tools/call', params });
        agent.dispatch({ origin, path: pathname, method: 'POST', headers, body }, new Floor({ resolve, reject }));
      }),
    [Symbol.asyncDispose]: () => agent.destroy(),
  };
}

async function sse(url: string): Promise<Rival> {
  const connection = await SseConnection.open({ ...OPTIONS, url });
  return {
    name: 'SseConnection',
    call: (text) => connection.request('tools/call', { name: 'echo', arguments: { text } }, {}),
    [Symbol.asyncDispose]: () => connection.close(),
  };
}

async function sdkSse(url: string): Promise<Rival> {
  const client = new ClientV1(IDENTITY);
  await client.connect(new SSEClientTransport(new URL(url)));
  return {
    name: 'SDK v1 Client',
    slow: true,
    call: (text) => client.callTool({ name: 'echo', arguments: { text } }, undefined, { timeout: TIMEOUT_MS }),
    [Symbol.asyncDispose]: () => client.close(),
  };
}

async function raceOf(
  bench: Bench,
  title: string,
  width: number,
  rivals: readonly Rival[],
): Promise<(name: string) => Figure> {
  const operations = width === 1 ? 1_000 : 5_000;
  const contenders: Contender[] = rivals.map(({ name, call, slow }) => ({
    name,
    run: (count) => drive(count, width, call),
    ...(slow === true ? { operations: operations / 10 } : {}),
  }));
  // A quick run has too few calls for the compiler to have seen them.
  for (const { call, slow } of rivals) await drive(slow === true ? 100 : 3_000, 64, call);
  return bench.race(`${title}, ${width} in flight`, contenders, { operations });
}

/** Calls over HTTP to an echo server in another process: this side's cost, against the SDK's and against none at all. */
export async function suite(bench: Bench): Promise<void> {
  const warnings: Error[] = [];
  const onWarning = (warning: Error): void => void warnings.push(warning);
  process.on('warning', onWarning);
  const child = spawn(process.execPath, ['bench/servers/http-echo.mjs'], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    const [port] = (await once(child.stdout, 'data')) as [Buffer];
    const base = `http://127.0.0.1:${port.toString().trim()}`;
    const widths = bench.quick ? [64] : [1, 16, 64];
    for (const kind of ['json', 'sse'] as const) {
      const url = `${base}/${kind}`;
      const own = await ours(url);
      const rivals = [own, await beneath(url), floor(url), await sdkTransport(url), await sdkClient(url)];
      for (const width of widths) {
        const figure = await raceOf(bench, `${kind} replies`, width, rivals);
        if (width !== 64) continue;
        const mine = figure(own.name).medianNs;
        bench.target(`${kind}: times the SDK v2 Client`, figure('SDK v2 Client').medianNs / mine, '>=', 6);
        bench.target(`${kind}: share of the floor`, figure('undici dispatch (floor)').medianNs / mine, '>=', 0.6);
      }
      const growth = kind === 'json' ? await heapGrowth(own, bench.quick ? 5_000 : 200_000) : undefined;
      if (growth !== undefined) bench.target('heap growth over the calls, MiB', growth, '<=', 4);
      const before = warnings.length;
      await drive(2_000, 64, own.call);
      bench.target(`${kind}: warnings of ours`, warnings.length - before, '<=', 0);
      for (const rival of rivals) await rival[Symbol.asyncDispose]();
    }
    const rivals = [await sse(`${base}/old`), await sdkSse(`${base}/old`)];
    const figure = await raceOf(bench, 'legacy SSE', 64, rivals);
    const ratio = figure('SDK v1 Client').medianNs / figure('SseConnection').medianNs;
    bench.target('legacy SSE: times the SDK v1 Client', ratio, '>=', 5);
    for (const rival of rivals) await rival[Symbol.asyncDispose]();
  } finally {
    process.off('warning', onWarning);
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
}

/** MiB that the heap is larger by after so many calls, both ends measured after a collection. */
async function heapGrowth(rival: Rival, calls: number): Promise<number> {
  await drive(5_000, 64, rival.call);
  globalThis.gc?.();
  const before = process.memoryUsage().heapUsed;
  await drive(calls, 64, rival.call);
  globalThis.gc?.();
  return (process.memoryUsage().heapUsed - before) / 2 ** 20;
}
