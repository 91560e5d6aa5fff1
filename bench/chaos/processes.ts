import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const SERVER = fileURLToPath(new URL('./servers/main.js', import.meta.url));

/** The command line of a server over stdio. */
export const stdioArgs = (name: string, era: string): string[] => [SERVER, 'stdio', name, era];

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

const UP_TRIES = 5;
const UP_PAUSE_MS = 200;

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** A process of ours that can be taken down and brought up again on the same ports. */
export class Restartable {
  readonly ports: readonly number[];
  readonly #start: () => ChildProcess;
  #child: ChildProcess | undefined;

  constructor(ports: readonly number[], start: () => ChildProcess) {
    this.ports = ports;
    this.#start = start;
  }

  /** Resolves when it listens on each port. A socket of another program may have one of them for a moment. */
  async up(): Promise<void> {
    for (let left = UP_TRIES; ; left--) {
      if (!isUp(this.#child)) this.#child = ended(this.#start());
      const child = this.#child as ChildProcess;
      if (await listensOnAll(this.ports, child)) return;
      if (left === 1) throw new Error(`${child.spawnfile} ended at once, ${UP_TRIES} times`);
      await pause(UP_PAUSE_MS);
    }
  }

  signal(name: NodeJS.Signals): void {
    this.#child?.kill(name);
  }

  async down(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || !isUp(child)) return;
    const exit = once(child, 'exit');
    child.kill('SIGKILL');
    await exit;
  }
}

/** Servers over HTTP, in one process: `kinds` are `name:kind`, and each has a port of its own, in this order. */
export async function web(kinds: readonly string[], env: NodeJS.ProcessEnv): Promise<Restartable> {
  const ports = await Promise.all(kinds.map(freePort));
  const servers = kinds.map((each, index) => `${each}:${ports[index]}`);
  return new Restartable(ports, () =>
    spawn(process.execPath, [SERVER, 'web', ...servers], {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { ...process.env, ...env },
    }),
  );
}

export async function redisServer(folder: string): Promise<Restartable> {
  await mkdir(folder, { recursive: true });
  const port = await freePort();
  const args = ['--port', `${port}`, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', folder];
  return new Restartable([port], () => spawn('redis-server', args, { stdio: 'ignore' }));
}

const living = new Set<ChildProcess>();

/** However this run ends, its servers end with it. */
process.once('exit', () => {
  for (const child of living) child.kill('SIGKILL');
});

function ended(child: ChildProcess): ChildProcess {
  living.add(child);
  child.once('exit', () => living.delete(child));
  return child;
}

const isUp = (child: ChildProcess | undefined): boolean =>
  child !== undefined && child.exitCode === null && child.signalCode === null;

/** False when the process ended before. */
async function listensOnAll(ports: readonly number[], child: ChildProcess): Promise<boolean> {
  for (const port of ports) {
    while (!(await listens(port))) {
      if (!isUp(child)) return false;
      await pause(20);
    }
  }
  return isUp(child);
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket: Socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

/** Living processes whose environment holds `mark`: whatever left its group and its parent too. */
export async function bearersOf(mark: string): Promise<{ readonly pid: number; readonly what: string }[]> {
  const found: { pid: number; what: string }[] = [];
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid) || pid === String(process.pid)) continue;
    const read = (file: string): Promise<string> => readFile(join('/proc', pid, file), 'utf8').catch(() => '');
    if (!(await read('environ')).includes(mark)) continue;
    const stat = await read('stat');
    const state = stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3);
    if (stat === '' || state === 'Z' || state === 'X') continue;
    const what = `process ${pid} (${state}): ${(await read('cmdline')).replaceAll('\0', ' ').trim()}`;
    found.push({ pid: Number(pid), what });
  }
  return found;
}
