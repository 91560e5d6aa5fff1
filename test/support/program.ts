import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { closeAfter } from './closeAfter.js';

export const root = resolve(import.meta.dirname, '../..');
const MAIN = join(root, 'dist/cli/main.js');

export interface Ended {
  readonly code: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Event {
  readonly event: string;
  readonly [field: string]: unknown;
}

/** The built program, run as a child. Killed at the end of the test if it still runs. */
export class Program {
  readonly ended: Promise<Ended>;
  readonly #child: ChildProcess;
  #stdout = '';
  #stderr = '';
  #waiting: (() => void)[] = [];
  #exited = false;

  constructor(args: readonly string[], options: { readonly cwd?: string; readonly env?: Record<string, string> } = {}) {
    const { cwd = root, env = {} } = options;
    this.#child = spawn(process.execPath, [MAIN, ...args], {
      cwd,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const wake = (): void => {
      for (const each of this.#waiting.splice(0)) each();
    };
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.#stdout += text;
      wake();
    });
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text;
      wake();
    });
    this.ended = new Promise((resolve) => {
      this.#child.on('close', (code, signal) => {
        this.#exited = true;
        resolve({ code, signal, stdout: this.#stdout, stderr: this.#stderr });
        wake();
      });
    });
    closeAfter(this);
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** What `--json` has printed so far. */
  get events(): Event[] {
    const lines = this.#stdout.split('\n').slice(0, -1);
    return lines.map((line) => JSON.parse(line) as Event);
  }

  /** The first event of that name. Rejects when the program ends without it. */
  event(name: string): Promise<Event> {
    return this.#until(`event ${name}`, () => this.events.find(({ event }) => event === name));
  }

  /** Resolves once `text` was printed. */
  async printed(text: string): Promise<void> {
    await this.#until(text, () => this.#stdout.includes(text) || undefined);
  }

  /** Resolves once `text` was written to stderr. */
  async complained(text: string): Promise<void> {
    await this.#until(text, () => this.#stderr.includes(text) || undefined);
  }

  async #until<T>(what: string, look: () => T | undefined): Promise<T> {
    for (;;) {
      const found = look();
      if (found !== undefined) return found;
      if (this.#exited) throw new Error(`no ${what}: ${this.#stdout}${this.#stderr}`);
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  async close(): Promise<void> {
    if (!this.#exited) this.#child.kill('SIGKILL');
    await this.ended;
  }
}

/** Runs the program to its end. */
export function run(...args: string[]): Promise<Ended> {
  return new Program(args).ended;
}

/** A config file in a folder of its own, gone at the end of the test. */
export function configFile(content: unknown): string {
  const folder = mkdtempSync(join(tmpdir(), 'poolkit-'));
  closeAfter({ close: async () => rmSync(folder, { recursive: true, force: true }) });
  const file = join(folder, 'mcp.json');
  writeFileSync(file, typeof content === 'string' ? content : JSON.stringify({ mcpServers: content }));
  return file;
}

/** A mark for a server's environment, and who alive bears it: also what left its group and its parent. */
export function mark(): { readonly env: Record<string, string>; readonly bearers: () => string[] } {
  const token = randomUUID();
  return { env: { POOLKIT_TEST_MARK: token }, bearers: () => bearersOf(token) };
}

function bearersOf(token: string): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, 'latin1').includes(token);
      } catch {
        return false; // gone, or a stranger's
      }
    });
}
