import { type ChildProcess, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { HttpConnection, type HttpConnectionOptions } from '../../src/connection/http/HttpConnection.js';
import { SseConnection, type SseConnectionOptions } from '../../src/connection/sse/SseConnection.js';
import { systemClock } from '../../src/core/clock.js';
import { silentLogger } from '../../src/core/logger.js';
import { bundled } from './bundled.js';
import { closeAfter } from './closeAfter.js';
import { everythingFile } from './everything.js';

/** Below the ports that the system gives to others: to a `listen(0)`, and to each connection on its way out. */
const [FIRST_PORT, LAST_PORT] = [10_000, 32_000];

/** A port that was free a moment ago, and that others come by as seldom as can be. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(FIRST_PORT, LAST_PORT);
    const server = createServer().listen(port, '127.0.0.1');
    const isFree = await once(server, 'listening').then(
      () => true,
      () => false,
    );
    if (!isFree) continue;
    server.close();
    await once(server, 'close');
    return port;
  }
}

export interface HttpServerChild {
  readonly url: string;
  readonly port: number;
  readonly child: ChildProcess;
  close(): Promise<void>;
}

/** Starts a server in a child and resolves when it says on stdout or stderr that it listens. */
export async function serverChild(args: readonly string[], port: number, path: string): Promise<HttpServerChild> {
  const child = spawn(process.execPath, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, PORT: String(port) },
  });
  const close = async (): Promise<void> => {
    const gone = child.exitCode === null && child.signalCode === null ? once(child, 'exit') : undefined;
    child.kill('SIGKILL');
    await gone;
    child.stdout?.destroy();
    child.stderr?.destroy();
  };
  const server = closeAfter({ url: `http://127.0.0.1:${port}${path}`, port, child, close });
  let said = '';
  await new Promise<void>((resolve, reject) => {
    const hear = (chunk: Buffer): void => {
      said += chunk.toString();
      if (/listening|running on port/i.test(said)) resolve();
    };
    child.stdout?.on('data', hear);
    child.stderr?.on('data', hear);
    child.once('exit', (code) => reject(new Error(`the server exited with ${code}: ${said}`)));
  });
  return server;
}

export async function everythingHttp(port?: number): Promise<HttpServerChild> {
  return serverChild([await everythingFile('streamableHttp')], port ?? (await freePort()), '/mcp');
}

export async function everythingSse(port?: number): Promise<HttpServerChild> {
  return serverChild([await everythingFile('sse')], port ?? (await freePort()), '/sse');
}

export const URL_OPTIONS = {
  server: 's',
  clientInfo: { name: 'test', version: '1' },
  capabilities: {},
  clock: systemClock,
  logger: silentLogger,
  maxMessageBytes: 1024 * 1024,
  timeoutMs: 10_000,
  acquireTimeoutMs: 10_000,
  maxTotalTimeoutMs: 60_000,
  startTimeoutMs: 10_000,
} as const;

export async function openHttp(url: string, options: Partial<HttpConnectionOptions> = {}): Promise<HttpConnection> {
  return closeAfter(await HttpConnection.open({ ...URL_OPTIONS, url, ...options }));
}

/** A server of test/fixtures/http-server.mjs. */
export async function sdkServer(mode: 'modern' | 'sessions' | 'sse', port?: number): Promise<HttpServerChild> {
  const file = await bundled('http-server.mjs');
  return serverChild([file, mode], port ?? (await freePort()), mode === 'sse' ? '/sse' : '/mcp');
}

export async function openSse(url: string, options: Partial<SseConnectionOptions> = {}): Promise<SseConnection> {
  return closeAfter(await SseConnection.open({ ...URL_OPTIONS, url, ...options }));
}
