import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ManagedProcess } from '../../src/registry/process/ManagedProcess.js';

/** What /proc says, read apart from the code under test. */

function readProc(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return '';
  }
}

export function isAlive(pid: number): boolean {
  return /^State:\s+[^ZX\s]/m.test(readProc(pid, 'status'));
}

/** The children of a process, theirs, and so on. */
export function descendantsOf(pid: number): number[] {
  const children = readProc(pid, `task/${pid}/children`).split(' ').filter(Boolean).map(Number);
  return children.flatMap((child) => [child, ...descendantsOf(child)]);
}

/** Processes, other than zombies, whose environment holds the token. */
export function bearersOf(token: string): number[] {
  const pids = readdirSync('/proc').flatMap((name) => (/^\d+$/.test(name) ? [Number(name)] : []));
  return pids.filter((pid) => isAlive(pid) && readProc(pid, 'environ').includes(token));
}

const FIXTURES = join(import.meta.dirname, '../fixtures');

/** A child of test/fixtures/unruly.mjs. */
export function unruly(kind: string, ...args: string[]): { command: string; args: string[] } {
  return { command: process.execPath, args: [join(FIXTURES, 'unruly.mjs'), kind, ...args] };
}

export const OWNER = join(FIXTURES, 'owner.mjs');

/** The pids of an unruly child's `up` line. Its stdout flows from then on. */
export function pidsOf(child: ManagedProcess): Promise<number[]> {
  return new Promise((resolve) => {
    let text = '';
    const onData = (chunk: Buffer): void => {
      text += chunk.toString('latin1');
      const line = /^up (.*)\n/.exec(text)?.[1];
      if (line === undefined) return;
      child.stdout.off('data', onData);
      child.stdout.resume();
      resolve(line.split(' ').map(Number));
    };
    child.stdout.on('data', onData);
  });
}

/** Has the exit event of this child reach nobody, as if it had never come. */
export function loseExit(pid: number): void {
  const inside = process as unknown as {
    _getActiveHandles(): { readonly pid?: number; removeAllListeners?(name: string): void }[];
  };
  const child = inside._getActiveHandles().find((handle) => handle.pid === pid);
  if (child?.removeAllListeners === undefined) throw new Error(`no child ${pid} is known to Node`);
  child.removeAllListeners('exit');
}
