import type { Closeable } from '../../core/close/CloseScope.js';

export interface AcquireOptions {
  /** Aborting rejects the wait at once with `signal.reason` and frees the place. */
  readonly signal?: AbortSignal;
  /**
   * The longest wait, in ms, from 0; `Infinity` waits for ever. When the wait is known to be longer, the call is refused
   * at once. @defaultValue the limiter's own `maxWaitMs`
   */
  readonly maxWaitMs?: number;
  /** How many permits the call takes, from 1 to `maxRequests`. @defaultValue 1 */
  readonly weight?: number;
}

/** How full a limiter is, in one moment. */
export interface LimiterUsage {
  /** Permits granted in the window that ends now. */
  readonly current: number;
  /** Permits a window may have. */
  readonly max: number;
  /** Milliseconds until a call of weight 1 can pass, behind those who wait; 0 when it can now. */
  readonly availableInMs: number;
}

/** What every limiter can do, and all that a pool needs of one. */
export interface Limiter extends Closeable, AsyncDisposable {
  /**
   * Takes `weight` permits now, or none. Never barges past a waiter. @throws ClosedError, OptionError for a weight that
   * no window could hold.
   */
  tryAcquire(weight?: number): boolean;
  /**
   * Waits for `weight` permits, first in, first out. Rejects with RateLimitedError (ERR_RATE_LIMITED) when the wait is
   * or becomes longer than `maxWaitMs`, QueueFullError (ERR_QUEUE_FULL), ClosedError, OptionError or `signal.reason`.
   */
  acquire(options?: AcquireOptions): Promise<void>;
  /** Grants nothing for `ms` from now, as after a 429 with `Retry-After`. It prolongs a pause, never shortens one. */
  pauseFor(ms: number): void;
}
