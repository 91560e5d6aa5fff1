import { type Clock, systemClock, type Timer } from './clock.js';
import { ClosedError, ShutdownTimeoutError } from './errors.js';
import { Grace } from './Grace.js';
import { type Logger, silentLogger } from './logger.js';
import { checkMs } from './options.js';

export interface CloseOptions {
  /**
   * How long work in flight may still take, in ms, from 0. 0 fails it at once; `Infinity` waits for it.
   * @defaultValue 5000
   */
  readonly graceMs?: number;
}

export const CLOSE_DEFAULTS = Object.freeze({ graceMs: 5_000 });

/** What can be closed. Every part of the toolkit is one. */
export interface Closeable {
  close(options?: CloseOptions): Promise<void>;
}

export interface CloseHooks {
  readonly clock?: Clock;
  readonly logger?: Logger;
  /** Called in the first `close()` itself: waiting callers are rejected here. */
  readonly onRefuse?: () => void;
  /**
   * Resolves when nothing is in flight any more, for a part whose hot path counts its work instead of tracking each
   * promise. Asked once, when closing begins.
   */
  readonly onDrain?: () => Promise<void>;
  /** Called once if work is still in flight at the deadline: it is failed here, with the error that tells the truth. */
  readonly onDeadline?: () => void;
  /** Called when the work is over or failed: connections, children, files end here. Bounded by the part itself. */
  readonly onRelease?: (grace: Grace) => void | Promise<void>;
}

/**
 * The close contract, once for every part.
 *
 * `close()` gives every caller the same promise, set before anything can re-enter; a later call may only shorten the
 * deadline. At once, timers are disarmed and waiters refused. Then what is in flight gets the grace. At its end the
 * part fails its own work (`onDeadline`), which must then settle, and abandons users' functions, each named. Then the
 * part lets go of what it holds (`onRelease` and everything given to `own`, in parallel). All of it is attempted
 * whatever failed before; what failed is joined in one `AggregateError`.
 */
export class CloseScope {
  readonly name: string;
  readonly clock: Clock;
  readonly #hooks: CloseHooks;
  readonly #logger: Logger;
  readonly #own = new Set<Promise<unknown>>();
  readonly #user = new Map<Promise<unknown>, string>();
  readonly #timers = new Set<Timer>();
  readonly #owned = new Map<Closeable, string>();
  #grace: Grace | undefined;
  #closing: Promise<void> | undefined;
  #closed = false;

  constructor(name: string, hooks: CloseHooks = {}) {
    this.name = name;
    this.clock = hooks.clock ?? systemClock;
    this.#hooks = hooks;
    this.#logger = hooks.logger ?? silentLogger;
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

  /** Throws `ClosedError` once closing. */
  assertOpen(): void {
    if (this.#closing !== undefined) throw new ClosedError(this.name);
  }

  /** Work of our own: `close` awaits it. It must settle by itself, after `onDeadline` at the latest. */
  track<T>(promise: Promise<T>): Promise<T> {
    this.#own.add(promise);
    const done = (): void => void this.#own.delete(promise);
    promise.then(done, done);
    return promise;
  }

  /** A user's function: `close` awaits it until the deadline, then abandons it and reports it as `name`. */
  trackUser<T>(name: string, promise: Promise<T>): Promise<T> {
    this.#user.set(promise, name);
    const done = (): void => void this.#user.delete(promise);
    promise.then(done, done);
    return promise;
  }

  /** A part that was made here and ends here: it is closed with the grace that is left. Dispose to give it up. */
  own(name: string, part: Closeable): Disposable {
    this.#owned.set(part, name);
    return { [Symbol.dispose]: () => void this.#owned.delete(part) };
  }

  /** A background timer, unref'd, once. Disarmed by close. What it throws goes to the logger. */
  timer(name: string, delayMs: number, callback: () => void): Timer {
    this.assertOpen();
    const timer = this.clock.setTimer(() => {
      this.#timers.delete(scoped);
      this.#guard(name, callback);
    }, delayMs);
    const cancel = (): void => {
      timer.cancel();
      this.#timers.delete(scoped);
    };
    const scoped: Timer = {
      cancel,
      ref: () => timer.ref(),
      unref: () => timer.unref(),
      [Symbol.dispose]: cancel,
    };
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
      let result: unknown;
      try {
        result = run();
      } catch (error) {
        this.#logger.error({ error, part: this.name, timer: name }, 'a background run failed');
      }
      if (!(result instanceof Promise)) {
        arm();
        return;
      }
      const logged = result.catch((error: unknown) =>
        this.#logger.error({ error, part: this.name, timer: name }, 'a background run failed'),
      );
      this.track(logged.then(arm));
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
   * everything was attempted. @throws OptionError (as a rejection) for a bad `graceMs`; nothing has begun then.
   */
  close(options: CloseOptions = {}): Promise<void> {
    const graceMs = options.graceMs ?? CLOSE_DEFAULTS.graceMs;
    try {
      checkMs('graceMs', graceMs, { infinity: true });
    } catch (error) {
      return Promise.reject(error);
    }
    if (this.#closing !== undefined) {
      this.#grace?.shorten(graceMs);
      return this.#closing;
    }
    let settle!: { resolve: () => void; reject: (error: unknown) => void };
    this.#closing = new Promise<void>((resolve, reject) => {
      settle = { resolve, reject };
    });
    const grace = new Grace(this.clock, graceMs);
    this.#grace = grace;
    const errors: unknown[] = [];
    for (const timer of [...this.#timers]) timer.cancel();
    this.#attempt(errors, this.#hooks.onRefuse);
    void this.#end(grace, errors).then(() => {
      grace[Symbol.dispose]();
      this.#closed = true;
      if (errors.length === 0) settle.resolve();
      else settle.reject(new AggregateError(errors, `${this.name}: close left ${errors.length} failure(s)`));
    });
    return this.#closing;
  }

  /** Never rejects: what fails is added to `errors`. */
  async #end(grace: Grace, errors: unknown[]): Promise<void> {
    let over = grace.remainingMs === 0;
    void grace.over.then(() => {
      over = true;
    });
    let drained = this.#hooks.onDrain === undefined;
    const drain = Promise.resolve(this.#hooks.onDrain?.()).then(() => {
      drained = true;
    });
    while (!over && (!drained || this.#own.size + this.#user.size > 0)) {
      await Promise.race([grace.over, Promise.allSettled([drain, ...this.#own, ...this.#user.keys()])]);
    }
    if (!drained || this.#own.size > 0) this.#attempt(errors, this.#hooks.onDeadline);
    for (const name of this.#user.values()) errors.push(new ShutdownTimeoutError(name, grace.totalMs));
    this.#user.clear();
    while (this.#own.size > 0) await Promise.allSettled([...this.#own]);
    await Promise.all([
      this.#release(grace, errors),
      ...[...this.#owned].map((each) => this.#closeOwned(each, grace, errors)),
    ]);
    this.#owned.clear();
    while (this.#own.size > 0) await Promise.allSettled([...this.#own]);
  }

  async #release(grace: Grace, errors: unknown[]): Promise<void> {
    try {
      await this.#hooks.onRelease?.(grace);
    } catch (error) {
      errors.push(...flatten(error));
    }
  }

  async #closeOwned([part, name]: [Closeable, string], grace: Grace, errors: unknown[]): Promise<void> {
    const shortened = grace.onShorten((graceMs) => void part.close({ graceMs }).catch(() => undefined));
    try {
      await part.close({ graceMs: grace.remainingMs });
    } catch (error) {
      this.#logger.error({ error, part: this.name, owned: name }, 'an owned part did not close cleanly');
      errors.push(...flatten(error));
    } finally {
      shortened[Symbol.dispose]();
    }
  }

  #attempt(errors: unknown[], hook: (() => void) | undefined): void {
    try {
      hook?.();
    } catch (error) {
      errors.push(error);
    }
  }

  #guard(name: string, callback: () => void): void {
    try {
      callback();
    } catch (error) {
      this.#logger.error({ error, part: this.name, timer: name }, 'a timer callback threw');
    }
  }
}

/** An aggregate's own errors, so that a tree of parts reports one flat list. */
function flatten(error: unknown): readonly unknown[] {
  return error instanceof AggregateError ? error.errors : [error];
}
