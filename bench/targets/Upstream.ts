import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort } from '../chaos/processes.js';

const SERVER = fileURLToPath(new URL('./serve.js', import.meta.url));

export interface UpstreamOptions {
  readonly name: string;
  /** Of each call. */
  readonly serviceMs: number;
  /** Share of its calls that fail. */
  readonly failing?: number;
  /** Where what it does is written down. */
  readonly folder: string;
}

/** A server over HTTP in a process of its own, that can be killed and comes back at the same port. */
export class Upstream {
  readonly url: string;
  readonly #args: readonly string[];
  readonly #eventsFile: string;
  #child: ChildProcess | undefined;

  static async start(options: UpstreamOptions): Promise<Upstream> {
    const upstream = new Upstream(options, await freePort());
    await upstream.up();
    return upstream;
  }

  private constructor({ name, serviceMs, failing = 0, folder }: UpstreamOptions, port: number) {
    this.url = `http://127.0.0.1:${port}/mcp`;
    this.#eventsFile = join(folder, `${name}.jsonl`);
    this.#args = [SERVER, name, String(port), String(serviceMs), String(failing), this.#eventsFile];
  }

  /** Resolves when it listens. */
  async up(): Promise<void> {
    const child = spawn(process.execPath, this.#args, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#child = child;
    await Promise.race([
      once(child.stdout, 'data'),
      once(child, 'exit').then(() => Promise.reject(new Error('an upstream did not start'))),
    ]);
  }

  /** Resolves when it is dead: killed, in the middle of what it does. */
  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }

  /** What it saw and did, as JSON lines. */
  get events(): string {
    return existsSync(this.#eventsFile) ? readFileSync(this.#eventsFile, 'utf8') : '';
  }
}
