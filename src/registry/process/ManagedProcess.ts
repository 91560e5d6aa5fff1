import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { constants } from 'node:os';
import type { Readable, Writable } from 'node:stream';
import { type Clock, systemClock } from '../../core/clock.js';
import { atLastResort } from '../../core/close/lastResort.js';
import { OptionError } from '../../core/errors.js';
import { Emitter, tellListener } from '../../core/events.js';
import { type Logger, silentLogger } from '../../core/logger.js';
import { checkCount, checkMs, checkText, withDefaults } from '../../core/options.js';
import { TurnReader } from '../../core/time/TurnReader.js';
import { newToken } from './environment.js';
import { ProcessGroup } from './processGroup.js';
import { readProcess, startTimeOf } from './processTable.js';
import { releasePipes } from './releasePipes.js';
import { StderrTail } from './StderrTail.js';
import { StopSequence, type StopTimes } from './StopSequence.js';
import { type SpawnConfig, startChild } from './startChild.js';

export type { SpawnConfig };

export interface ManagedProcessOptions {
  /** Measures time and arms timers; a `FakeClock` in tests. @defaultValue the system's clock */
  readonly clock?: Clock;
  /** Where it logs; anything with pino's methods. @defaultValue a logger that is silent */
  readonly logger?: Logger;
  /** How long it may take to end by itself once its stdin is closed, in ms, from 0. @defaultValue 2000 */
  readonly stdinGraceMs?: number;
  /** How long it may take after `stopSignal`, in ms, from 0. @defaultValue 2000 */
  readonly termGraceMs?: number;
  /** How long it may take to vanish after SIGKILL before it is reported as still alive, in ms. @defaultValue 2000 */
  readonly killProofMs?: number;
  /** Lines of stderr kept, from 1. @defaultValue 100 */
  readonly stderrMaxLines?: number;
  /** Bytes kept of each of them, from 1. @defaultValue 4096 */
  readonly stderrMaxLineBytes?: number;
  /** The polite signal. @defaultValue 'SIGTERM' */
  readonly stopSignal?: NodeJS.Signals;
  /** What marks the child and all that comes from it. No `:`, `=` or white space. @defaultValue random */
  readonly token?: string;
}

export const MANAGED_PROCESS_DEFAULTS = Object.freeze({
  stdinGraceMs: 2_000,
  termGraceMs: 2_000,
  killProofMs: 2_000,
  stderrMaxLines: 100,
  stderrMaxLineBytes: 4_096,
  stopSignal: 'SIGTERM' as NodeJS.Signals,
});

export interface ExitInfo {
  /** Null when a signal ended it. */
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface StopOptions {
  /**
   * At the latest when SIGKILL comes, in ms from now, from 0 (at once). EOF and signal share it as they share
   * `stdinGraceMs + termGraceMs`, which it never exceeds. @defaultValue Infinity
   */
  readonly graceMs?: number;
}

interface ProcessEvents {
  readonly exit: ExitInfo;
  readonly stderr: string;
}

/**
 * One child in a process group of its own, with a minimal environment and no shell, that can be proved dead: `stop`
 * and `kill` resolve when neither it nor anything that came from it is alive, also when it has itself long gone. Its
 * stderr is always read, into a bounded tail; its stdout is the caller's to read.
 */
export class ManagedProcess {
  readonly name: string;
  readonly pid: number;
  /** Milliseconds since the epoch. */
  readonly startedAt: number;
  /** As the system counts it, see `ProcessRow.startTime`; 0 where it is not to be had. */
  readonly startTime: number;
  readonly token: string;
  readonly group: ProcessGroup;
  /** The direct child's `exit`: it does not wait for others who hold its pipes. Never rejects. */
  readonly exited: Promise<ExitInfo>;
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #times: StopTimes;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #events: Emitter<ProcessEvents>;
  readonly #stderr: StderrTail;
  readonly #stderrReader: TurnReader;
  #resolveExited!: (info: ExitInfo) => void;
  #exitInfo: ExitInfo | undefined;
  #seenZombie = false;
  #sequence: StopSequence | undefined;
  #stopping: Promise<void> | undefined;
  /** Until it was proved dead, the end of this process kills its group. */
  readonly #lastResort = atLastResort(() => this.group.killNow());

  /**
   * Resolves once the system has started the program; whether it then works is another question.
   * @throws OptionError; StartError whose cause is the system's error (ENOENT, EACCES, …)
   */
  static async spawn(name: string, config: SpawnConfig, options: ManagedProcessOptions = {}): Promise<ManagedProcess> {
    checkText('command', config.command);
    const checked = checkProcessOptions(options);
    const { child, pid } = await startChild(name, config, checked.token);
    return new ManagedProcess(name, child, pid, checked);
  }

  private constructor(
    name: string,
    child: ChildProcessWithoutNullStreams,
    pid: number,
    options: Required<ManagedProcessOptions>,
  ) {
    this.name = name;
    this.#child = child;
    this.pid = pid;
    this.token = options.token;
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#times = options;
    this.startedAt = this.#clock.wallNow();
    // The child cannot have been reaped before this turn ends: the number is surely its own.
    this.startTime = startTimeOf(pid);
    this.group = new ProcessGroup({ pgid: pid, token: this.token, startTime: this.startTime, ownChild: true });
    this.#events = new Emitter((error, event) =>
      this.#logger.error({ error, server: name, event }, 'a listener of a process failed'),
    );
    this.#stderr = new StderrTail(options.stderrMaxLines, options.stderrMaxLineBytes, (line) =>
      this.#events.emit('stderr', line),
    );
    // What throws here is a listener of stderr lines: it must not end the process.
    this.#stderrReader = new TurnReader(child.stderr, this.#stderr, () => undefined);
    child.stderr.on('end', () => this.#stderr.end());
    for (const stream of ['stdin', 'stdout', 'stderr'] as const) {
      // EPIPE and its kin: the exit tells writers and readers; an error without a listener would end this process.
      child[stream].on('error', (error) => this.#logger.debug({ error, server: name, stream }, 'a pipe failed'));
    }
    this.exited = new Promise((resolve) => {
      this.#resolveExited = resolve;
    });
    child.on('exit', (exitCode, signal) => this.#exit({ exitCode, signal }));
    child.on('error', (error) => {
      this.#logger.warn({ error, server: name, pid }, 'the system reports an error about a process');
      // On Windows cross-spawn turns the exit of a command that was not found into this.
      const { exitCode, signalCode } = child;
      if (exitCode !== null || signalCode !== null) this.#exit({ exitCode, signal: signalCode });
    });
  }

  get stdin(): Writable {
    return this.#child.stdin;
  }

  get stdout(): Readable {
    return this.#child.stdout;
  }

  get exitInfo(): ExitInfo | undefined {
    return this.#exitInfo;
  }

  /** Called in the turn of the direct child's exit; in a microtask of its own when that has been already. */
  onExit(listener: (info: ExitInfo) => void): Disposable {
    const info = this.#exitInfo;
    if (info === undefined) return this.#events.on('exit', listener);
    let wanted = true;
    queueMicrotask(() => {
      if (!wanted) return;
      tellListener(listener, info, (error) =>
        this.#logger.error({ error, server: this.name, event: 'exit' }, 'a listener of a process failed'),
      );
    });
    return {
      [Symbol.dispose]: () => {
        wanted = false;
      },
    };
  }

  /** Each line as it ends, cut at `stderrMaxLineBytes`. */
  onStderr(listener: (line: string) => void): Disposable {
    return this.#events.on('stderr', listener);
  }

  /** The last lines, oldest first. */
  stderrLines(): string[] {
    this.#stderrReader.flush();
    return this.#stderr.lines;
  }

  /**
   * stdin EOF, `stdinGraceMs`, `stopSignal` to the group, `termGraceMs`, SIGKILL to the group, and proof that no process
   * is left. One promise for all callers; a later call may only shorten it. What remains of the group after the direct
   * child's exit gets `stopSignal` at once.
   * @throws StillAliveError (as a rejection) when something outlives SIGKILL by `killProofMs`; the next call tries anew
   */
  stop(options: StopOptions = {}): Promise<void> {
    const graceMs = options.graceMs ?? Number.POSITIVE_INFINITY;
    try {
      checkMs('graceMs', graceMs, { infinity: true });
    } catch (error) {
      return Promise.reject(error);
    }
    if (this.#stopping !== undefined) {
      this.#sequence?.shorten(graceMs);
      return this.#stopping;
    }
    const managed = this;
    const sequence = new StopSequence(
      {
        name: this.name,
        pid: this.pid,
        group: this.group,
        get exited() {
          return managed.#exitInfo !== undefined;
        },
        onExit: (listener) => this.onExit(listener),
        endInput: () => void this.stdin.end(),
      },
      this.#times,
      this.#clock,
      graceMs,
    );
    this.#sequence = sequence;
    this.#stopping = sequence.run().then(
      () => {
        this.#lastResort[Symbol.dispose]();
        const { hidden: pids } = this.group;
        if (pids.length > 0)
          this.#logger.warn({ server: this.name, pids }, 'processes that may not be looked at may have come from it');
        return releasePipes(this.#child, this.#clock);
      },
      (error: unknown) => {
        this.#stopping = undefined;
        throw error;
      },
    );
    return this.#stopping;
  }

  /**
   * For a reaper: takes the child for exited when the system knows it no more, or shows it dead in two calls of this in
   * a row, and no event has said so.
   */
  noticeLostExit(): void {
    if (this.#exitInfo !== undefined || this.startTime === 0) return;
    const row = readProcess(this.pid);
    const gone = row?.startTime !== this.startTime;
    if (!gone && row.alive) return;
    if (gone || this.#seenZombie) this.#exit({ exitCode: this.#child.exitCode, signal: this.#child.signalCode });
    this.#seenZombie = true;
  }

  /** SIGKILL at once, with the same proof. */
  kill(): Promise<void> {
    return this.stop({ graceMs: 0 });
  }

  #exit(info: ExitInfo): void {
    if (this.#exitInfo !== undefined) return;
    this.#exitInfo = info;
    this.group.leaderReaped();
    this.#resolveExited(info);
    this.#events.emit('exit', info);
  }
}

/** @throws OptionError */
export function checkProcessOptions(options: ManagedProcessOptions): Required<ManagedProcessOptions> {
  const others = { clock: true, logger: true, token: true } as const;
  const { clock, logger, token, ...rest } = withDefaults('ManagedProcess', options, MANAGED_PROCESS_DEFAULTS, others);
  const all: Required<ManagedProcessOptions> = {
    ...rest,
    clock: clock ?? systemClock,
    logger: logger ?? silentLogger,
    token: token ?? newToken(),
  };
  checkMs('stdinGraceMs', all.stdinGraceMs);
  checkMs('termGraceMs', all.termGraceMs);
  checkMs('killProofMs', all.killProofMs);
  checkCount('stderrMaxLines', all.stderrMaxLines, { min: 1 });
  checkCount('stderrMaxLineBytes', all.stderrMaxLineBytes, { min: 1 });
  if (!Object.hasOwn(constants.signals, all.stopSignal))
    throw new OptionError('stopSignal', all.stopSignal, 'a signal');
  if (!/^[^\s:=\0]+$/.test(all.token))
    throw new OptionError('token', all.token, "text without ':', '=' or white space");
  return all;
}
