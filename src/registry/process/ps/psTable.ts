import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { ProcessRow, ProcessTable } from './ProcessTable.js';

const run = promisify(execFile);

/** macOS and the BSDs: groups and states, no environments. An unreadable table is empty: nothing can be proved then. */
export async function readPsTable(): Promise<ProcessTable> {
  const rows = new Map<number, ProcessRow>();
  if (process.platform !== 'win32') {
    const { stdout } = await run('ps', ['-A', '-o', 'pid=,ppid=,pgid=,stat=,rss=,time=,lstart='], {
      maxBuffer: 2 ** 26,
    });
    for (const line of stdout.split('\n')) {
      const row = parsePsLine(line);
      if (row !== undefined) rows.set(row.pid, row);
    }
  }
  return { rows, environmentOf: () => undefined, catchUp: async () => true, catchUpNow: () => true };
}

/** One line of `ps -o pid=,ppid=,pgid=,stat=,rss=,time=,lstart=`. */
export function parsePsLine(line: string): ProcessRow | undefined {
  const match = /^\s*(\d+)\s+(\d+)\s+(\d+)\s+(\S+)\s+(\d+)\s+(\S+)\s+(.+?)\s*$/.exec(line);
  if (match === null) return undefined;
  const [, pid, ppid, pgid, state = '?', residentKb, time = '', started = ''] = match;
  const cpuSec = time.split(/[-:]/).reduce((sum, part, i, all) => {
    return sum * (time.includes('-') && i === 1 && all.length > 1 ? 24 : 60) + Number(part);
  }, 0);
  return {
    pid: Number(pid),
    ppid: Number(ppid),
    pgid: Number(pgid),
    session: Number(pgid),
    state: state.slice(0, 1),
    alive: !state.startsWith('Z'),
    startTime: Date.parse(started) / 1_000,
    cpuMs: cpuSec * 1_000,
    residentBytes: Number(residentKb) * 1_024,
  };
}
