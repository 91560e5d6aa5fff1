import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { wordsWithoutSecrets } from '../../core/text/withoutSecrets.js';
import { readDescendants, readProcess } from '../../registry/process/processTable.js';

/** One process of a side, over the measured time. */
export interface ProcessFigures {
  readonly pid: number;
  readonly command: string;
  /** CPU time it used while measured, in ms: user and system. */
  readonly cpuMs: number;
  readonly rssBefore: number;
  readonly rssPeak: number;
  readonly rssAfter: number;
  readonly fdsBefore: number;
  readonly fdsPeak: number;
  readonly fdsAfter: number;
}

/** All processes of one side of a comparison. */
export interface SideFigures {
  readonly side: string;
  readonly processes: readonly ProcessFigures[];
  readonly cpuMs: number;
  readonly rssPeak: number;
  readonly childrenBefore: number;
  readonly childrenPeak: number;
  readonly childrenAfter: number;
  readonly zombiesPeak: number;
  readonly fdsPeak: number;
}

interface Seen {
  readonly command: string;
  readonly cpuStartMs: number;
  cpuEndMs: number;
  readonly rssBefore: number;
  rssPeak: number;
  rssAfter: number;
  readonly fdsBefore: number;
  fdsPeak: number;
  fdsAfter: number;
}

const SAMPLE_MS = 250;

/** Reads CPU, memory, descriptors, children and zombies of every process of a side from /proc, four times a second. */
export class ProcessSampler {
  readonly #side: string;
  readonly #roots: () => readonly number[];
  readonly #seen = new Map<number, Seen>();
  #childrenBefore = 0;
  #childrenPeak = 0;
  #childrenAfter = 0;
  #zombiesPeak = 0;
  #fdsPeak = 0;
  #rssPeak = 0;
  #timer: NodeJS.Timeout | undefined;

  /** `roots` gives the pids that are the side's own; their descendants are theirs. */
  constructor(side: string, roots: () => readonly number[]) {
    this.#side = side;
    this.#roots = roots;
  }

  start(): void {
    this.#seen.clear();
    this.#childrenPeak = this.#zombiesPeak = this.#fdsPeak = this.#rssPeak = 0;
    this.#sample();
    this.#childrenBefore = this.#childrenAfter;
    this.#timer = setInterval(() => this.#sample(), SAMPLE_MS);
    this.#timer.unref();
  }

  stop(): SideFigures {
    clearInterval(this.#timer);
    this.#sample();
    const processes = [...this.#seen.entries()].map(([pid, each]) => ({
      pid,
      command: each.command,
      cpuMs: each.cpuEndMs - each.cpuStartMs,
      rssBefore: each.rssBefore,
      rssPeak: each.rssPeak,
      rssAfter: each.rssAfter,
      fdsBefore: each.fdsBefore,
      fdsPeak: each.fdsPeak,
      fdsAfter: each.fdsAfter,
    }));
    return {
      side: this.#side,
      processes,
      cpuMs: processes.reduce((sum, { cpuMs }) => sum + cpuMs, 0),
      rssPeak: this.#rssPeak,
      childrenBefore: this.#childrenBefore,
      childrenPeak: this.#childrenPeak,
      childrenAfter: this.#childrenAfter,
      zombiesPeak: this.#zombiesPeak,
      fdsPeak: this.#fdsPeak,
    };
  }

  #sample(): void {
    let [children, zombies, fds, rss] = [0, 0, 0, 0];
    const alive = new Set<number>();
    for (const root of new Set(this.#roots())) {
      for (const row of readDescendants(root) ?? []) {
        if (!row.alive) {
          zombies++;
          continue;
        }
        if (alive.has(row.pid)) continue;
        alive.add(row.pid);
        if (row.pid !== root) children++;
        const open = countFds(row.pid);
        fds += open;
        rss += row.residentBytes;
        const seen = this.#seen.get(row.pid);
        if (seen === undefined) {
          this.#seen.set(row.pid, {
            command: commandOf(row.pid),
            // One that came while measuring used all its time while measured.
            cpuStartMs: this.#timer === undefined ? row.cpuMs : 0,
            cpuEndMs: row.cpuMs,
            rssBefore: row.residentBytes,
            rssPeak: row.residentBytes,
            rssAfter: row.residentBytes,
            fdsBefore: open,
            fdsPeak: open,
            fdsAfter: open,
          });
          continue;
        }
        seen.cpuEndMs = row.cpuMs;
        seen.rssPeak = Math.max(seen.rssPeak, row.residentBytes);
        seen.rssAfter = row.residentBytes;
        seen.fdsPeak = Math.max(seen.fdsPeak, open);
        seen.fdsAfter = open;
      }
    }
    this.#childrenAfter = children;
    this.#childrenPeak = Math.max(this.#childrenPeak, children);
    this.#zombiesPeak = Math.max(this.#zombiesPeak, zombies);
    this.#fdsPeak = Math.max(this.#fdsPeak, fds);
    this.#rssPeak = Math.max(this.#rssPeak, rss);
  }
}

/** The process of this machine that listens on the port of a loopback URL; undefined when none is found. */
export function listenerOf(url: string): number | undefined {
  const { port, protocol } = new URL(url);
  const wanted = Number(port === '' ? (protocol === 'https:' ? 443 : 80) : port);
  const inodes = new Set<string>();
  for (const file of ['/proc/net/tcp', '/proc/net/tcp6']) {
    for (const line of read(file).split('\n').slice(1)) {
      const fields = line.trim().split(/\s+/);
      const local = fields[1]?.split(':')[1];
      // State 0A is LISTEN.
      if (local !== undefined && fields[3] === '0A' && Number.parseInt(local, 16) === wanted)
        inodes.add(`socket:[${fields[9]}]`);
    }
  }
  if (inodes.size === 0) return undefined;
  const pids = list('/proc').filter((name) => /^\d+$/.test(name));
  const owners = pids.filter((pid) => list(`/proc/${pid}/fd`).some((fd) => inodes.has(link(`/proc/${pid}/fd/${fd}`))));
  // A port that children inherited belongs to the process above them.
  const own = new Set(owners.map(Number));
  return owners.map(Number).find((pid) => !own.has(readProcess(pid)?.ppid ?? 0));
}

const countFds = (pid: number): number => list(`/proc/${pid}/fd`).length;

const commandOf = (pid: number): string =>
  wordsWithoutSecrets(read(`/proc/${pid}/cmdline`).split('\0'))
    .join(' ')
    .trim();

function list(folder: string): string[] {
  return attempt(() => readdirSync(folder), []);
}

function read(file: string): string {
  return attempt(() => readFileSync(file, 'utf8'), '');
}

function link(file: string): string {
  return attempt(() => readlinkSync(file), '');
}

/** Processes come and go, and some belong to others: what cannot be read is not there. */
function attempt<T>(look: () => T, otherwise: T): T {
  try {
    return look();
  } catch {
    return otherwise;
  }
}
