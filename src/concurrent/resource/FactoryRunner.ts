import type { Timer } from '../../core/clock.js';
import type { CloseScope } from '../../core/close/CloseScope.js';
import { thrown } from '../../core/errors/thrown.js';
import { ClosedError, CreateError, ShutdownTimeoutError } from '../../core/errors.js';
import { backoffMs, fraction } from '../../core/time/backoff.js';
import { Entry } from './LiveSet.js';
import type { DestroyReason, ResourceFactory, Settings } from './options.js';

export interface RunnerHooks<R> {
  /** A creation that was given up on at `sinceMs` has made a resource after all, or has failed. */
  readonly lateMade: (resource: R, sinceMs: number) => void;
  readonly lateFailed: () => void;
  /** The wait after a failed creation is over. */
  readonly retry: () => void;
}

/**
 * Runs the user's functions, each in a microtask of its own and bounded in time. What outlives its bound goes on, but
 * no caller waits for it. After a failed creation comes a wait.
 */
export class FactoryRunner<R> {
  readonly #factory: ResourceFactory<R>;
  readonly #settings: Settings;
  readonly #scope: CloseScope;
  readonly #hooks: RunnerHooks<R>;
  /** What gives up each call that a close does not wait for. */
  readonly #pending = new Set<(error: Error) => void>();
  /** Creations given up on that have not settled, and the errors they were given up with. */
  #late = 0;
  readonly #lateErrors = new WeakSet<Error>();
  #abandoned = false;
  #closed = false;
  #failures = 0;
  #retryAtMs = 0;
  #retry: Timer | undefined;

  constructor(factory: ResourceFactory<R>, settings: Settings, scope: CloseScope, hooks: RunnerHooks<R>) {
    this.#factory = factory;
    this.#settings = settings;
    this.#scope = scope;
    this.#hooks = hooks;
  }

  /** Creations failed in a row. */
  get failures(): number {
    return this.#failures;
  }

  /** Creations given up on that have not settled. */
  get late(): number {
    return this.#late;
  }

  /** Whether a creation that failed with it was given up on, and so goes on. */
  isLate(error: Error): boolean {
    return this.#lateErrors.has(error);
  }

  /** How long no creation may begin, after failures; 0: it may now. */
  get retryInMs(): number {
    return this.#retryAtMs === 0 ? 0 : Math.max(0, this.#retryAtMs - this.#settings.clock.now());
  }

  /** Whether no creation may begin yet; then `retry` is called when it may. `awaited`: until then the process is held. */
  backsOff(awaited: boolean): boolean {
    const waitMs = this.retryInMs;
    if (waitMs === 0) return false;
    this.#retry ??= this.#scope.timer('createBackoff', waitMs, () => {
      this.#retry = undefined;
      this.#hooks.retry();
    });
    if (awaited) this.#retry.ref();
    return true;
  }

  /** Makes one. Rejects with `CreateError`, or with the error of `create` if that is the toolkit's own. */
  async create(): Promise<Entry<R>> {
    const { clock, name, createTimeoutMs, createBackoff, maxLifetimeMs, lifetimeJitterRatio, random } = this.#settings;
    // generic-pool begins some creations a few microtasks after it was asked: the close may have come between.
    if (this.#closed) throw new ClosedError(name);
    const startMs = clock.now();
    const failures = this.#failures;
    try {
      const resource = await this.#run<R>((signal) => this.#factory.create({ signal }), {
        timeoutMs: createTimeoutMs,
        error: () => new CreateError(name, `create took longer than ${createTimeoutMs} ms`),
        late: (running, error) => void this.#awaitLate(running, error),
      });
      this.#failures = 0;
      this.#retryAfter(0);
      const lifeMs = maxLifetimeMs * (1 - lifetimeJitterRatio * fraction(random));
      return new Entry(resource, startMs, clock.now() + lifeMs);
    } catch (error) {
      // Those that began together and fail together count as one failure.
      if (failures === this.#failures) {
        this.#failures++;
        this.#retryAfter(backoffMs(this.#failures, createBackoff, random));
      }
      throw CreateError.of(name, error);
    }
  }

  #retryAfter(waitMs: number): void {
    this.#retry?.cancel();
    this.#retry = undefined;
    this.#retryAtMs = waitMs === 0 ? 0 : this.#settings.clock.now() + waitMs;
  }

  /** Whether the resource is still good; asked once for all who want to know at the same time. Never rejects. */
  validate(entry: Entry<R>): Promise<boolean> {
    const { validateTimeoutMs } = this.#settings;
    entry.checking ??= this.#answer('validate', validateTimeoutMs, (signal) =>
      this.#factory.validate === undefined ? true : this.#factory.validate(entry.resource, { signal }),
    ).then((good) => {
      entry.checking = undefined;
      entry.checkedMs = this.#settings.clock.now();
      return good === true;
    });
    return entry.checking;
  }

  /** Makes a resource fit for its next lease; false when that failed. Never rejects. */
  async reset({ resource }: Entry<R>): Promise<boolean> {
    const done = async (signal: AbortSignal): Promise<true> => {
      await this.#factory.reset?.(resource, { signal });
      return true;
    };
    return (await this.#answer('reset', this.#settings.resetTimeoutMs, done)) === true;
  }

  /** Ends a resource. Resolves to what went wrong, or to undefined; never rejects. */
  async destroy(resource: R, reason: DestroyReason): Promise<unknown> {
    const { name, destroyTimeoutMs, logger } = this.#settings;
    try {
      await this.#run<unknown>((signal) => this.#factory.destroy(resource, { reason, signal }), {
        timeoutMs: destroyTimeoutMs,
        error: () => new ShutdownTimeoutError(`${name}: destroy`, destroyTimeoutMs),
        late: (running) =>
          void running.catch((error: unknown) =>
            logger.error({ error, pool: name }, 'a destroy that took too long has failed in the end'),
          ),
        closeWaits: true,
      });
      return undefined;
    } catch (error) {
      return error ?? new Error('destroy rejected without a reason');
    }
  }

  /** Gives up on every creation, validation and reset under way: they reject with `error` now. */
  giveUp(error: Error): void {
    this.#closed = true;
    for (const giveUp of [...this.#pending]) giveUp(error);
  }

  /** Waits for late creations no longer; gives how many there were. */
  abandonLate(): number {
    const late = this.#late;
    this.#late = 0;
    this.#abandoned = true;
    return late;
  }

  async #awaitLate(running: Promise<R>, givenUp: Error): Promise<void> {
    const { clock, logger, name } = this.#settings;
    const sinceMs = clock.now();
    this.#late++;
    this.#lateErrors.add(givenUp);
    try {
      const resource = await running;
      if (this.#abandoned) this.#destroyUnbounded(resource);
      else {
        this.#late--;
        this.#hooks.lateMade(resource, sinceMs);
      }
    } catch (error) {
      logger.debug({ error, pool: name }, 'a creation that took too long has failed in the end');
      if (this.#abandoned) return;
      this.#late--;
      this.#hooks.lateFailed();
    }
  }

  /** Ends what came after even the close had ended, without a bound, since no timer may be armed then. */
  #destroyUnbounded(resource: R): void {
    const { signal } = new AbortController();
    Promise.resolve()
      .then(() => this.#factory.destroy(resource, { reason: 'closed', signal }))
      .catch((error: unknown) => {
        this.#settings.logger.error({ error, pool: this.#settings.name }, 'destroy failed after the close');
      });
  }

  async #answer(what: string, timeoutMs: number, ask: (signal: AbortSignal) => unknown): Promise<unknown> {
    const { name, logger } = this.#settings;
    const note = (error: unknown): void => logger.debug({ error, pool: name }, `${what} failed`);
    try {
      return await this.#run<unknown>(ask, {
        timeoutMs,
        error: () => new ShutdownTimeoutError(`${name}: ${what}`, timeoutMs),
        late: (running) => void running.catch(note),
      });
    } catch (error) {
      note(error);
      return undefined;
    }
  }

  #run<T>(call: (signal: AbortSignal) => T | PromiseLike<T>, bounds: Bounds<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
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
        bounds.late(running, error);
        reject(error);
        controller.abort(error);
      };
      const timer = this.#settings.clock.setTimer(() => giveUp(bounds.error()), bounds.timeoutMs, { ref: true });
      if (bounds.closeWaits !== true) this.#pending.add(giveUp);
      const running = Promise.resolve().then(() => {
        // Given up on before its turn: it is not begun.
        controller.signal.throwIfAborted();
        return call(controller.signal);
      });
      running.then(
        (value) => void (settle() && resolve(value)),
        (error: unknown) => void (settle() && reject(thrown(error))),
      );
    });
  }
}

/** The bound of one call of a user's function. */
interface Bounds<T> {
  readonly timeoutMs: number;
  /** What the call rejects with when it takes longer. */
  readonly error: () => Error;
  /** Is given the call when it was given up on, by its timeout or by a close. */
  readonly late: (running: Promise<T>, error: Error) => void;
  /** A close waits for it, for as long as its timeout allows. */
  readonly closeWaits?: true;
}
