import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { TOKEN_VARIABLE } from '../../../src/registry/process/environment.js';
import { ManagedProcess } from '../../../src/registry/process/ManagedProcess.js';
import { readProcess, readProcessTable } from '../../../src/registry/process/processTable.js';

/** Above all that the system gives. */
const PID = 999_999_999;
const THREAD = PID + 1;
const PROC = `/proc/${PID}`;
let shown: string;

// What a process of that number would show stands in a folder, beside what there is. A file that it lacks may not be read.
beforeEach(() => {
  shown = fs.mkdtempSync(join(tmpdir(), 'proc-'));
  const there = (path: unknown): string => String(path).replace(PROC, shown);
  const { openSync, readFileSync, existsSync, readdirSync } = fs;
  const at =
    (read: (path: string, ...rest: unknown[]) => unknown) =>
    (path: unknown, ...rest: unknown[]) => {
      if (typeof path !== 'string' || !path.startsWith(PROC)) return read(path as string, ...rest);
      if (existsSync(there(path))) return read(there(path), ...rest);
      throw Object.assign(new Error(path), { code: 'EACCES' });
    };
  vi.spyOn(fs, 'openSync').mockImplementation(at(openSync as never) as never);
  vi.spyOn(fs, 'readFileSync').mockImplementation(at(readFileSync as never) as never);
  vi.spyOn(fs, 'existsSync').mockImplementation((path) => existsSync(there(path)));
  const list = at(readdirSync as never) as (path: unknown, ...rest: unknown[]) => unknown[];
  vi.spyOn(fs, 'readdirSync').mockImplementation(((path: unknown, ...rest: unknown[]) =>
    path === '/proc' ? [...list(path), String(PID)] : list(path, ...rest)) as never);
  syncBuiltinESMExports();
});
afterEach(() => {
  vi.restoreAllMocks();
  syncBuiltinESMExports();
  fs.rmSync(shown, { recursive: true });
});

function show(files: Readonly<Record<string, string>>): void {
  for (const [name, text] of Object.entries(files)) {
    const file = join(shown, name);
    fs.mkdirSync(join(file, '..'), { recursive: true });
    fs.writeFileSync(file, text);
  }
}

const stat = (state: string, threads: number, startTime: number): string =>
  `${PID} (agent) ${state} ${process.ppid} ${PID} ${PID} 0 -1 4194560 1 2 3 4 0 0 0 0 20 0 ${threads} 0 ${startTime} 0 0 0`;

test('the environment of a process whose first thread has ended is read from another thread', async () => {
  const environ = `A=b\0${TOKEN_VARIABLE}=t\0`;
  show({
    stat: stat('Z', 2, 9),
    environ: '',
    cmdline: '',
    [`task/${PID}/environ`]: '',
    [`task/${THREAD}/environ`]: environ,
  });
  expect((await readProcessTable()).environmentOf(PID, TOKEN_VARIABLE)).toBe('t');
});

test('a stop warns of processes of this user that may not be looked at and may have come from it', async () => {
  const warned: unknown[][] = [];
  const quiet = (): void => undefined;
  const warn = (...args: unknown[]): void => void warned.push(args);
  const logger = { trace: quiet, debug: quiet, info: quiet, warn, error: quiet };
  const stopped = async (startTimeOf: (own: number) => number, user: number): Promise<unknown[][]> => {
    warned.length = 0;
    const child = await ManagedProcess.spawn('it', { command: '/bin/cat' }, { logger });
    const own = readProcess(child.pid)?.startTime ?? 0;
    show({ stat: stat('S', 1, startTimeOf(own)), status: `Name:\tagent\nUid:\t${user}\t0\t0\t0\n`, cmdline: 'agent' });
    await child.kill();
    return warned;
  };
  const user = process.getuid?.() ?? 0;
  expect(await stopped((own) => own + 1, user)).toEqual([[{ server: 'it', pids: [PID] }, expect.any(String)]]);
  // Older than the child, or another user's.
  expect(await stopped((own) => own - 1, user)).toEqual([]);
  expect(await stopped((own) => own + 1, user + 1)).toEqual([]);
});
