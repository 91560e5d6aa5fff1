import { execFile } from 'node:child_process';
import { StillAliveError } from '../../core/errors.js';
import { bearsToken, TOKEN_VARIABLE } from './environment.js';
import {
  isHidden,
  type ProcessRow,
  type ProcessTable,
  readDescendants,
  readProcess,
  readProcessTable,
  readProcessTableNow,
} from './processTable.js';

/** For so long, in ms, it is tried to see all processes at one moment. */
const MAX_UNSURE_MS = 300;

export interface ProcessGroupOptions {
  /** The leader's pid, which is the group's number. Undefined when it was never learnt: the token alone counts then. */
  readonly pgid: number | undefined;
  /** What every member's environment carries from its start. */
  readonly token: string;
  /** The leader's start time as `readProcess` gave it, 0 when unknown: nothing older can descend from it. */
  readonly startTime: number;
  /**
   * True when the leader is our own child and unreaped: then the group's number cannot have passed to strangers. False
   * for what another process started: then the group counts only when its leader's start time or a token agrees.
   */
  readonly ownChild: boolean;
}

/**
 * A child and everything that came from it: the members of its process group, those that carry its token wherever they
 * went, and the children of any of them. Found by reading the system's process table (Linux: /proc; macOS: `ps`, where
 * environments are not to be had; Windows: nothing but the leader). Zombies do not count: a signal 0 to the group finds
 * them alive, so it proves only that a group is *empty*.
 */
export class ProcessGroup {
  readonly #pgid: number | undefined;
  readonly #token: string;
  readonly #startTime: number;
  /** Everyone ever seen, by pid and start time: a descendant that clears its environment is kept in sight so. */
  readonly #known = new Map<number, number>();
  readonly #ownChild: boolean;
  #reaped: boolean;
  /** The group's number is free, or belongs to another. */
  #over = false;
  #strayed = false;
  #hidden: readonly number[] = [];

  constructor({ pgid, token, startTime, ownChild }: ProcessGroupOptions) {
    this.#pgid = pgid;
    this.#token = token;
    this.#startTime = startTime;
    this.#ownChild = ownChild;
    this.#reaped = !ownChild;
    if (pgid === undefined) this.#over = true;
  }

  /** True once a member was found outside the group: only a second look can prove then that none was missed. */
  get strayed(): boolean {
    return this.#strayed;
  }

  /**
   * Processes that the last look, which found no member, could not look at: of this user, started since the group was, and without a
   * parent of their own. They may have come from it; nothing proves it, so they are left alone.
   */
  get hidden(): readonly number[] {
    return this.#hidden;
  }

  /** To be called in the turn of the leader's `exit`: from now on its number may pass to strangers. */
  leaderReaped(): void {
    this.#reaped = true;
    if (this.#pgid !== undefined && !signalExists(-this.#pgid)) this.#over = true;
  }

  /**
   * All of the group that are alive now, by a fresh reading of the whole table. None only when it is sure that none was missed.
   * @throws StillAliveError when processes come and go so fast that it cannot be told
   */
  async members(): Promise<ProcessRow[]> {
    const table = await readProcessTable();
    const untilMs = performance.now() + MAX_UNSURE_MS;
    for (let sure = false; ; sure = await table.catchUp()) {
      const members = this.membersIn(table);
      if (members.length > 0) return members;
      if (sure) {
        this.#hidden = this.#hiddenIn(table);
        return members;
      }
      if (performance.now() > untilMs)
        throw new StillAliveError(this.#pgid ?? 0, 'unknown', 'what may come from process');
    }
  }

  membersIn(table: ProcessTable): ProcessRow[] {
    const { rows } = table;
    const ours = new Set<number>();
    const bearers = new Set<number>();
    for (const row of rows.values()) {
      if (row.pid === process.pid || row.startTime < this.#startTime || !row.alive) continue;
      if (this.#known.get(row.pid) === row.startTime) ours.add(row.pid);
      else if (bearsToken(table.environmentOf(row.pid, TOKEN_VARIABLE), this.#token)) bearers.add(row.pid);
    }
    for (const pid of bearers) ours.add(pid);
    if (this.#groupIsOurs(rows, ours)) {
      for (const row of rows.values()) if (row.pgid === this.#pgid && row.alive) ours.add(row.pid);
    }
    this.#addDescendants(rows, ours);
    const members = [...ours].flatMap((pid) => rows.get(pid) ?? []);
    this.#know(members);
    return members;
  }

  /**
   * The living leader and all below it, at a fraction of the price of `members`, which alone finds what has lost its
   * parent: enough to begin a stop with, never to end it. Undefined where the system keeps no lists of children.
   */
  descendants(): ProcessRow[] | undefined {
    const rows = this.#pgid === undefined || this.#reaped ? undefined : readDescendants(this.#pgid);
    const members = rows?.filter(({ alive }) => alive);
    if (members !== undefined) this.#know(members);
    return members;
  }

  /** Whether any member of the last look still lives: a few small reads instead of the whole table. */
  anyKnownAlive(): boolean {
    for (const [pid, startTime] of this.#known) if (mayLive(pid, startTime)) return true;
    return false;
  }

  /**
   * Sends it to the group at once and to each member that strayed; SIGKILL, which is not harmful twice, to each of all: one that is leaving
   * the group in this moment is not missed. Members that have gone meanwhile are no error.
   */
  async signal(signal: NodeJS.Signals, members: readonly ProcessRow[]): Promise<void> {
    if (process.platform === 'win32') {
      // There are no signals; only a forced end reaches a console program. The tree hangs on the leader's pid.
      if (signal === 'SIGKILL' && this.#pgid !== undefined && !this.#reaped) await taskkill(this.#pgid);
      return;
    }
    const inGroup = members.some((row) => row.pgid === this.#pgid);
    if (this.#pgid !== undefined && !this.#over && (inGroup || !this.#reaped)) sendSignal(-this.#pgid, signal);
    for (const row of members) {
      const now = asItIsNow(row);
      if (now === undefined || (signal !== 'SIGKILL' && now.pgid === this.#pgid && !this.#over)) continue;
      sendSignal(row.pid, signal);
    }
  }

  /**
   * SIGKILL to the group, to each member known, and to those that are found until a look is sure that there are no more (Linux), all in this
   * very turn: for an owner that is about to end itself, whose last look may be older than what its children started since.
   */
  killNow(): void {
    if (process.platform === 'win32') return;
    if (this.#pgid !== undefined && !this.#over) sendSignal(-this.#pgid, 'SIGKILL');
    for (const [pid, startTime] of this.#known) if (mayLive(pid, startTime)) sendSignal(pid, 'SIGKILL');
    const table = readProcessTableNow();
    // One that was killed starts nothing any more: a look behind it sees all that it has started.
    const killed = new Set<number>();
    for (let sure = false; table !== undefined; sure = table.catchUpNow()) {
      const found = this.membersIn(table).filter(({ pid }) => !killed.has(pid));
      for (const { pid } of found) {
        killed.add(pid);
        sendSignal(pid, 'SIGKILL');
      }
      if (sure && found.length === 0) return;
    }
  }

  #hiddenIn({ rows }: ProcessTable): number[] {
    // What loses its parent is given to one of those above.
    const above = new Set<number>();
    for (let pid = process.pid === 1 ? 1 : process.ppid; pid > 0 && !above.has(pid); pid = rows.get(pid)?.ppid ?? 0)
      above.add(pid);
    return [...rows.values()].flatMap(({ pid, ppid, startTime, alive }) =>
      alive && above.has(ppid) && pid !== process.pid && startTime >= this.#startTime && isHidden(pid) ? [pid] : [],
    );
  }

  #know(members: readonly ProcessRow[]): void {
    // A look may be older than one that saw more: who is missing from it is asked for by name.
    for (const [pid, startTime] of this.#known) if (!mayLive(pid, startTime)) this.#known.delete(pid);
    for (const row of members) {
      this.#known.set(row.pid, row.startTime);
      if (row.pgid !== this.#pgid) this.#strayed = true;
    }
  }

  #groupIsOurs(rows: ReadonlyMap<number, ProcessRow>, ours: ReadonlySet<number>): boolean {
    if (this.#pgid === undefined || this.#over) return false;
    const leader = rows.get(this.#pgid);
    const sameLeader = leader?.startTime === this.#startTime;
    if (leader !== undefined && !sameLeader && this.#startTime !== 0) {
      // Another process has been given the number, so our group had emptied.
      this.#over = true;
      return false;
    }
    if (this.#ownChild || sameLeader) return true;
    for (const pid of ours) if (rows.get(pid)?.pgid === this.#pgid) return true;
    return false;
  }

  #addDescendants(rows: ReadonlyMap<number, ProcessRow>, ours: Set<number>): void {
    for (let before = -1; before !== ours.size; ) {
      before = ours.size;
      for (const row of rows.values()) {
        if (row.alive && row.pid !== process.pid && ours.has(row.ppid)) ours.add(row.pid);
      }
    }
  }
}

/** A process state letter in words. */
export function describeState(state: string): string {
  const words: Readonly<Record<string, string>> = {
    R: 'running',
    S: 'sleeping',
    D: 'uninterruptible sleep',
    T: 'stopped',
    t: 'traced',
    Z: 'zombie',
    I: 'idle',
  };
  const word = words[state];
  return word === undefined ? state : `${state} (${word})`;
}

/** Whether this very process still lives. A process that cannot be looked at has not been seen dead. */
function mayLive(pid: number, startTime: number): boolean {
  try {
    const row = readProcess(pid);
    return row?.alive === true && row.startTime === startTime;
  } catch {
    return true;
  }
}

/** Undefined when its number is free or has passed to a stranger since the look; off Linux there is no asking again. */
function asItIsNow(row: ProcessRow): ProcessRow | undefined {
  if (process.platform !== 'linux') return row;
  try {
    const now = readProcess(row.pid);
    return now?.alive === true && now.startTime === row.startTime ? now : undefined;
  } catch {
    return row;
  }
}

/** False when no process is left to signal, or none may be signalled: the next look at the table tells which. */
function sendSignal(target: number, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(target, signal);
  } catch (error) {
    if (['ESRCH', 'EPERM'].includes((error as NodeJS.ErrnoException).code ?? '')) return false;
    throw error;
  }
}

function signalExists(target: number): boolean {
  try {
    return process.kill(target, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function taskkill(pid: number): Promise<void> {
  return new Promise((resolve) => {
    execFile('taskkill', ['/PID', String(pid), '/T', '/F'], { windowsHide: true }, () => resolve());
  });
}
