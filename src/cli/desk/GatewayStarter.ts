import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import envPaths from 'env-paths';
import { systemClock } from '../../core/clock.js';
import { builtFile } from '../../core/files/packageFiles.js';
import { sleep } from '../../core/time/sleep.js';
import { HttpLink } from '../../gateway/stdio/HttpLink.js';

const START_MS = 20_000;
const LOOK_MS = 50;
const MAX_LOG_BYTES = 1_024 * 1_024;

/** Starts the gateway of a config that is to run once for many clients, in a session of its own: it outlives its starter. */
export class GatewayStarter {
  readonly #url: URL;
  readonly #config: string;
  /** A gateway without clients ends after so long. */
  readonly #lingerMs: number;

  constructor(url: URL, config: string, lingerMs: number) {
    this.#url = url;
    this.#lingerMs = lingerMs;
    this.#config = resolve(config);
  }

  /**
   * Resolves when a gateway is there, started now or by another meanwhile. Of those who start one at a time the first does and
   * the others wait; the port decides in the end, and who does not get it ends before it has started a server. Rejects with what the
   * gateway said when it cannot run.
   */
  async start(signal: AbortSignal): Promise<void> {
    const deadlineMs = systemClock.now() + START_MS;
    using link = new HttpLink({ url: this.#url });
    const { protocol, origin, port } = this.#url;
    if (protocol !== 'http:')
      throw new Error('only a gateway of this machine can be started: http://127.0.0.1:<port>/mcp');
    const log = logFile(port);
    let said = '';
    while (systemClock.now() < deadlineMs) {
      if (await isUp(link, signal)) return;
      if (take(`${log}.lock`)) {
        try {
          said = await this.#run(log, link, deadlineMs, signal);
        } finally {
          rmSync(`${log}.lock`, { force: true });
        }
        if (said === '') return;
        if (!said.includes('the port is taken')) break;
      }
      await sleep(systemClock, LOOK_MS, { signal });
    }
    throw new Error(`no gateway at ${origin}, and none could be started: ${said === '' ? 'it takes too long' : said}`);
  }

  /** Why it ended; nothing once it is there. */
  async #run(log: string, link: HttpLink, deadlineMs: number, signal: AbortSignal): Promise<string> {
    const { child, from } = this.#spawn(log);
    while (child.exitCode === null && child.signalCode === null && systemClock.now() < deadlineMs) {
      await sleep(systemClock, LOOK_MS, { signal });
      if (await isUp(link, signal)) return '';
    }
    const said = failureIn(log, from);
    return said === '' ? `it ended with code ${child.exitCode ?? child.signalCode ?? 'none yet'}` : said;
  }

  #spawn(log: string): { readonly child: ChildProcess; readonly from: number } {
    const { hostname, port } = this.#url;
    const fd = openSync(log, 'a', 0o600);
    const from = statSync(log).size;
    try {
      const address = ['--host', hostname.replace(/^\[|\]$/g, ''), '--port', port || '80'];
      const args = [
        'serve',
        '--config',
        this.#config,
        ...address,
        '--json',
        '--exit-unused-ms',
        String(this.#lingerMs),
      ];
      const child = spawn(process.execPath, [builtFile('cli/main.js', import.meta.url), ...args], {
        detached: true,
        stdio: ['ignore', fd, fd],
        cwd: dirname(this.#config),
        env: withoutNpm(process.env),
      });
      child.once('error', () => undefined); // its exit code stays null; the deadline tells
      child.unref();
      return { child, from };
    } finally {
      closeSync(fd);
    }
  }
}

/** True for the one who may start it now. A lock that is too old, or whose owner is gone, counts for nothing. */
function take(lock: string): boolean {
  const held = statSync(lock, { throwIfNoEntry: false });
  if (held !== undefined && (Date.now() - held.mtimeMs > START_MS || !isAlive(lock))) rmSync(lock, { force: true });
  try {
    writeFileSync(lock, String(process.pid), { flag: 'wx', mode: 0o600 });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

function isAlive(lock: string): boolean {
  try {
    const pid = Number(readFileSync(lock, 'utf8'));
    // Written in two steps: it may be empty yet.
    return pid === 0 || process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

async function isUp(link: HttpLink, signal: AbortSignal): Promise<boolean> {
  try {
    const response = await link.request({ method: 'GET', path: '/readyz', signal });
    response.resume();
    return response.statusCode === 200;
  } catch {
    signal.throwIfAborted();
    return false;
  }
}

/** Where its events go; begun anew when it has grown. */
function logFile(port: string): string {
  const folder = envPaths('mcp-poolkit', { suffix: '' }).log;
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const file = join(folder, `gateway-${port || '80'}.log`);
  if ((statSync(file, { throwIfNoEntry: false })?.size ?? 0) > MAX_LOG_BYTES) closeSync(openSync(file, 'w', 0o600));
  return file;
}

/** Why it ended, from what was written behind `from`. */
function failureIn(file: string, from: number): string {
  const lines = readFileSync(file).subarray(from).toString('utf8').trim().split('\n');
  const failures = lines.filter((line) => line.includes('"event":"failure"') || line.includes('"event":"problem"'));
  return failures
    .slice(-3)
    .map((line) => {
      try {
        return (JSON.parse(line) as { readonly message: string }).message;
      } catch {
        return line.slice(0, 300);
      }
    })
    .join('; ');
}

/** npm is not its parent, though it may be its starter's. */
function withoutNpm(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('npm_')));
}
