import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Client as ClientV2 } from '@modelcontextprotocol/client';
import { StdioClientTransport as TransportV2 } from '@modelcontextprotocol/client/stdio';
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StdioPool } from '../src/pool/StdioPool.js';
import { drive, IDENTITY } from './drive.js';
import { type Bench, type Contender, median } from './harness.js';

const TIMEOUT_MS = 60_000;
const SLEEP_MS = 200;
const LARGE_BYTES = 50 * 1024 * 1024;
const COMMAND = process.execPath;

/** A server of the race: how it is started, what its echo takes, and what it answers. */
interface EchoServer {
  readonly title: string;
  readonly args: readonly string[];
  readonly params: (text: string) => { readonly name: string; readonly arguments: Readonly<Record<string, unknown>> };
  /** What stands before the text in its answer. */
  readonly prefix: string;
}

/** As fast as a server in JavaScript can be: what is measured is the client. */
const ECHO: EchoServer = {
  title: 'echo server',
  args: ['bench/servers/echo.mjs'],
  params: (text) => ({ name: 'echo', arguments: { text } }),
  prefix: '',
};

/** The reference server, built with the SDK: what a user has. */
const EVERYTHING: EchoServer = {
  title: '@modelcontextprotocol/server-everything',
  args: [fileURLToPath(import.meta.resolve('@modelcontextprotocol/server-everything/dist/index.js')), 'stdio'],
  params: (text) => ({ name: 'echo', arguments: { message: text } }),
  prefix: 'Echo: ',
};

interface Rival extends AsyncDisposable {
  readonly name: string;
  readonly call: (text: string) => Promise<unknown>;
}

interface OwnRival extends Rival {
  readonly request: (name: string, args: object, server?: string) => Promise<unknown>;
}

async function ours(server = ECHO): Promise<OwnRival> {
  const pool = new StdioPool({ maxConcurrent: 512 });
  for (const name of ['echo', 'other']) {
    pool.addServer({ name, transport: 'stdio', command: COMMAND, args: [...server.args] });
  }
  await pool.startServer('echo');
  return {
    name: 'StdioPool',
    request: (name, args, at = 'echo') =>
      pool.request(at, 'tools/call', { name, arguments: args }, { timeoutMs: TIMEOUT_MS }),
    call: (text) => pool.request('echo', 'tools/call', server.params(text), { timeoutMs: TIMEOUT_MS }),
    [Symbol.asyncDispose]: () => pool.close(),
  };
}

async function sdkV2(server = ECHO): Promise<Rival> {
  const client = new ClientV2(IDENTITY);
  await client.connect(new TransportV2({ command: COMMAND, args: [...server.args], stderr: 'ignore' }));
  return {
    name: 'SDK v2 Client',
    call: (text) => client.callTool(server.params(text), { timeout: TIMEOUT_MS }),
    [Symbol.asyncDispose]: () => client.close(),
  };
}

async function sdkV1(server = ECHO): Promise<Rival> {
  const client = new ClientV1(IDENTITY);
  await client.connect(new TransportV1({ command: COMMAND, args: [...server.args], stderr: 'ignore' }));
  return {
    name: 'SDK v1 Client',
    call: (text) => client.callTool(server.params(text), undefined, { timeout: TIMEOUT_MS }),
    [Symbol.asyncDispose]: () => client.close(),
  };
}

/** The floor: JSON lines on the pipe, a map of pending calls, a write per message; with or without a timeout on each call. */
async function rawLines(timers: boolean, server = ECHO): Promise<Rival> {
  const child = spawn(COMMAND, [...server.args], { stdio: ['pipe', 'pipe', 'ignore'] });
  const pending = new Map<number, { resolve: (result: unknown) => void; timer: NodeJS.Timeout | undefined }>();
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
      const timer = timers ? setTimeout(() => reject(new Error('timeout')), TIMEOUT_MS) : undefined;
      pending.set(id, { resolve, timer });
      child.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', id, method, params })}\n`);
    });
  await request('initialize', { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: IDENTITY });
  child.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', method: 'notifications/initialized' })}\n`);
  return {
    name: timers ? 'raw JSON lines with timeouts' : 'raw JSON lines, no timeouts',
    call: (text) => request('tools/call', server.params(text)),
    [Symbol.asyncDispose]: async () => {
      child.stdin.end();
      await once(child, 'exit');
    },
  };
}

/** Twenty slow calls share one process: what they take together against what one takes. */
async function sleepers(bench: Bench): Promise<void> {
  await using rival = await ours();
  const sleep = async (): Promise<void> => {
    await rival.request('sleep', { ms: SLEEP_MS });
  };
  const figure = await bench.race(
    `calls of ${SLEEP_MS} ms on one process`,
    [
      { name: 'one', run: sleep },
      { name: 'twenty at once', run: async () => void (await Promise.all(Array.from({ length: 20 }, sleep))) },
    ],
    { operations: 1, rounds: 5 },
  );
  bench.target('20 calls of 200 ms against one', figure('twenty at once').medianNs / figure('one').medianNs, '<=', 1.3);
}

/** A large reply, while another server of the same pool is called all the time. */
async function largeReply(bench: Bench): Promise<void> {
  await using rival = await ours();
  const client = new ClientV2(IDENTITY);
  await client.connect(new TransportV2({ command: COMMAND, args: [...ECHO.args], maxBufferSize: 2 * LARGE_BYTES }));
  // The SDK's time grows with the square of it: a quick run takes less.
  const bytes = bench.quick ? LARGE_BYTES / 10 : LARGE_BYTES;
  const timed = async (call: () => Promise<unknown>): Promise<number> => {
    const startMs = performance.now();
    const { content } = (await call()) as { content: { text: string }[] };
    if (content[0]?.text.length !== bytes) throw new Error('a part of the reply is missing');
    return performance.now() - startMs;
  };
  const own = async (): Promise<number> => timed(() => rival.request('size', { bytes }, 'other'));
  await own();
  const ownMs = median([await own(), await own(), await own()]);
  const sdkMs = await timed(() => client.callTool({ name: 'size', arguments: { bytes } }, { timeout: TIMEOUT_MS }));
  const mb = bytes / 2 ** 20;
  bench.note(
    `a reply of ${mb} MB: StdioPool ${ownMs.toFixed(0)} ms, SDK v2 with its cap raised ${sdkMs.toFixed(0)} ms`,
  );
  if (!bench.quick) bench.target('50 MB reply: times faster than the SDK v2 transport', sdkMs / ownMs, '>=', 10);
  let waiting = true;
  const others: number[] = [];
  const large = own().finally(() => {
    waiting = false;
  });
  while (waiting) {
    const startMs = performance.now();
    await rival.call('small');
    others.push(performance.now() - startMs);
  }
  const largeMs = await large;
  const slowestMs = Math.max(...others);
  bench.note(
    `meanwhile ${others.length} calls to another server in ${largeMs.toFixed(0)} ms: ` +
      `median ${median(others).toFixed(2)} ms, slowest ${slowestMs.toFixed(0)} ms`,
  );
  bench.target("others' slowest call, as a share of the large reply's time", slowestMs / largeMs, '<=', 0.5);
  await client.close();
}

/** The same at 64 in flight against the reference server, which takes most of the time: CPU of the client tells them apart. */
async function realServer(bench: Bench): Promise<void> {
  const rivals = await Promise.all([
    ours(EVERYTHING),
    rawLines(false, EVERYTHING),
    rawLines(true, EVERYTHING),
    sdkV2(EVERYTHING),
    sdkV1(EVERYTHING),
  ]);
  const contenders = rivals.map(
    ({ name, call }): Contender => ({ name, run: (operations) => drive(operations, 64, call, EVERYTHING.prefix) }),
  );
  const figure = await bench.race(`echo of ${EVERYTHING.title}, 64 in flight`, contenders, { operations: 4_000 });
  const own = figure('StdioPool');
  const times = (name: string): number => figure(name).cpuNs / own.cpuNs;
  bench.target(`${EVERYTHING.title}: times less CPU per call than SDK v1`, times('SDK v1 Client'), '>=', 2.2);
  bench.target(`${EVERYTHING.title}: times less CPU per call than SDK v2`, times('SDK v2 Client'), '>=', 4.5);
  for (const floor of ['raw JSON lines, no timeouts', 'raw JSON lines with timeouts']) {
    const less = (name: string): string => (figure(name).cpuNs / figure(floor).cpuNs).toFixed(2);
    bench.note(`${floor} takes ${less('SDK v1 Client')} times less CPU than SDK v1, ${less('SDK v2 Client')} than v2`);
    bench.note(`${EVERYTHING.title}: ${(figure(floor).medianNs / own.medianNs).toFixed(2)} of ${floor}`);
  }
  for (const rival of rivals) await rival[Symbol.asyncDispose]();
}

export async function suite(bench: Bench): Promise<void> {
  const rivals = await Promise.all([ours(), rawLines(false), rawLines(true), sdkV2(), sdkV1()]);
  for (const width of [1, 16, 64, 256]) {
    const contenders = rivals.map(
      ({ name, call }): Contender => ({ name, run: (operations) => drive(operations, width, call) }),
    );
    const figure = await bench.race(`echo (${ECHO.title}), ${width} in flight`, contenders, {
      operations: width === 1 ? 4_000 : 20_000,
    });
    if (width !== 64) continue;
    const own = figure('StdioPool').medianNs;
    bench.target('64 in flight: times faster than the SDK v2 Client', figure('SDK v2 Client').medianNs / own, '>=', 4);
    const share = (floor: string): number => figure(floor).medianNs / own;
    const bare = share('raw JSON lines, no timeouts');
    bench.target('64 in flight: share of raw JSON lines without timeouts', bare, '>=', 0.8);
    const timed = share('raw JSON lines with timeouts');
    bench.target('64 in flight: share of raw JSON lines with timeouts', timed, '>=', 0.8);
    const cpu = figure('StdioPool').cpuNs;
    bench.note(
      `64 in flight, CPU per call: ${(figure('SDK v1 Client').cpuNs / cpu).toFixed(2)} times less than SDK v1, ` +
        `${(figure('SDK v2 Client').cpuNs / cpu).toFixed(2)} times less than v2 (echo server)`,
    );
  }
  for (const rival of rivals) await rival[Symbol.asyncDispose]();
  await realServer(bench);
  await sleepers(bench);
  await largeReply(bench);
}
