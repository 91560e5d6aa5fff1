import type { Clock, Timer } from '../../core/clock.js';
import { thrown } from '../../core/errors/thrown.js';
import { OutcomeUnknownError } from '../../core/errors.js';
import { within } from '../../core/time/within.js';
import { AbortHub } from '../../core/wait/AbortHub.js';
import type { AbortEntry, AbortGroup } from '../../core/wait/Cancellation.js';
import type { CallOrigin } from './MiddlewareChain.js';

/** How long a call that was sent may still take to say how it ended, once it was given up, in ms. */
const SETTLE_MS = 1_000;

const waits = new AbortHub();

type Of = Pick<CallOrigin, 'server' | 'method'>;

/** Calls that are with middleware: whatever that does, each settles once its caller gives it up, or its pool is closed. */
export class ChainRuns {
  readonly clock: Clock;
  readonly #runs = new Set<Run>();
  #onIdle: (() => void) | undefined;

  constructor(clock: Clock) {
    this.clock = clock;
  }

  /** Runs `work`, which says when it sends the call. Settles as it does, or by the abort of `signal`. */
  run<T>(of: Of, signal: AbortSignal | undefined, work: (sent: () => void) => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const run = new Run(of, this.clock, (error) => {
        this.#over(run);
        reject(error);
      });
      this.#runs.add(run);
      if (signal !== undefined) run.obey(signal);
      const done = (settle: () => void): void => {
        if (this.#over(run)) settle();
      };
      work(() => run.sent()).then(
        (result) => done(() => resolve(result)),
        (error: unknown) => done(() => reject(error)),
      );
    });
  }

  /** Resolves when none is left: those that are after `graceMs` fail with `error`, or with what is known of them. */
  async close(error: Error, graceMs: number): Promise<void> {
    if (this.#runs.size === 0) return;
    const idle = new Promise<void>((resolve) => {
      this.#onIdle = resolve;
    });
    await within(idle, { clock: this.clock, timeoutMs: graceMs }).catch(() => undefined); // the rest is failed now
    for (const run of [...this.#runs]) run.onAbort(error);
    await idle;
  }

  /** False when it was over already. */
  #over(run: Run): boolean {
    if (!this.#runs.delete(run)) return false;
    run.end();
    if (this.#runs.size === 0) this.#onIdle?.();
    return true;
  }
}

class Run implements AbortEntry {
  readonly #of: Of;
  readonly #clock: Clock;
  readonly #fail: (error: unknown) => void;
  #sent = false;
  #watched: AbortGroup | undefined;
  #timer: Timer | undefined;

  constructor(of: Of, clock: Clock, fail: (error: unknown) => void) {
    this.#of = of;
    this.#clock = clock;
    this.#fail = fail;
  }

  sent(): void {
    this.#sent = true;
  }

  obey(signal: AbortSignal): void {
    if (signal.aborted) this.onAbort(thrown(signal.reason));
    else this.#watched = waits.join(signal, this);
  }

  /** One that was sent has heard of it, too, and says how it ended, unless its middleware keeps that to itself. */
  onAbort(reason: unknown): void {
    if (!this.#sent) this.#fail(reason);
    else this.#timer ??= this.#clock.setTimer(() => this.#fail(this.#unknown(reason)), SETTLE_MS);
  }

  end(): void {
    this.#watched?.leave(this);
    this.#timer?.cancel();
  }

  #unknown(cause: unknown): Error {
    const { server = 'gateway', method } = this.#of;
    return new OutcomeUnknownError(server, method, 'the middleware around it did not end', { cause });
  }
}
