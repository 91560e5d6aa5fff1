import { randomUUID } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { closeAfter } from './closeAfter.js';
import { Program, type ProgramExit } from './program.js';

export const MAIN = resolve(import.meta.dirname, '../../dist/cli/main.js');

export interface Event {
  readonly event: string;
  readonly [field: string]: unknown;
}

/** `mcp-poolkit`, as it was built. */
export class Cli extends Program {
  constructor(...args: string[]) {
    super(MAIN, { args });
  }

  /** What `--json` has printed so far. */
  get events(): Event[] {
    return this.lines.map((line) => JSON.parse(line) as Event);
  }

  /** The first event of that name, printed already or still to come. */
  async event(name: string): Promise<Event> {
    const hit = await this.line(new RegExp(`^{"event":"${name}".*`));
    return JSON.parse(hit[0]) as Event;
  }
}

/** Runs it to its end. */
export async function run(
  ...args: string[]
): Promise<ProgramExit & { readonly stdout: string; readonly stderr: string }> {
  const cli = new Cli(...args);
  const exit = await cli.exited;
  return { ...exit, stdout: cli.output, stderr: cli.stderr };
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
