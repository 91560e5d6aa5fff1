import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

/** Runs a program of test/fixtures to its end and gives its exit code and what it printed. */
export async function runFixture(name: string, ...args: string[]): Promise<{ code: number | null; output: string }> {
  const file = join(import.meta.dirname, '../fixtures', name);
  const child = spawn(process.execPath, [file, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, output: output.trim() };
}
