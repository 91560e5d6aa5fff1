import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join, resolve } from 'node:path';

const ROOT = resolve(import.meta.dirname, import.meta.dirname.includes('.build') ? '../../..' : '../..');

/** A free port of this machine, taken by no one else for now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

/** Resolves when something listens there; rejects when the program that should has ended. */
async function listening(port: number, child: ChildProcess, name: string): Promise<void> {
  for (;;) {
    if (child.exitCode !== null) throw new Error(`${name} ended with ${child.exitCode}`);
    const open = await new Promise<boolean>((done) => {
      const socket = connect(port, '127.0.0.1', () => {
        socket.destroy();
        done(true);
      });
      socket.once('error', () => done(false));
    });
    if (open) return;
    await new Promise((done) => setTimeout(done, 20));
  }
}

export async function startRedis(folder: string): Promise<{ readonly child: ChildProcess; readonly port: number }> {
  const port = await freePort();
  const args = ['--port', `${port}`, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', folder];
  const child = spawn('redis-server', args, { stdio: 'ignore' });
  await listening(port, child, 'redis-server');
  return { child, port };
}

/** nginx with the file of `deploy/`, in which addresses and one time alone are others. */
export async function startNginx(
  folder: string,
  replicas: readonly number[],
  keepaliveMs: number,
): Promise<{ readonly child: ChildProcess; readonly port: number }> {
  const port = await freePort();
  const shipped = readFileSync(join(ROOT, 'deploy/nginx.conf'), 'utf8');
  const file = join(folder, 'nginx.conf');
  const own = replicas
    .reduce((text, at, index) => text.replaceAll(`mcp-${index + 1}:3399`, `127.0.0.1:${at}`), shipped)
    .replace('listen 8080', `listen 127.0.0.1:${port}`)
    .replaceAll('keepalive_timeout 1s', `keepalive_timeout ${keepaliveMs}ms`)
    .replace('worker_processes auto', 'worker_processes 2')
    .replace('/dev/stderr warn', `${join(folder, 'nginx.log')} warn`);
  const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `${name}_temp_path ${folder}/${name};`,
  );
  // Started by root its workers are another user, who writes large bodies there.
  chmodSync(folder, 0o755);
  writeFileSync(file, own.replace('http {', `http {\n  ${temp.join('\n  ')}`));
  const child = spawn(
    'nginx',
    ['-e', join(folder, 'nginx.log'), '-c', file, '-g', `daemon off; pid ${folder}/nginx.pid;`],
    {
      stdio: 'ignore',
    },
  );
  await listening(port, child, 'nginx');
  return { child, port };
}

export interface ReplicaOptions {
  readonly port: number;
  readonly redis: number;
  readonly key: string;
  readonly grants: string;
  readonly limit: { readonly maxRequests: number; readonly windowMs: number };
  readonly delayMs: number;
  readonly refusingMs: number;
}

/** Resolves when it serves. */
export async function startReplica(options: ReplicaOptions): Promise<ChildProcess> {
  const server = join(ROOT, 'bench/servers/echo.mjs');
  const child = fork(join(ROOT, 'bench/fleet/replica.mjs'), [JSON.stringify({ ...options, server })], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    execArgv: [],
  });
  const [first] = await Promise.race([once(child, 'message'), once(child, 'exit')]);
  if (first !== 'ready') throw new Error(`a replica ended with ${String(first)}`);
  return child;
}

/** Ends a program, and resolves when it has gone. */
export async function stop(
  child: ChildProcess | undefined,
  signal: NodeJS.Signals = 'SIGTERM',
): Promise<number | null> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return child?.exitCode ?? null;
  const exit = once(child, 'exit');
  child.kill(signal);
  return ((await exit) as [number | null])[0];
}
