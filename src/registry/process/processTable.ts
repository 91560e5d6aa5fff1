import { closeSync, existsSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ProcessRow, ProcessTable } from './ps/ProcessTable.js';
import { readPsTable } from './ps/psTable.js';

export type { ProcessRow, ProcessTable } from './ps/ProcessTable.js';

const LINUX = process.platform === 'linux';

/** A scan hands the turn back after this long, so that a machine with thousands of processes does not stall calls. */
const SLICE_MS = 4;

/** What catches up waits so long between its passes, in ms, but for the first few. */
const PASS_MS = 2;
const QUICK_PASSES = 10;
/** Programs take no longer to start, in ms. */
const LASTING_MS = 100;
/** One that ends in this turn looks again for so long after its first look, in ms, waiting this long between two. */
const MAX_NOW_MS = 250;
const NOW_PASS_MS = 1;
/** All threads have the same environment, but for those that end just now: so many are asked. */
const MAX_THREADS = 8;
const WAITED_FOR = new Int32Array(new SharedArrayBuffer(4));
const STAT_BUFFER = Buffer.alloc(4_096);

let pending: Promise<ProcessTable> | undefined;

/** Reads the whole table, from now on. Everybody who asks in the same turn shares one reading. */
export function readProcessTable(): Promise<ProcessTable> {
  pending ??= nextTurn().then(() => {
    pending = undefined;
    return LINUX ? scanProc() : readPsTable();
  });
  return pending;
}

let inThisTurn: ProcessTable | undefined;

/** The same at once, for one who ends in this turn and cannot wait: all who ask in it share one reading. Undefined off Linux. */
export function readProcessTableNow(): ProcessTable | undefined {
  if (!LINUX || inThisTurn !== undefined) return inThisTurn;
  const table = new ProcTable();
  for (const pid of pidsNow()) table.look(pid);
  inThisTurn = table;
  setImmediate(() => {
    inThisTurn = undefined;
  });
  return table;
}

/** One process, or undefined when there is none (or, off Linux, when only the whole table can tell). */
export function readProcess(pid: number): ProcessRow | undefined {
  try {
    // Half the cost of readFileSync, which asks for a size that /proc does not know; a line of stat is far shorter.
    const fd = openSync(`/proc/${pid}/stat`, 'r');
    try {
      return parseStat(STAT_BUFFER.toString('latin1', 0, readSync(fd, STAT_BUFFER)));
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    if (isUnreadable(error)) return undefined;
    throw error;
  }
}

/** When it was started, 0 when that is not to be had. Never throws: a child that was just spawned must not be lost. */
export function startTimeOf(pid: number): number {
  try {
    return readProcess(pid)?.startTime ?? 0;
  } catch {
    return 0;
  }
}

/**
 * A process and all below it, by the lists of children that the kernel keeps: a few reads instead of the whole table.
 * Undefined where there are no such lists, or no such process. What has lost its parent is not among them.
 */
export function readDescendants(pid: number): ProcessRow[] | undefined {
  const rows: ProcessRow[] = [];
  const pending = [pid];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const row = readProcess(next);
    const children = row === undefined ? undefined : childrenOf(next);
    if (row !== undefined) rows.push(row);
    if (next === pid && children === undefined) return undefined;
    for (const child of children ?? []) pending.push(child);
  }
  return rows;
}

function childrenOf(pid: number): number[] | undefined {
  try {
    return readdirSync(`/proc/${pid}/task`).flatMap((thread) => {
      const children = readFileSync(`/proc/${pid}/task/${thread}/children`, 'latin1');
      return children.split(' ').flatMap((child) => (child === '' ? [] : [Number(child)]));
    });
  } catch (error) {
    if (isUnreadable(error)) return undefined;
    throw error;
  }
}

async function scanProc(): Promise<ProcessTable> {
  const table = new ProcTable();
  let sliceEndsMs = performance.now() + SLICE_MS;
  for (const pid of pidsNow()) {
    table.look(pid);
    if (performance.now() < sliceEndsMs) continue;
    await nextTurn();
    sliceEndsMs = performance.now() + SLICE_MS;
  }
  return table;
}

const pidsNow = (): number[] => readdirSync('/proc').flatMap((name) => (/^\d+$/.test(name) ? [Number(name)] : []));

class ProcTable implements ProcessTable {
  readonly rows = new Map<number, ProcessRow>();
  readonly #environments = new Map<number, string>();
  /** Processes that were ending, or starting another program, when their environment was asked for; and since when, in ms. */
  readonly #unsure = new Map<number, number>();
  readonly #untilMs = performance.now() + MAX_NOW_MS;
  #pending: Promise<boolean> | undefined;
  #passes = 0;

  look(pid: number): void {
    const row = readProcess(pid);
    if (row === undefined) this.rows.delete(pid);
    else this.rows.set(pid, row);
  }

  environmentOf(pid: number, variable: string): string | undefined {
    const environment = this.#environmentOf(pid);
    const start = environment.indexOf(`\0${variable}=`);
    if (start < 0) return undefined;
    const valueStart = start + variable.length + 2;
    const end = environment.indexOf('\0', valueStart);
    return environment.slice(valueStart, end < 0 ? undefined : end);
  }

  catchUp(): Promise<boolean> {
    this.#pending ??= (this.#passes++ < QUICK_PASSES ? nextTurn() : sleep(PASS_MS)).then(() => {
      this.#pending = undefined;
      return this.#catchUp();
    });
    return this.#pending;
  }

  catchUpNow(): boolean {
    if (this.#passes++ > 0) Atomics.wait(WAITED_FOR, 0, 0, NOW_PASS_MS);
    return this.#catchUp() || performance.now() > this.#untilMs;
  }

  #catchUp(): boolean {
    let sure = true;
    for (const pid of pidsNow()) {
      if (this.rows.has(pid) && !this.#unsure.has(pid)) continue;
      this.#environments.delete(pid);
      this.look(pid);
      if (this.rows.get(pid)?.alive) this.#environmentOf(pid);
      else this.#unsure.delete(pid);
      // One that has ended may have started another that was not listed. One that cannot be looked at is another user's.
      const ended = this.rows.get(pid)?.alive === false || !(this.rows.has(pid) || isListed(pid));
      if (ended || this.#unsure.has(pid)) sure = false;
    }
    return sure;
  }

  #environmentOf(pid: number): string {
    let environment = this.#environments.get(pid);
    if (environment === undefined) {
      const read = this.#read(pid) || (this.#hasProgram(pid) && this.#read(pid));
      if (read !== false || this.#isLasting(pid)) this.#unsure.delete(pid);
      environment = `\0${read || ''}`;
      this.#environments.set(pid, environment);
    }
    return environment;
  }

  /** Empty when it may not be read, too. Of a process whose first thread has ended any other thread tells it. */
  #read(pid: number): string {
    const environment = readProcFile(`/proc/${pid}/environ`) ?? '';
    if (environment !== '' || !/[ZXx]/.test(this.rows.get(pid)?.state ?? '')) return environment;
    for (const thread of threadsOf(pid).slice(-MAX_THREADS)) {
      const told = readProcFile(`/proc/${pid}/task/${thread}/environ`);
      if (told) return told;
    }
    return '';
  }

  /** Whether a process has been in that state for too long to be in it. */
  #isLasting(pid: number): boolean {
    const nowMs = performance.now();
    const sinceMs = this.#unsure.get(pid) ?? nowMs;
    this.#unsure.set(pid, sinceMs);
    return nowMs - sinceMs > LASTING_MS;
  }

  /** A process that ends or is about to run another program has no arguments either. Threads of the kernel have none, and no group. */
  #hasProgram(pid: number): boolean {
    return this.rows.get(pid)?.pgid === 0 || (readProcFile(`/proc/${pid}/cmdline`) ?? (isListed(pid) || '')) !== '';
  }
}

const isListed = (pid: number): boolean => existsSync(`/proc/${pid}`);

/** Whether it is of this user and may not be looked at all the same, as `ssh-agent` has it (`PR_SET_DUMPABLE`). */
export function isHidden(pid: number): boolean {
  const user = /^Uid:\t(\d+)/m.exec(readProcFile(`/proc/${pid}/status`) ?? '')?.[1];
  return Number(user) === process.getuid?.() && readProcFile(`/proc/${pid}/environ`) === undefined && isListed(pid);
}

function threadsOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`);
  } catch (error) {
    if (isUnreadable(error)) return [];
    throw error;
  }
}

/** `proc(5)`. The name in parentheses may itself hold spaces and parentheses: fields are counted from its end. */
export function parseStat(stat: string): ProcessRow | undefined {
  const nameEnd = stat.lastIndexOf(')');
  if (nameEnd < 0) return undefined;
  const fields = stat.slice(nameEnd + 2).split(' ', 22);
  const field = (number: number): number => Number(fields[number - 3]);
  const state = fields[0] ?? '?';
  const { pageBytes, ticksPerSec } = systemUnits();
  return {
    pid: Number.parseInt(stat, 10),
    ppid: field(4),
    pgid: field(5),
    session: field(6),
    state,
    // A process whose first thread has ended reads as a zombie while its other threads run on.
    alive: !/[ZXx]/.test(state) || field(20) > 1,
    startTime: field(22),
    cpuMs: ((field(14) + field(15) + field(16) + field(17)) * 1_000) / ticksPerSec,
    residentBytes: field(24) * pageBytes,
  };
}

interface SystemUnits {
  readonly pageBytes: number;
  readonly ticksPerSec: number;
}

let units: SystemUnits | undefined;

/** Page size and clock ticks as the kernel told this very process in its auxiliary vector. */
function systemUnits(): SystemUnits {
  if (units !== undefined) return units;
  const found = new Map<bigint, number>();
  try {
    const vector = readFileSync('/proc/self/auxv');
    for (let at = 0; at + 16 <= vector.length; at += 16) {
      found.set(vector.readBigUInt64LE(at), Number(vector.readBigUInt64LE(at + 8)));
    }
  } catch (error) {
    if (!isUnreadable(error)) throw error;
  }
  units = { pageBytes: found.get(6n) ?? 4_096, ticksPerSec: found.get(17n) ?? 100 };
  return units;
}

/** Undefined when the process is gone or is not ours to read. */
function readProcFile(file: string): string | undefined {
  try {
    return readFileSync(file, 'latin1');
  } catch (error) {
    if (isUnreadable(error)) return undefined;
    throw error;
  }
}

function isUnreadable(error: unknown): boolean {
  return ['ENOENT', 'ESRCH', 'EACCES', 'EPERM'].includes((error as NodeJS.ErrnoException).code ?? '');
}

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
