import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { transformWithOxc } from 'vite';
import { closeAfter } from './closeAfter.js';

const root = resolve(import.meta.dirname, '../..');

export interface ProgramOptions {
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** What to put before `node file`, for example `['sh', '-c', '"$@"; true', 'sh']`. */
  readonly under?: readonly string[];
}

export interface ProgramExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A program in a process of its own: its lines can be waited for, and it does not outlive its test. */
export class Program {
  readonly lines: string[] = [];
  readonly exited: Promise<ProgramExit>;
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #waiting = new Set<() => void>();
  #stderr = '';
  #over = false;

  constructor(file: string, { args = [], env = {}, under = [] }: ProgramOptions = {}) {
    const [command, ...rest] = [...under, process.execPath, file, ...args] as [string, ...string[]];
    this.#child = spawn(command, rest, { cwd: root, env: { ...process.env, ...env } });
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text;
    });
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      this.lines.push(line);
      this.#wake();
    });
    this.exited = new Promise((settle, reject) => {
      this.#child.once('error', reject);
      // `close`, not `exit`: all it wrote has been read by then.
      this.#child.once('close', (code, signal) => {
        this.#over = true;
        settle({ code, signal });
        this.#wake();
      });
    });
    closeAfter(this);
  }

  get pid(): number {
    return this.#child.pid ?? Number.NaN;
  }

  get stderr(): string {
    return this.#stderr;
  }

  /** Its standard output, as text. */
  get output(): string {
    return this.lines.join('\n');
  }

  /** The first line that matches, printed already or still to come. Rejects when the program ends without one. */
  async line(pattern: RegExp): Promise<RegExpExecArray> {
    for (let next = 0; ; ) {
      for (; next < this.lines.length; next++) {
        const hit = pattern.exec(this.lines[next] ?? '');
        if (hit !== null) return hit;
      }
      if (this.#over) throw new Error(`it ended without a line like ${pattern}:\n${this.output}\n${this.#stderr}`);
      await new Promise<void>((settle) => this.#waiting.add(settle));
    }
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** For the end of the test. */
  async close(): Promise<void> {
    if (!this.#over) this.#child.kill('SIGKILL');
    await this.exited.catch(() => undefined);
  }

  #wake(): void {
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }
}

/**
 * An example as a program for any Node: its types taken off, `mcp-poolkit/…` resolved by name to dist/, as for a user.
 * Gives the path of the file to run; it is gone at the end of the test.
 */
export async function runnable(name: string): Promise<string> {
  const source = join(root, 'examples', name);
  const { code } = await transformWithOxc(readFileSync(source, 'utf8'), source, { sourcemap: false });
  const folder = join(root, '.build/examples');
  mkdirSync(folder, { recursive: true });
  const file = join(folder, `${name.replace(/\.ts$/, '')}.${randomUUID()}.mjs`);
  writeFileSync(file, code);
  closeAfter({ close: async () => rmSync(file) });
  return file;
}
