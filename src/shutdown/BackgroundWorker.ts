import type { Clock, Timer } from '../core/clock.js';
import { type Closeable, type CloseOptions, CloseScope } from '../core/close/CloseScope.js';
import { tellListener } from '../core/events.js';
import { type Logger, silentLogger } from '../core/logger.js';
import { checkBoolean, checkFunction, checkMs, checkText, withDefaults } from '../core/options.js';

export interface BackgroundWorkerOptions {
  /** One run. The signal aborts when the worker is stopped and the time for finishing is over. */
  readonly run: (context: { readonly signal: AbortSignal }) => unknown;
  /** From the end of one run to the start of the next, in ms. */
  readonly intervalMs: number;
  /** Whether `start` runs at once instead of after the first interval. @defaultValue false */
  readonly runImmediately?: boolean;
  /** Gets what a run threw; the next run comes all the same. @defaultValue the logger gets it */
  readonly onError?: (error: unknown) => void;
  /** How errors and logs name it. @defaultValue 'worker' */
  readonly name?: string;
  /** Measures time and arms timers; a `FakeClock` in tests. @defaultValue the system's clock */
  readonly clock?: Clock;
  /** Where it logs; anything with pino's methods. @defaultValue a logger that is silent */
  readonly logger?: Logger;
}

/** What `inspect()` gives. */
export interface BackgroundWorkerInspection {
  readonly name: string;
  readonly started: boolean;
  readonly running: boolean;
  /** Runs that have begun. */
  readonly runs: number;
  readonly intervalMs: number;
  readonly closing: boolean;
}

/** Work that is done again and again, one run at a time. Its timer does not hold the process open. */
export class BackgroundWorker implements Closeable, AsyncDisposable {
  readonly name: string;
  readonly #run: BackgroundWorkerOptions['run'];
  readonly #intervalMs: number;
  readonly #runImmediately: boolean;
  readonly #onError: (error: unknown) => void;
  readonly #logger: Logger;
  readonly #scope: CloseScope;
  readonly #abort = new AbortController();
  #timer: Timer | undefined;
  #started = false;
  #running = false;
  #runs = 0;

  constructor(given: BackgroundWorkerOptions) {
    const options = withDefaults(
      'BackgroundWorker',
      given,
      { name: 'worker', runImmediately: false },
      { run: true, intervalMs: true, onError: true, clock: true, logger: true },
    );
    this.name = checkText('name', options.name);
    this.#run = checkFunction('run', options.run);
    this.#intervalMs = checkMs('intervalMs', options.intervalMs);
    this.#runImmediately = checkBoolean('runImmediately', options.runImmediately);
    this.#logger = options.logger ?? silentLogger;
    const log = (error: unknown): void => this.#logger.error({ error, worker: this.name }, 'a run failed');
    this.#onError = options.onError === undefined ? log : checkFunction('onError', options.onError);
    this.#scope = new CloseScope(this.name, {
      logger: this.#logger,
      ...(options.clock && { clock: options.clock }),
      onRelease: () => this.#abort.abort(),
    });
  }

  /** Whether a run is under way. */
  get running(): boolean {
    return this.#running;
  }

  /** Runs that have begun. */
  get runs(): number {
    return this.#runs;
  }

  /** What it does and has done, as one plain object. */
  inspect(): BackgroundWorkerInspection {
    const { name, running, runs } = this;
    const { closing } = this.#scope;
    return { name, started: this.#started, running, runs, intervalMs: this.#intervalMs, closing };
  }

  /** Begins; a second call does nothing. @throws ClosedError once stopped. */
  start(): void {
    this.#scope.assertOpen();
    if (this.#started) return;
    this.#started = true;
    if (this.#runImmediately) this.#tick();
    else this.#arm();
  }

  /**
   * No further run; resolves when the current one is over. Rejects with an `AggregateError` holding a
   * `ShutdownTimeoutError` when that takes longer than `timeoutMs` (default 5000). Every call gives the same promise.
   */
  stop(options: { readonly timeoutMs?: number } = {}): Promise<void> {
    return this.close(options.timeoutMs === undefined ? {} : { graceMs: options.timeoutMs });
  }

  /** `stop`, as every part calls it. */
  close(options?: CloseOptions): Promise<void> {
    return this.#scope.close(options);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #arm(): void {
    if (!this.#scope.closing) this.#timer = this.#scope.timer(this.name, this.#intervalMs, () => this.#tick());
  }

  #tick(): void {
    this.#timer?.cancel();
    void this.#scope.trackUser(this.name, this.#once());
  }

  /** Never rejects. */
  async #once(): Promise<void> {
    this.#running = true;
    this.#runs++;
    try {
      await this.#run({ signal: this.#abort.signal });
    } catch (error) {
      this.#tell(error);
    }
    this.#running = false;
    this.#arm();
  }

  #tell(error: unknown): void {
    tellListener(this.#onError, error, (thrown) =>
      this.#logger.error({ error: thrown, worker: this.name }, 'onError failed'),
    );
  }
}
