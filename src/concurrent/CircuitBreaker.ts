import { type CircuitBreakerPolicy, CircuitState, ConsecutiveBreaker, circuitBreaker, handleWhen } from 'cockatiel';
import { type Clock, systemClock } from '../core/clock.js';
import { CircuitOpenError } from '../core/errors.js';
import { checkCount, checkMs } from '../core/options.js';

export interface CircuitBreakerOptions {
  /** What it protects, as errors say it. */
  readonly what: string;
  /** Consecutive failures that open it, from 1; `Infinity` never. */
  readonly threshold: number;
  /** How long it stays open before one call may try, in ms. */
  readonly resetMs: number;
  /** Whether an error counts as a failure; what does not counts for nothing. */
  readonly isFailure: (error: unknown) => boolean;
  /**
   * Whether an error proves that what it protects works again. A call that tries and ends with any other error (an
   * abort, a refusal) proves nothing: the next one may try at once. @defaultValue every error that is no failure
   */
  readonly isAnswer?: (error: unknown) => boolean;
  readonly clock?: Clock;
  /** Told of each change of state. */
  readonly onChange?: (state: BreakerState) => void;
}

export type BreakerState = 'closed' | 'open' | 'half-open';

/**
 * A breaker in front of calls that keep failing: open, it refuses with `ERR_CIRCUIT_OPEN`; after `resetMs` it lets one
 * call through, whose end decides, and goes on refusing the others meanwhile. Cockatiel keeps the states;
 * while all is well a call costs two comparisons.
 */
export class CircuitBreaker {
  readonly #options: CircuitBreakerOptions;
  readonly #clock: Clock;
  #policy: CircuitBreakerPolicy | undefined;
  #openedMs = 0;
  #failures = 0;
  #lastError: unknown;

  constructor(options: CircuitBreakerOptions) {
    checkCount('threshold', options.threshold, { min: 1, infinity: true });
    checkMs('resetMs', options.resetMs, { min: 1 });
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.reset();
  }

  get state(): BreakerState {
    switch (this.#policy?.state) {
      case CircuitState.Open:
        return 'open';
      case CircuitState.HalfOpen:
        return 'half-open';
      default:
        return 'closed';
    }
  }

  /** Milliseconds until a call may try; 0 unless it is open. */
  get retryAfterMs(): number {
    if (this.state === 'closed') return 0;
    return Math.max(0, this.#openedMs + this.#options.resetMs - this.#clock.now());
  }

  /** Runs `fn` unless open. @throws CircuitOpenError with `retryAfterMs` and the last failure as its cause. */
  async call<T>(fn: () => Promise<T>): Promise<T> {
    const policy = this.#policy;
    if (policy === undefined) return fn();
    if (policy.state === CircuitState.Closed) return this.#watched(fn);
    if (policy.state === CircuitState.HalfOpen || this.retryAfterMs > 0) throw this.#refusal();
    try {
      return await policy.execute(() => this.#watched(fn, false));
    } catch (error) {
      if (error instanceof Error && 'isBrokenCircuitError' in error) throw this.#refusal();
      throw error;
    }
  }

  /** Closes it and forgets what failed. */
  reset(): void {
    const { threshold, isFailure, isAnswer = () => true, onChange } = this.#options;
    this.#failures = 0;
    const was = this.state;
    this.#policy =
      threshold === Number.POSITIVE_INFINITY
        ? undefined
        : circuitBreaker(
            handleWhen((error) => isFailure(error) || (this.state === 'half-open' && !isAnswer(error))),
            {
              // When it may try is told by our clock: the wall's may jump.
              halfOpenAfter: Number.NEGATIVE_INFINITY,
              breaker: new ConsecutiveBreaker(threshold),
            },
          );
    this.#policy?.onBreak((reason) => {
      const failed = 'error' in reason && isFailure(reason.error);
      this.#openedMs = failed ? this.#clock.now() : Number.NEGATIVE_INFINITY;
    });
    this.#policy?.onStateChange(() => onChange?.(this.state));
    if (was !== 'closed') onChange?.('closed');
  }

  /** Closed, the policy hears of failures, and of the first success after one, only: the rest is none of its business. */
  async #watched<T>(fn: () => Promise<T>, tell = true): Promise<T> {
    try {
      const result = await fn();
      if (tell && this.#failures > 0) this.#tell(() => Promise.resolve());
      this.#failures = 0;
      return result;
    } catch (error) {
      if (this.#options.isFailure(error)) {
        this.#failures++;
        this.#lastError = error;
        if (tell) this.#tell(() => Promise.reject(error));
      }
      throw error;
    }
  }

  #tell(outcome: () => Promise<void>): void {
    this.#policy?.execute(outcome).catch((error: unknown) => error);
  }

  #refusal(): CircuitOpenError {
    return new CircuitOpenError(this.#options.what, this.retryAfterMs, this.#lastError);
  }
}
