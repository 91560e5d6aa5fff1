import { type Clock, systemClock } from '../core/clock.js';
import { thrown } from '../core/errors/thrown.js';
import { ClosedError, OptionError } from '../core/errors.js';
import { type Logger, silentLogger } from '../core/logger.js';
import { checkBoolean, checkMs, checkOneOf, checkText, withDefaults } from '../core/options.js';
import { Budget } from './plan/Budget.js';
import { LateSteps } from './plan/LateSteps.js';
import {
  type ForceOptions,
  SHUTDOWN_DEFAULTS,
  SHUTDOWN_STEP_DEFAULTS,
  type ShutdownPlanInspection,
  type ShutdownPlanOptions,
  type StepOptions,
} from './plan/planOptions.js';
import { graceWithin, runBounded } from './plan/runBounded.js';
import { ShutdownReport, type StepReport } from './plan/ShutdownReport.js';
import { type ListenOptions, listenForSignals } from './plan/signals.js';
import {
  checkTarget,
  SHUTDOWN_PHASES,
  type ShutdownContext,
  type ShutdownStage,
  type ShutdownTarget,
  STAGES,
  type Step,
  StepTable,
} from './plan/steps.js';
import { Turns } from './plan/Turns.js';

/** The plan's own step. */
const DELAY = 'propagation delay';

/**
 * How a process ends: named steps, phase after phase, in parallel inside a phase.
 *
 * Every step is attempted, whatever failed before, within its own and the total budget. While a phase runs, some of the
 * total is kept back for the later ones, so that a hanging step cannot starve those that kill children and flush files.
 * The plan never exits the process by itself: only `listen({ exit: true })` does.
 */
export class ShutdownPlan implements AsyncDisposable {
  readonly totalMs: number;
  readonly #clock: Clock;
  readonly #delayMs: number;
  readonly #table = new StepTable();
  readonly #abort = new AbortController();
  readonly #reports: StepReport[] = [];
  readonly #causes: unknown[] = [];
  readonly #running = new Set<Promise<void>>();
  readonly #turns = new Turns();
  readonly #lateSteps = new LateSteps();
  readonly #lastHook = new Map<ShutdownStage, string>();
  #onIdle: () => void = () => undefined;
  #logger: Logger;
  #budget: Budget | undefined;
  #shutdown: Promise<ShutdownReport> | undefined;
  #reason = '';
  #stage = -1;
  #forcedCode: number | undefined;

  constructor(given: ShutdownPlanOptions = {}) {
    const { totalMs, propagationDelayMs } = SHUTDOWN_DEFAULTS;
    const defaults = { totalMs, propagationDelayMs };
    const options = withDefaults('ShutdownPlan', given, defaults, { logger: true, clock: true });
    this.#clock = options.clock ?? systemClock;
    this.#logger = options.logger ?? silentLogger;
    this.totalMs = checkMs('totalMs', options.totalMs, { min: 1 });
    this.#delayMs = checkMs('propagationDelayMs', options.propagationDelayMs);
    if (this.#delayMs >= this.totalMs) {
      throw new OptionError('propagationDelayMs', this.#delayMs, `less than totalMs (${this.totalMs})`);
    }
  }

  /** True from the first moment of shutdown on. */
  get stopping(): boolean {
    return this.#shutdown !== undefined;
  }

  /** The phase that runs; undefined before the shutdown and after it. */
  get phase(): ShutdownStage | undefined {
    return STAGES[this.#stage];
  }

  /** How far it is, for a debug page. */
  inspect(): ShutdownPlanInspection {
    const { stopping, phase, totalMs } = this;
    return { stopping, phase, totalMs, elapsedMs: this.#budget?.elapsedMs, steps: this.#table.list() };
  }

  /** Aborts, with a `ClosedError`, at the first moment of shutdown: for start-up code and endless loops. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /**
   * Adds a step; dispose to take it out again before it begins. During the shutdown a step of a phase that is not over
   * yet still runs. @throws ClosedError for one whose phase is over, and beyond 1,000 of them (100 after the total).
   * @throws OptionError for a name that is taken, and when `after` makes a circle or names a step of a later phase.
   */
  add(name: string, target: ShutdownTarget, given: StepOptions = {}): Disposable {
    const options = withDefaults(`step '${name}'`, given, SHUTDOWN_STEP_DEFAULTS, { graceMs: true, after: true });
    const after = typeof options.after === 'string' ? [options.after] : (options.after ?? []);
    return this.#add({
      name: checkText('name', name),
      target: checkTarget(target),
      stage: checkOneOf('phase', options.phase, SHUTDOWN_PHASES),
      timeoutMs: checkMs('timeoutMs', options.timeoutMs, { infinity: true }),
      graceMs: options.graceMs === undefined ? undefined : checkMs('graceMs', options.graceMs, { infinity: true }),
      after: after.map((each) => checkText('after', each)),
      critical: checkBoolean('critical', options.critical),
      state: 'waiting',
    });
  }

  /** A hook that runs before the first phase; hooks run one after another, in the order they were added. */
  beforeStop(hook: (context: ShutdownContext) => unknown): Disposable {
    return this.#addHook('beforeStop', hook);
  }

  /** A hook that runs after the last phase; hooks run one after another, in the order they were added. */
  afterStop(hook: (context: ShutdownContext) => unknown): Disposable {
    return this.#addHook('afterStop', hook);
  }

  /**
   * Runs the start of the program. When it fails the plan shuts down, with that as the cause; what fails because the
   * shutdown has begun meanwhile is no failure. `run` is given `signal`. Never rejects.
   */
  async start(run: (signal: AbortSignal) => Promise<unknown>): Promise<void> {
    try {
      await run(this.signal);
    } catch (error) {
      if (this.stopping) this.#log('debug', { error }, 'the start was broken off');
      else await this.shutdown('start failed', { cause: error });
    }
  }

  /**
   * Runs the plan; every call gives the same promise. It never rejects: what failed is in the report. `cause` is the
   * error that made this necessary: it joins the report's errors, also when it comes while the shutdown runs.
   */
  shutdown(reason = 'shutdown', options: { readonly cause?: unknown } = {}): Promise<ShutdownReport> {
    if (options.cause !== undefined) this.#causes.push(thrown(options.cause));
    if (this.#shutdown !== undefined) return this.#shutdown;
    let resolve!: (report: ShutdownReport) => void;
    this.#shutdown = new Promise((settle) => {
      resolve = settle;
    });
    const budget = new Budget(this.#clock, this.totalMs);
    this.#budget = budget;
    this.#reason = reason;
    this.#stage = 0;
    this.#log('info', { reason, totalMs: this.totalMs }, 'shutting down');
    for (const name of this.#table.unknownNames())
      this.#log('warn', { after: name }, 'no step of this name to wait for');
    this.#abort.abort(new ClosedError('shutdown plan'));
    void this.#run(budget).then(resolve);
    return this.#shutdown;
  }

  /**
   * Brings the end of the budget to `withinMs` from now: what runs is told to end, what has not begun is still
   * attempted. Begins the shutdown when there is none.
   */
  force(reason: string, options: ForceOptions = {}): Promise<ShutdownReport> {
    const all = withDefaults('force', options, { withinMs: 0, exitCode: 1 }, {});
    const withinMs = checkMs('withinMs', all.withinMs);
    const done = this.shutdown(reason);
    this.#forcedCode ??= all.exitCode;
    if (this.#budget?.force(withinMs)) this.#log('warn', { reason, withinMs }, 'shutdown is forced');
    return done;
  }

  /** Opt-in signal handling; see `ListenOptions`. Dispose to stop listening; it also ends with the shutdown. */
  listen(options: ListenOptions = {}): Disposable {
    return listenForSignals(this, this.#clock, this.#logger, options);
  }

  /** Shuts down, then throws if something critical failed. */
  async [Symbol.asyncDispose](): Promise<void> {
    (await this.shutdown('disposed')).throwIfFailed();
  }

  #addHook(stage: 'beforeStop' | 'afterStop', target: ShutdownTarget): Disposable {
    const previous = this.#lastHook.get(stage);
    const name = `${stage} ${previous === undefined ? 1 : Number(previous.slice(stage.length)) + 1}`;
    const step = { name, target: checkTarget(target), stage, timeoutMs: SHUTDOWN_DEFAULTS.stepTimeoutMs } as const;
    const after = previous === undefined ? [] : [previous];
    const added = this.#add({ ...step, after, graceMs: undefined, critical: true, state: 'waiting' });
    this.#lastHook.set(stage, name);
    return added;
  }

  #add(step: Step): Disposable {
    if (step.name === DELAY) throw new OptionError('name', step.name, 'another name: the plan itself uses this one');
    const place = STAGES.indexOf(step.stage);
    if (place < this.#stage) throw new ClosedError(`phase ${step.stage} of the shutdown plan`);
    const budget = this.#budget;
    if (budget !== undefined) this.#lateSteps.take(budget.over);
    this.#table.add(step);
    // Not at once: the caller has not got its Disposable yet.
    if (place === this.#stage && budget !== undefined) {
      queueMicrotask(() => this.#startReady(step.stage, budget));
    }
    return { [Symbol.dispose]: () => this.#table.remove(step) };
  }

  async #run(budget: Budget): Promise<ShutdownReport> {
    for (; this.#stage < STAGES.length; this.#stage++) {
      const stage = STAGES[this.#stage] as ShutdownStage;
      let delayMs = stage === 'unready' ? this.#delayMs : 0;
      // Nothing is awaited between finding the stage empty and entering the next: no addition falls into a gap.
      for (;;) {
        this.#startReady(stage, budget);
        if (this.#running.size > 0) await this.#idle();
        else if (delayMs > 0) {
          await this.#propagate(delayMs, budget);
          delayMs = 0;
        } else break;
      }
    }
    const report = new ShutdownReport({
      reason: this.#reason,
      ms: budget.elapsedMs,
      totalMs: this.totalMs,
      steps: this.#reports.sort((a, b) => a.startedMs - b.startedMs),
      causes: this.#causes,
      forcedCode: this.#forcedCode,
    });
    const { reason, ms, exitCode, stillRunning, ok } = report;
    const message = `shutdown complete${ok ? '' : ', with failures'}`;
    this.#log(ok ? 'info' : 'error', { reason, ms, exitCode, stillRunning }, message);
    return report;
  }

  /** Resolves when no step runs: each end starts what waited for it. */
  #idle(): Promise<void> {
    return new Promise((resolve) => {
      this.#onIdle = resolve;
    });
  }

  async #propagate(delayMs: number, budget: Budget): Promise<void> {
    const startedMs = budget.elapsedMs;
    await budget.delay(delayMs);
    const ms = budget.elapsedMs - startedMs;
    this.#note({ name: DELAY, phase: 'unready', startedMs, ms, outcome: 'ok', critical: true });
  }

  /** Starts what waits for nothing any more. Called again at each end, each addition and each new turn of the loop. */
  #startReady(stage: ShutdownStage, budget: Budget): void {
    if (this.#turns.over) return;
    for (const step of this.#table.ready(stage)) {
      const nextTurn = this.#turns.take();
      if (nextTurn === undefined) this.#table.begin(step);
      const running = (nextTurn ?? this.#runStep(step, budget)).then(() => {
        this.#running.delete(running);
        this.#startReady(stage, budget);
        if (this.#running.size === 0) this.#onIdle();
      });
      this.#running.add(running);
      if (nextTurn !== undefined) return;
    }
  }

  async #runStep(step: Step, budget: Budget): Promise<void> {
    const { name, target, stage: phase, critical } = step;
    const grace = budget.draw(step.timeoutMs, this.#table.keptBack(step));
    const startedMs = budget.elapsedMs;
    const stepMs = grace.remainingMs;
    const defaultGraceMs = phase === 'drain' ? stepMs * 0.9 : graceWithin(stepMs);
    const result = await runBounded({
      name,
      target,
      reason: this.#reason,
      grace,
      graceMs: Math.min(step.graceMs ?? defaultGraceMs, stepMs),
      onLate: (error) => this.#log('debug', { step: name, error }, 'an abandoned step ended after all'),
    });
    budget.giveBack(grace);
    this.#table.settle(step);
    this.#note({ name, phase, startedMs, ms: budget.elapsedMs - startedMs, critical, ...result });
  }

  #note(step: StepReport): void {
    this.#reports.push(step);
    const { name, phase, ms, outcome, error } = step;
    if (outcome === 'ok') this.#log('debug', { step: name, phase, ms }, 'shutdown step done');
    else this.#log(step.critical ? 'error' : 'warn', { step: name, phase, ms, error }, `shutdown step: ${outcome}`);
  }

  #log(level: 'debug' | 'info' | 'warn' | 'error', fields: object, message: string): void {
    try {
      this.#logger[level](fields, message);
    } catch {
      // A step may have closed the logger. The rest goes on without one: the report has it all.
      this.#logger = silentLogger;
    }
  }
}
