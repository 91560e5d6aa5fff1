import { type Clock, systemClock, type Timer } from '../clock.js';
import { ClosedError, messageOf, ShutdownTimeoutError } from '../errors.js';
import { type Logger, silentLogger } from '../logger.js';
import { checkClock, checkLogger, checkMs, checkNames, checkOptions, type Names } from '../options.js';
import { GracePeriod } from './GracePeriod.js';
import { Unsettled } from './Unsettled.js';

export interface CloseOptions {
  /**
   * How long work in flight may still take, in ms, from 0. 0 fails it at once; `Infinity` waits for it. In a later call
   * it only shortens what is left; left out there, it changes nothing.
   * @defaultValue 5000
   */
  readonly graceMs?: number;
}

export const CLOSE_DEFAULTS = Object.freeze({ graceMs: 5_000 });

/** What can be closed. Every part of the toolkit is one. */
export interface Closeable {
  close(options?: CloseOptions): Promise<void>;
}

const CLOSE_NAMES: Names<CloseOptions> = { graceMs: true };

/** The grace that a close is given, in ms. @throws OptionError */
export function checkClose(options: CloseOptions): number {
  checkNames('close', options, CLOSE_NAMES);
  return checkMs('graceMs', options.graceMs ?? CLOSE_DEFAULTS.graceMs, { infinity: true });
}

export interface CloseHooks {
  readonly clock?: Clock;
  readonly logger?: Logger;
  /** Called in the first `close()` itself: waiting callers are rejected here. */
  readonly onRefuse?: () => void;
  /**
   * Resolves when nothing is in flight any more, for a part whose hot path counts its work instead of tracking each
   * promise. Asked once, when closing begins; after `onDeadline` it is waited for no longer.
   */
  readonly onDrain?: () => Promise<void>;
  /** Called once if anything is in flight at the deadline, without a grace in the `close()` itself: it is failed here. */
  readonly onDeadline?: () => void;
  /** Called when the work is over or failed: connections, children, files end here. Bounded by the part itself. */
  readonly onRelease?: (grace: GracePeriod) => void | Promise<void>;
}

/**
 * The close contract, once for every part.
 *
 * `close()` gives every caller the same promise, set before anything can re-enter; a later call may only shorten the
 * deadline. At once, timers are disarmed and waiters refused. Then what is in flight gets the grace. At its end the
 * part fails its own work (`onDeadline`), which must then settle, and abandons users' functions, each named. Then the
 * part lets go of what it holds (`onRelease` and everything given to `own`, in parallel). All of it is attempted
 * whatever failed before; what failed is joined in one `AggregateError`. `close()` may be called from inside any of
 * this; only the part's own work must not await it there, since that would be waiting for itself.
 */
export class CloseScope {
  readonly name: string;
  readonly clock: Clock;
  readonly #hooks: CloseHooks;
  readonly #logger: Logger;
  readonly #own = new Unsettled();
  // Each of these promises resolves, never rejects, and has left its collection by then.
  /** Waited for until the deadline only: users' functions, each with its name, and the drain, which has none. */
  readonly #user = new Map<Promise<void>, string | undefined>();
  readonly #timers = new Set<Timer>();
  readonly #owned = new Map<Closeable, { readonly name: string }>();
  readonly #errors: unknown[] = [];
  #grace: GracePeriod | undefined;
  #closing: Promise<void> | undefined;
  /** Set when letting go begins: what is given to `own` later is closed on the spot. */
  #releasing: GracePeriod | undefined;
  #overdue = false;
  #closed = false;

  constructor(name: string, hooks: CloseHooks = {}) {
    this.name = name;
    const { clock, logger } = checkOptions('CloseScope', hooks);
    this.clock = clock === undefined ? systemClock : checkClock('clock', clock);
    this.#hooks = hooks;
    this.#logger = logger === undefined ? silentLogger : checkLogger('logger', logger);
  }

  /** True from the first `close()` on. */
  get closing(): boolean {
    return this.#closing !== undefined;
  }

  /** True once nothing of the part lives. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Promises in flight, timers armed and parts owned: 0 after close. */
  get size(): number {
    return this.#own.size + this.#user.size + this.#timers.size + this.#owned.size;
  }

  /** Throws `ClosedError` once closing, and the reason of a caller's signal that has aborted. */
  assertOpen(signal?: AbortSignal): void {
    signal?.throwIfAborted();
    if (this.#closing !== undefined) throw new ClosedError(this.name);
  }

  /**
   * Work of our own: `close` awaits it. It must settle by itself, after `onDeadline` at the latest; what begins in
   * `onRelease` is not told of a deadline again. A rejection is the caller's to handle: here it counts as handled.
   */
  track<T>(promise: Promise<T>): Promise<T> {
    this.#own.add(promise);
    return promise;
  }

  /** A user's function: `close` awaits it until the deadline, then abandons it and reports it as `name`. */
  trackUser<T>(name: string, promise: Promise<T>): Promise<T> {
    this.#await(promise, name);
    return promise;
  }

  /**
   * A part that was made here and ends here: it is closed with the grace that is left. Dispose to give it up. One that
   * comes when the others are already being let go is closed at once.
   */
  own(name: string, part: Closeable): Disposable {
    const entry = { name };
    if (this.#releasing !== undefined) void this.track(this.#closeOwned(part, name, this.#releasing));
    else this.#owned.set(part, entry);
    return { [Symbol.dispose]: () => void (this.#owned.get(part) === entry && this.#owned.delete(part)) };
  }

  /** A background timer, unref'd, once. Disarmed by close. What it throws or rejects with goes to the logger. */
  timer(name: string, delayMs: number, callback: () => void): Timer {
    this.assertOpen();
    const timer = this.clock.setTimer(() => {
      this.#timers.delete(scoped);
      void this.#run(name, callback);
    }, delayMs);
    const cancel = (): void => {
      timer.cancel();
      this.#timers.delete(scoped);
    };
    const scoped: Timer = { cancel, ref: () => timer.ref(), unref: () => timer.unref(), [Symbol.dispose]: cancel };
    this.#timers.add(scoped);
    return scoped;
  }

  /** Background work every `everyMs` from the end of one run to the start of the next; a run in flight is awaited. */
  every(name: string, everyMs: number, run: () => void | Promise<void>): Disposable {
    let timer: Timer | undefined;
    let stopped = false;
    const arm = (): void => {
      if (!stopped && !this.closing) timer = this.timer(name, everyMs, tick);
    };
    const tick = (): void => {
      const running = this.#run(name, run);
      if (running === undefined) arm();
      else void running.then(arm);
    };
    arm();
    return {
      [Symbol.dispose]: () => {
        stopped = true;
        timer?.cancel();
      },
    };
  }

  /**
   * Ends the part. Resolves when nothing of it lives; rejects with `AggregateError` naming what did not end, after
   * everything was attempted. @throws OptionError (as a rejection of its own) for a bad `graceMs`, which changes nothing.
   */
  close(options: CloseOptions = {}): Promise<void> {
    let graceMs: number;
    try {
      graceMs = checkClose(options);
    } catch (error) {
      return Promise.reject(error);
    }
    if (this.#closing !== undefined) {
      // One that says nothing, as `await using` does, leaves the deadline as it stands.
      if (options.graceMs !== undefined) this.#attempt(() => this.#grace?.shorten(graceMs));
      return this.#closing;
    }
    const grace = new GracePeriod(this.clock, graceMs);
    this.#grace = grace;
    this.#closing = Promise.resolve().then(() => this.#end(grace));
    for (const timer of [...this.#timers]) timer.cancel();
    this.#attempt(this.#hooks.onRefuse);
    this.#attempt(() => this.#askDrain());
    if (grace.remainingMs === 0) this.#deadline();
    return this.#closing;
  }

  async #end(grace: GracePeriod): Promise<void> {
    // What has settled by now leaves first: without any grace it would be named as work in flight.
    await undefined;
    while (this.#inFlight > 0 && grace.remainingMs > 0) await this.#settledOrOver(grace);
    // Judged in the same turn as the loop's end: work that comes a microtask later is not failed before its time.
    this.#deadline();
    this.#abandon(grace);
    while (this.#own.size > 0) await this.#own.over();
    this.#releasing = grace;
    this.#attempt(() => this.#hooks.onRelease?.(grace));
    for (const [part, { name }] of this.#owned) void this.track(this.#closeOwned(part, name, grace));
    this.#owned.clear();
    while (this.#inFlight > 0) {
      if (grace.remainingMs === 0) this.#abandon(grace);
      await this.#settledOrOver(grace);
    }
    grace[Symbol.dispose]();
    this.#closed = true;
    const { length } = this.#errors;
    if (length === 0) return;
    const why = this.#errors.map(messageOf).join('; ');
    throw new AggregateError([...this.#errors], `${this.name}: close left ${length} failure(s): ${why}`);
  }

  get #inFlight(): number {
    return this.#own.size + this.#user.size;
  }

  /** Until what is in flight has settled, or the grace is over, whichever is first; once it is over, the former. */
  #settledOrOver(grace: GracePeriod): Promise<unknown> {
    const settled = Promise.all([this.#own.over(), ...this.#user.keys()]);
    return grace.remainingMs > 0 ? Promise.race([grace.over, settled]) : settled;
  }

  #await(promise: Promise<unknown>, name?: string): void {
    const done = (): void => void this.#user.delete(settled);
    const settled = promise.then(done, done);
    this.#user.set(settled, name);
  }

  #askDrain(): void {
    const drained = this.#hooks.onDrain?.();
    drained?.catch((error: unknown) => this.#fail(error));
    if (drained !== undefined) this.#await(drained);
  }

  #deadline(): void {
    if (this.#overdue || this.#inFlight === 0) return;
    this.#overdue = true;
    this.#attempt(this.#hooks.onDeadline);
  }

  /** Names each user's function that has outlived the grace, and waits for none any longer. */
  #abandon(grace: GracePeriod): void {
    for (const name of this.#user.values()) {
      if (name !== undefined) this.#fail(new ShutdownTimeoutError(name, grace.totalMs));
    }
    this.#user.clear();
  }

  async #closeOwned(part: Closeable, name: string, grace: GracePeriod): Promise<void> {
    const close = async (graceMs: number): Promise<void> => part.close({ graceMs });
    // It gives the same promise again: the first call below has its failure.
    const told = grace.onShorten((graceMs) => void close(graceMs).catch(() => undefined));
    try {
      await close(grace.remainingMs);
    } catch (error) {
      this.#fail(error);
      this.#logger.error({ error, part: this.name, owned: name }, 'an owned part did not close cleanly');
    } finally {
      told[Symbol.dispose]();
    }
  }

  /** Adds a failure, once: an aggregate's own errors, so that a tree of parts reports one flat list. */
  #fail(error: unknown): void {
    const each: readonly unknown[] =
      error instanceof AggregateError && error.errors.length > 0 ? error.errors : [error];
    for (const one of each) if (!(one instanceof Error && this.#errors.includes(one))) this.#errors.push(one);
  }

  #attempt(hook: (() => unknown) | undefined): void {
    try {
      const result = hook?.();
      if (!(result instanceof Promise)) return;
      result.catch((error: unknown) => this.#fail(error));
      void this.track(result);
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Runs background work. The promise it gives, if any, is tracked and does not reject. */
  #run(name: string, run: () => unknown): Promise<void> | undefined {
    const failed = (error: unknown): void =>
      this.#logger.error({ error, part: this.name, timer: name }, 'a background run failed');
    try {
      const result = run();
      if (result instanceof Promise) return this.track(result.then(() => undefined, failed));
    } catch (error) {
      failed(error);
    }
    return undefined;
  }
}
