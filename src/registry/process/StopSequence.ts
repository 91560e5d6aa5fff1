import type { Clock } from '../../core/clock.js';
import { StillAliveError } from '../../core/errors.js';
import { describeState, type ProcessGroup } from './processGroup.js';
import type { ProcessRow } from './processTable.js';

export interface StopTimes {
  /** How long it may take to end by itself once its stdin is closed, in ms. */
  readonly stdinGraceMs: number;
  /** How long it may take after `stopSignal`, in ms. */
  readonly termGraceMs: number;
  /** How long it may take to vanish after SIGKILL, in ms; then it is reported as still alive. */
  readonly killProofMs: number;
  readonly stopSignal: NodeJS.Signals;
}

/** What a stop needs to know of its process. */
export interface StopSubject {
  readonly name: string;
  readonly group: ProcessGroup;
  readonly pid: number;
  /** True when the direct child was reaped, or never was ours. */
  readonly exited: boolean;
  onExit(listener: () => void): Disposable;
  endInput(): void;
}

const FIRST_POLL_MS = 2;
const LAST_POLL_MS = 50;
/** What lives so long after a SIGKILL, in ms, may have been missed: it is looked at and killed again, each time after twice as long. */
const AGAIN_MS = 50;

/**
 * stdin EOF, `stdinGraceMs`, `stopSignal` to all, `termGraceMs`, SIGKILL to all until a look at the whole process table
 * finds no process, at the latest `killProofMs` later, or twice that where only the child's end is still to be told. What remains after the
 * direct child has gone gets its signal at once: the EOF was for the server, and helpers it left behind have no reason to stay.
 */
export class StopSequence {
  readonly #subject: StopSubject;
  readonly #times: StopTimes;
  readonly #clock: Clock;
  #termAtMs: number;
  #killAtMs: number;
  #wake: (() => void) | undefined;
  #pollMs = FIRST_POLL_MS;

  constructor(subject: StopSubject, times: StopTimes, clock: Clock, graceMs: number) {
    this.#subject = subject;
    this.#times = times;
    this.#clock = clock;
    this.#termAtMs = clock.now() + times.stdinGraceMs;
    this.#killAtMs = this.#termAtMs + times.termGraceMs;
    this.shorten(graceMs);
  }

  /** SIGKILL comes in `graceMs` from now, if that is earlier than it would; the signal before it keeps its share. */
  shorten(graceMs: number): void {
    const now = this.#clock.now();
    if (now + graceMs >= this.#killAtMs) return;
    const politeMs = this.#times.stdinGraceMs + this.#times.termGraceMs;
    this.#killAtMs = now + graceMs;
    this.#termAtMs = Math.min(this.#termAtMs, now + (graceMs * this.#times.stdinGraceMs) / politeMs);
    this.#wake?.();
  }

  /** @throws StillAliveError when something outlived SIGKILL by `killProofMs`; the error of looking when that failed */
  async run(): Promise<void> {
    const { group } = this.#subject;
    using _exit = this.#subject.onExit(() => this.#wake?.());
    if (this.#killAtMs > this.#clock.now()) this.#subject.endInput();
    let termSent = false;
    let proofByMs: number | undefined;
    let emptyLooks = 0;
    let againMs = AGAIN_MS;
    for (let round = 0; ; round++) {
      const exited = this.#subject.exited;
      const { members, blind } = await this.#look(round === 0 && !exited);
      if (exited && members.length === 0 && blind === undefined) {
        // Who is outside the group may have forked and gone while the table was being read: look once more.
        if (++emptyLooks > (group.strayed ? 1 : 0)) return;
        continue;
      }
      emptyLooks = 0;
      const now = this.#clock.now();
      let untilMs: number;
      if (now >= this.#killAtMs) {
        if (proofByMs === undefined) this.#pollMs = FIRST_POLL_MS;
        proofByMs ??= now + this.#times.killProofMs;
        // Where nothing of it is to be seen any more, its end has yet to be told: on a busy machine that takes as long again.
        const gone = members.length === 0 && blind === undefined;
        const lastMs = gone ? proofByMs + this.#times.killProofMs : proofByMs;
        if (now >= lastMs) throw blind ?? this.#stillAlive(members);
        await group.signal('SIGKILL', members);
        untilMs = Math.min(lastMs, now + againMs);
        againMs *= 2;
      } else {
        if (!termSent && (exited || now >= this.#termAtMs)) {
          termSent = true;
          await group.signal(this.#times.stopSignal, members);
          // One that was stopped gets its signal only when it goes on.
          await group.signal('SIGCONT', members);
        }
        untilMs = termSent ? this.#killAtMs : this.#termAtMs;
      }
      // What happened while the table was being read is not waited for.
      if (this.#subject.exited === exited) await this.#pause(untilMs);
    }
  }

  /** Without a descriptor left to look with (EMFILE), the group can still be signalled; only the proof has to wait. */
  async #look(below: boolean): Promise<{ readonly members: readonly ProcessRow[]; readonly blind?: unknown }> {
    const { group } = this.#subject;
    try {
      return { members: (below ? group.descendants() : undefined) ?? (await group.members()) };
    } catch (error) {
      return { members: [], blind: error };
    }
  }

  /** Until `untilMs`, the child's exit, a shortening, or, when there is no exit to wait for, until the rest has died. */
  async #pause(untilMs: number): Promise<void> {
    const polls = this.#subject.exited;
    for (;;) {
      const leftMs = untilMs - this.#clock.now();
      if (leftMs <= 0) return;
      const woken = await this.#sleep(polls ? Math.min(this.#pollMs, leftMs) : leftMs);
      if (woken || (polls && !this.#subject.group.anyKnownAlive())) return;
      this.#pollMs = Math.min(this.#pollMs * 2, LAST_POLL_MS);
    }
  }

  #sleep(ms: number): Promise<boolean> {
    return new Promise((resolve) => {
      const end = (woken: boolean): void => {
        this.#wake = undefined;
        timer.cancel();
        resolve(woken);
      };
      const timer = this.#clock.setTimer(() => end(false), ms, { ref: true });
      this.#wake = () => end(true);
    });
  }

  #stillAlive(members: readonly ProcessRow[]): StillAliveError {
    const first = members[0];
    const { name, pid } = this.#subject;
    const more = members.length > 1 ? ` (one of ${members.length})` : '';
    return new StillAliveError(first?.pid ?? pid, describeState(first?.state ?? 'unknown'), `${name}: process${more}`);
  }
}
