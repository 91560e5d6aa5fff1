import { type ChildProcess, spawn } from 'node:child_process';
import { dirname, resolve } from 'node:path';
import { systemClock } from '../../core/clock.js';
import { builtFile } from '../../core/files/packageFiles.js';
import { sleep } from '../../core/time/sleep.js';
import { withTimeoutSignal } from '../../core/time/within.js';
import { HttpLink, LinkError } from '../../gateway/stdio/HttpLink.js';
import { GatewayFiles } from './GatewayFiles.js';
import { ForeignGatewayError, OwnAgent } from './OwnAgent.js';

const START_MS = 20_000;
const LOOK_MS = 50;
/** What does not answer for so long is not up, in ms. */
const ANSWER_MS = 2_000;

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
    using link = new HttpLink({ url: this.#url, agent: new OwnAgent({ keepAlive: true }) });
    const { protocol, origin, port } = this.#url;
    if (protocol !== 'http:')
      throw new Error('only a gateway of this machine can be started: http://127.0.0.1:<port>/mcp');
    const files = await GatewayFiles.of(port);
    let said = '';
    while (systemClock.now() < deadlineMs) {
      if (await isUp(link, signal)) return;
      if (await files.take(START_MS)) {
        try {
          said = await this.#run(files, link, deadlineMs, signal);
        } finally {
          await files.release();
        }
        if (said === '') return;
        if (!said.includes('the port is taken')) break;
      }
      await sleep(systemClock, LOOK_MS, { signal });
    }
    throw new Error(`no gateway at ${origin}, and none could be started: ${said === '' ? 'it takes too long' : said}`);
  }

  /** Why it ended; nothing once it is there. */
  async #run(files: GatewayFiles, link: HttpLink, deadlineMs: number, signal: AbortSignal): Promise<string> {
    const { child, from } = await this.#spawn(files);
    while (child.exitCode === null && child.signalCode === null && systemClock.now() < deadlineMs) {
      await sleep(systemClock, LOOK_MS, { signal });
      if (await isUp(link, signal)) return '';
    }
    const said = failureIn(await files.logFrom(from));
    return said === '' ? `it ended with code ${child.exitCode ?? child.signalCode ?? 'none yet'}` : said;
  }

  async #spawn(files: GatewayFiles): Promise<{ readonly child: ChildProcess; readonly from: number }> {
    const { hostname, port } = this.#url;
    const { handle, from } = await files.openLog();
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
        stdio: ['ignore', handle.fd, handle.fd],
        cwd: dirname(this.#config),
        env: withoutNpm(process.env),
      });
      child.once('error', () => undefined); // its exit code stays null; the deadline tells
      child.unref();
      return { child, from };
    } finally {
      await handle.close();
    }
  }
}

async function isUp(link: HttpLink, signal: AbortSignal): Promise<boolean> {
  try {
    const response = await withTimeoutSignal(ANSWER_MS, signal, (bounded) =>
      link.request({ method: 'GET', path: '/readyz', signal: bounded }),
    );
    response.resume();
    return response.statusCode === 200;
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof LinkError && error.cause instanceof ForeignGatewayError) throw error.cause;
    return false;
  }
}

/** Why it ended, from what it wrote. */
function failureIn(written: string): string {
  const lines = written.trim().split('\n');
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
