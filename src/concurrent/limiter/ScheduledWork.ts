import type { Clock } from '../../core/clock.js';
import type { CloseHooks, CloseScope } from '../../core/close/CloseScope.js';
import { ClosedError, ShutdownTimeoutError } from '../../core/errors.js';

/**
 * Users' functions in flight under one close: they are awaited; at the deadline each that still runs is abandoned, and
 * its caller and the close are both told its name.
 */
export class ScheduledWork {
  readonly #clock: Clock;
  readonly #running = new Map<(error: unknown) => void, string>();
  #drained: (() => void) | undefined;
  #closingSinceMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** For the scope that awaits the work. */
  get hooks(): Pick<CloseHooks, 'onDrain' | 'onDeadline'> {
    return {
      onDrain: () => {
        this.#closingSinceMs = this.#clock.now();
        return new Promise((resolve) => {
          if (this.#running.size === 0) resolve();
          else this.#drained = resolve;
        });
      },
      onDeadline: () => {
        const heldMs = Math.round(this.#clock.now() - this.#closingSinceMs);
        for (const [reject, name] of this.#running) reject(new ShutdownTimeoutError(name, heldMs));
      },
    };
  }

  /** Runs `fn` once `admitted` has resolved, and settles as it does. */
  async run<T>(scope: CloseScope, admitted: Promise<void>, fn: () => T | PromiseLike<T>): Promise<T> {
    await admitted;
    if (scope.closing) throw new ClosedError(scope.name);
    const running = Promise.resolve(fn());
    const name = `${scope.name}: ${fn.name || 'a function'}`;
    return new Promise<T>((resolve, reject) => {
      this.#running.set(reject, name);
      const done = (): void => {
        this.#running.delete(reject);
        if (this.#running.size === 0) this.#drained?.();
      };
      void scope.trackUser(name, running);
      void running.then(resolve, reject).then(done);
    });
  }
}
