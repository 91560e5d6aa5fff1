import { Mutex } from 'async-mutex';
import type { Timer } from '../../core/clock.js';
import { keptError, messageOf, ServerStoppedError, StartError } from '../../core/errors.js';
import { backoffMs } from '../../core/time/backoff.js';
import { within } from '../../core/time/within.js';
import type { ExitInfo, ManagedProcess, StopOptions } from '../process/ManagedProcess.js';
import type { ProcessTable } from '../process/processTable.js';
import type { LifecycleEvents, ServerIdentity } from './events.js';
import type { FullLifecycleConfig } from './options.js';
import { NotReady, whenReady } from './readiness.js';
import { type RunContext, ServerRun } from './ServerRun.js';
import { isOver, next, type RestartPolicy, type ServerEvent, type ServerState, type ServerStatus } from './state.js';

export interface ServerHost extends RunContext {
  readonly random: () => number;
  readonly trackUser: <T>(name: string, promise: Promise<T>) => Promise<T>;
  emit<K extends keyof LifecycleEvents>(event: K, payload: LifecycleEvents[K]): void;
}

/** One id of the manager: its state, its process, and the one transition at a time that may change them. */
export class ManagedServer {
  readonly id: string;
  config: FullLifecycleConfig;
  readonly #host: ServerHost;
  readonly #mutex = new Mutex();
  #state: ServerState = { tag: 'stopped' };
  #overSinceMs: number;
  #run: ServerRun | undefined;
  #abort = new AbortController();
  #backoff: Timer | undefined;
  #stopping: Promise<void> | undefined;
  #restarting: Promise<void> | undefined;
  #restartNumber = 0;
  #stopReason: Error | undefined;
  #stopGraceMs = Number.POSITIVE_INFINITY;
  #starts = 0;
  #lastExit: ExitInfo | undefined;
  #lastError: unknown;

  constructor(id: string, config: FullLifecycleConfig, host: ServerHost) {
    this.id = id;
    this.config = config;
    this.#host = host;
    this.#overSinceMs = host.clock.now();
  }

  get process(): ManagedProcess | undefined {
    return this.#run?.process;
  }

  /** True when nothing runs, nothing is going to, and no operation is at work on it. */
  get idle(): boolean {
    return isOver(this.#state) && !this.#mutex.isLocked() && this.#restarting === undefined;
  }

  /** True while something of the last run may be alive. */
  get needsProof(): boolean {
    return this.#run?.proved === false;
  }

  /** Since when it is idle, by the monotonic clock. */
  get overSinceMs(): number {
    return this.#overSinceMs;
  }

  get status(): ServerStatus {
    const run = this.#run;
    const running = run !== undefined && run.process.exitInfo === undefined;
    return {
      ...this.#ref,
      state: this.#state.tag,
      pid: run?.process.pid,
      startedAt: run?.process.startedAt,
      uptimeMs: running ? this.#host.clock.now() - run.startedMs : 0,
      restarts: Math.max(0, this.#starts - 1),
      exitCode: this.#lastExit?.exitCode,
      signal: this.#lastExit?.signal,
      lastError: this.#lastError,
      usage: run?.usage,
      stderr: run?.process.stderrLines() ?? [],
    };
  }

  /** The caller has seen that it is idle. @throws StartError; ServerStoppedError or the reason of a stop meanwhile */
  start(): Promise<void> {
    this.#dispatch({ type: 'start' });
    return this.#attemptNext();
  }

  /** Ends it in whatever state; a restart under way is given up. `reason` is what those waiting for a start get. */
  stop(options: StopOptions = {}, reason: Error = new ServerStoppedError(this.config.name)): Promise<void> {
    this.#restarting = undefined;
    this.#restartNumber++;
    return this.#stop(options, reason);
  }

  /** Stop, then start. One for all who ask while it lasts. */
  restart(options: StopOptions = {}): Promise<void> {
    this.#restarting ??= this.#restart(options);
    return this.#restarting;
  }

  /** Reads what it takes, and notices an exit that gave no event. */
  sample(table: ProcessTable): void {
    this.#run?.sample(table);
  }

  /** Tries again to end what would not; `needsProof` says whether it did. */
  proveAgain(): void {
    this.#run?.end().catch(() => undefined);
  }

  get #ref(): ServerIdentity {
    return { id: this.id, name: this.config.name };
  }

  get #policy(): RestartPolicy {
    const { config } = this;
    return { ...config, delayMs: (attempt) => backoffMs(attempt, config.backoff, this.#host.random) };
  }

  /** Gives the state it is in afterwards. */
  #dispatch(event: ServerEvent): ServerState['tag'] {
    const { clock } = this.#host;
    const before = this.#state;
    this.#state = next(before, event, this.#policy);
    if (this.#state === before) return before.tag;
    if (isOver(this.#state)) this.#overSinceMs = clock.now();
    if (this.#state.tag === 'backingOff') {
      const { attempt, delayMs } = this.#state;
      // Ref'd: a program whose only server is between two runs still has something to do.
      this.#backoff = clock.setTimer(() => this.#restartDue(), delayMs, { ref: true });
      this.#host.emit('restarting', { ...this.#ref, attempt, delayMs });
    }
    return this.#state.tag;
  }

  #restartDue(): void {
    // What goes wrong is in the state and the events by then.
    if (this.#dispatch({ type: 'due' }) === 'starting') this.#attemptNext().catch(() => undefined);
  }

  #attemptNext(): Promise<void> {
    this.#abort = new AbortController();
    this.#stopGraceMs = Number.POSITIVE_INFINITY;
    const { signal } = this.#abort;
    return this.#mutex.runExclusive(() => this.#attempt(signal));
  }

  async #restart(options: StopOptions): Promise<void> {
    const stopped = this.#stop(options, new ServerStoppedError(this.config.name));
    const mine = ++this.#restartNumber;
    try {
      await stopped;
      if (this.#restartNumber !== mine) throw this.#stopReason;
      await this.start();
    } finally {
      if (this.#restartNumber === mine) this.#restarting = undefined;
    }
  }

  async #attempt(signal: AbortSignal): Promise<void> {
    let run: ServerRun | undefined;
    try {
      await within(this.#host.ledger.ready, { clock: this.#host.clock, signal });
      // Never two at once: what is left of the last run goes first.
      await this.#run?.end();
      signal.throwIfAborted();
      run = await this.#spawn(signal);
      const { process } = run;
      await whenReady(process, this.config, {
        clock: this.#host.clock,
        signal,
        trackUser: (promise) => this.#host.trackUser(`the readiness check of ${this.config.name}`, promise),
      });
      await run.recorded;
      signal.throwIfAborted();
      if (process.exitInfo !== undefined) {
        const { exitCode, signal: by } = process.exitInfo;
        throw new NotReady(by === null ? `it exited with code ${exitCode}` : `it exited on ${by}`);
      }
      if (this.config.stdout === 'discard') process.stdout.resume();
      this.#dispatch({ type: 'ready', nowMs: this.#host.clock.now() });
      this.#host.emit('ready', { ...this.#ref, pid: process.pid });
    } catch (error) {
      throw await this.#notStarted(run, error, signal);
    }
  }

  async #spawn(signal: AbortSignal): Promise<ServerRun> {
    const attempt = this.#state.tag === 'starting' ? this.#state.attempt : 0;
    this.#starts++;
    this.#host.emit('starting', { ...this.#ref, attempt });
    const run = await ServerRun.begin(this.config, this.#host, signal);
    const { process } = run;
    this.#run = run;
    process.onStderr((line) => this.#host.emit('stderr', { ...this.#ref, line }));
    process.onExit((info) => this.#exited(run, info));
    this.#host.emit('started', { ...this.#ref, pid: process.pid, startedAt: process.startedAt });
    return run;
  }

  /** Whatever came of the attempt is dead before its failure is reported. Gives the error to throw. */
  async #notStarted(run: ServerRun | undefined, error: unknown, signal: AbortSignal): Promise<unknown> {
    try {
      await run?.end(this.#stopGraceMs);
    } catch (stuck) {
      this.#stuck(stuck);
      return stuck;
    }
    if (signal.aborted) return signal.reason;
    const info = run?.process.exitInfo;
    const detail = { exitCode: info?.exitCode, signal: info?.signal, stderr: run?.process.stderrLines() };
    const failure =
      error instanceof StartError && run === undefined
        ? error
        : new StartError(this.config.name, messageOf(error), detail, error instanceof NotReady ? undefined : error);
    this.#lastError = keptError(failure);
    const state = this.#dispatch({ type: 'down', nowMs: this.#host.clock.now(), clean: false });
    if (state === 'failed') this.#host.emit('failed', { ...this.#ref, error: failure });
    return failure;
  }

  #exited(run: ServerRun, info: ExitInfo): void {
    this.#lastExit = info;
    this.#host.emit('exited', { ...this.#ref, ...info, pid: run.process.pid });
    if (this.#state.tag !== 'ready' || this.#run !== run) return;
    const state = this.#dispatch({ type: 'down', nowMs: this.#host.clock.now(), clean: info.exitCode === 0 });
    const how = info.signal === null ? `exit code ${info.exitCode}` : `signal ${info.signal}`;
    if (state === 'failed')
      this.#lastError = keptError(new StartError(this.config.name, `restarted too often; last ${how}`, info));
    if (state === 'failed') this.#host.emit('failed', { ...this.#ref, error: this.#lastError });
    // What it left behind has lost its server.
    run.end().catch((error: unknown) => this.#stuck(error));
  }

  #stop(options: StopOptions, reason: Error): Promise<void> {
    const graceMs = options.graceMs ?? Number.POSITIVE_INFINITY;
    this.#stopGraceMs = Math.min(this.#stopGraceMs, graceMs);
    this.#stopReason = reason;
    this.#abort.abort(reason);
    this.#backoff?.cancel();
    // At once, not behind whatever holds the mutex: it waits for this very end.
    this.#run?.end(graceMs).catch(() => undefined);
    if (this.#stopping !== undefined) return this.#stopping;
    this.#dispatch({ type: 'stop' });
    const stopping = this.#mutex.runExclusive(async () => {
      try {
        await this.#run?.end(this.#stopGraceMs);
      } catch (error) {
        this.#stuck(error);
        throw error;
      } finally {
        this.#stopping = undefined;
      }
      const stopped = this.#state.tag === 'stopping';
      this.#dispatch({ type: 'dead' });
      if (stopped) this.#host.emit('stopped', this.#ref);
    });
    this.#stopping = stopping;
    return stopping;
  }

  #stuck(error: unknown): void {
    this.#backoff?.cancel();
    this.#lastError = keptError(error);
    this.#dispatch({ type: 'stuck' });
    this.#host.logger.error({ error, server: this.config.name, id: this.id }, 'a server could not be ended');
    this.#host.emit('failed', { ...this.#ref, error });
  }
}
