import { ClosedError, ShutdownTimeoutError } from '../../core/errors.js';
import { CreateError } from './errors.js';
import { Entry } from './LiveSet.js';
import type { Settings } from './options.js';
import type { DestroyReason, ResourceFactory } from './types.js';

export interface WorkshopHooks<R> {
  /** A destruction is over. */
  readonly destroyed: (entry: Entry<R>, reason: DestroyReason, error: unknown) => void;
  /** A place that a late creation or a destruction held is free. */
  readonly seatFree: () => void;
}

/**
 * Runs the user's functions, each bounded in time, each in a microtask of its own. A creation that outlives its bound
 * fails for those who wait and goes on as `late`: it holds its seat until it settles and what it made is destroyed.
 */
export class Workshop<R> {
  readonly #factory: ResourceFactory<R>;
  readonly #settings: Settings;
  readonly #hooks: WorkshopHooks<R>;
  /** What gives up each creation or validation that somebody still waits for. */
  readonly #pending = new Set<(error: Error) => void>();
  /** What went wrong since the close began. */
  readonly #failures: unknown[] = [];
  #late = 0;
  #dying = 0;
  #idle: (() => void) | undefined;
  #closing = false;
  #abandoned = false;

  constructor(factory: ResourceFactory<R>, settings: Settings, hooks: WorkshopHooks<R>) {
    this.#factory = factory;
    this.#settings = settings;
    this.#hooks = hooks;
  }

  /** Creations given up on that have not settled. */
  get late(): number {
    return this.#late;
  }

  /** Destructions under way. */
  get dying(): number {
    return this.#dying;
  }

  /** Makes one. Rejects with `CreateError`, or with the error of `create` if that is the toolkit's own. */
  create(): Promise<Entry<R>> {
    const { clock, name, createTimeoutMs, maxLifetimeMs, lifetimeJitterRatio, random } = this.#settings;
    // generic-pool begins some creations a few microtasks after it was asked: the close may have come between.
    if (this.#closing) return Promise.reject(new ClosedError(name));
    const startMs = clock.now();
    const made = (resource: R): Entry<R> => {
      const lifeMs = maxLifetimeMs * (1 - lifetimeJitterRatio * random());
      return new Entry(resource, startMs, clock.now() + lifeMs);
    };
    return this.#bounded<R, Entry<R>>({
      run: (signal) => this.#factory.create({ signal }),
      timeoutMs: createTimeoutMs,
      timeoutError: () => new CreateError(name, `create took longer than ${createTimeoutMs} ms`),
      done: made,
      failed: (error) => CreateError.of(name, error),
      givenUp: () => {
        this.#late++;
      },
      lateDone: (resource) => {
        if (this.#abandoned) {
          this.#endUnseen(resource);
          return;
        }
        this.#late--;
        this.destroy(made(resource), this.#closing ? 'closed' : 'late');
      },
      lateFailed: (error) => {
        if (!this.#abandoned) this.#late--;
        this.#settings.logger.debug({ error, pool: name }, 'a creation that took too long has failed in the end');
        this.#seatFree();
      },
    });
  }

  /** Whether the resource is still good. Never rejects. */
  async validate(entry: Entry<R>): Promise<boolean> {
    const { name, validateTimeoutMs, logger } = this.#settings;
    const note = (error: unknown): void => logger.debug({ error, pool: name }, 'validate failed');
    try {
      return await this.#bounded<boolean, boolean>({
        run: (signal) => this.#factory.validate?.(entry.resource, { signal }) ?? true,
        timeoutMs: validateTimeoutMs,
        timeoutError: () => new ShutdownTimeoutError(`${name}: validate`, validateTimeoutMs),
        done: (good) => good === true,
        failed: (error) => error,
        givenUp: () => undefined,
        lateDone: () => undefined,
        lateFailed: note,
      });
    } catch (error) {
      note(error);
      return false;
    }
  }

  /** Begins the end of a resource; once for each. */
  destroy(entry: Entry<R>, reason: DestroyReason): void {
    if (entry.state === 'gone') return;
    entry.state = 'gone';
    this.#dying++;
    const { name, destroyTimeoutMs, logger } = this.#settings;
    const over = (error?: unknown): void => {
      if (error !== undefined && this.#closing) this.#failures.push(error);
      this.#dying--;
      this.#hooks.destroyed(entry, reason, error);
      this.#seatFree();
    };
    this.#bounded<unknown, void>({
      run: (signal) => this.#factory.destroy(entry.resource, { reason, signal }),
      timeoutMs: destroyTimeoutMs,
      timeoutError: () => new ShutdownTimeoutError(`${name}: destroy`, destroyTimeoutMs),
      done: () => undefined,
      failed: (error) => error ?? new Error('destroy rejected without a reason'),
      givenUp: () => undefined,
      lateDone: () => undefined,
      lateFailed: (error) => logger.error({ error, pool: name }, 'a destroy that took too long has failed in the end'),
      unbroken: true,
    }).then(over, over);
  }

  /** Gives up on every creation and validation under way: they reject with `error` now. */
  giveUp(error: Error): void {
    this.#closing = true;
    for (const giveUp of [...this.#pending]) giveUp(error);
  }

  /**
   * Resolves to what went wrong since `giveUp`, when nothing of the workshop is left: destructions are bounded by
   * themselves; late creations get `destroyTimeoutMs` more, then they are abandoned and named.
   */
  async finish(): Promise<readonly unknown[]> {
    const { clock, name, destroyTimeoutMs } = this.#settings;
    const timer = clock.setTimer(
      () => {
        for (; this.#late > 0; this.#late--) {
          this.#failures.push(new ShutdownTimeoutError(`${name}: create`, destroyTimeoutMs));
        }
        this.#abandoned = true;
        this.#seatFree();
      },
      destroyTimeoutMs,
      { ref: true },
    );
    while (this.#late + this.#dying > 0) {
      await new Promise<void>((resolve) => {
        this.#idle = resolve;
      });
    }
    timer.cancel();
    return this.#failures;
  }

  /** What came after even the close had ended: destroyed all the same, without a bound, since nothing may be armed. */
  #endUnseen(resource: R): void {
    const { signal } = new AbortController();
    Promise.resolve()
      .then(() => this.#factory.destroy(resource, { reason: 'closed', signal }))
      .catch((error: unknown) => {
        this.#settings.logger.error({ error, pool: this.#settings.name }, 'destroy failed after the close');
      });
  }

  #seatFree(): void {
    if (this.#late + this.#dying === 0) this.#idle?.();
    this.#hooks.seatFree();
  }

  #bounded<T, U>(job: Job<T, U>): Promise<U> {
    const { clock } = this.#settings;
    return new Promise<U>((resolve, reject) => {
      const controller = new AbortController();
      let waiting = true;
      const settle = (): boolean => {
        const first = waiting;
        waiting = false;
        timer.cancel();
        this.#pending.delete(giveUp);
        return first;
      };
      const giveUp = (error: Error): void => {
        settle();
        job.givenUp();
        reject(error);
        controller.abort(error);
      };
      const timer = clock.setTimer(() => giveUp(job.timeoutError()), job.timeoutMs, { ref: true });
      if (job.unbroken !== true) this.#pending.add(giveUp);
      Promise.resolve()
        .then(() => {
          // Given up on before its turn: it is not begun.
          controller.signal.throwIfAborted();
          return job.run(controller.signal);
        })
        .then(
          (value) => (settle() ? resolve(job.done(value)) : job.lateDone(value)),
          (error: unknown) => (settle() ? reject(job.failed(error)) : job.lateFailed(error)),
        );
    });
  }
}

/** A function of the user's, with a bound. `late…` is for what comes after the wait for it was given up. */
interface Job<T, U> {
  readonly run: (signal: AbortSignal) => T | PromiseLike<T>;
  readonly timeoutMs: number;
  readonly timeoutError: () => Error;
  readonly done: (value: T) => U;
  readonly failed: (error: unknown) => unknown;
  readonly givenUp: () => void;
  readonly lateDone: (value: T) => void;
  readonly lateFailed: (error: unknown) => void;
  /** Not given up on by a close. */
  readonly unbroken?: true;
}
