import type { Clock } from '../../core/clock.js';
import type { TimeoutWheel } from '../../core/time/TimeoutWheel.js';

export interface WaitQueueOptions {
  /** Whose queue it is, as errors say it. */
  readonly what: string;
  /** Most callers that may wait; 0: none may, `Infinity`: no bound. */
  readonly maxQueue: number;
  /** Measures time and arms timers; a `FakeClock` in tests. @defaultValue the system's clock */
  readonly clock?: Clock | undefined;
  /** Where its timeouts stand, beside those of others; whose it is closes it. @defaultValue a wheel of its own */
  readonly wheel?: TimeoutWheel | undefined;
  /** Makes the error of a waiter of that weight whose time is over; it has left by then. */
  readonly timeoutError: (timeoutMs: number, weight: number) => Error;
  /** Called after a waiter left by abort or timeout: those behind a heavy one may fit now. Must not throw. */
  readonly onLeave?: (() => void) | undefined;
}

export interface WaitOptions {
  /** Aborting rejects at once with `signal.reason` and frees the place. */
  readonly signal?: AbortSignal | undefined;
  /** Longest wait, in ms. 0 does not wait at all, `Infinity` waits for ever. */
  readonly timeoutMs: number;
  /** What the waiter asks for, in the owner's unit. @defaultValue 1 */
  readonly weight?: number | undefined;
  /** What the owner wants to find again at the waiter that it serves. */
  readonly tag?: unknown;
}

/** A waiter that left the queue to be served. The owner settles it at once: the next `shift` uses the object again. */
export interface Waiter<T> {
  readonly weight: number;
  readonly tag: unknown;
  resolve(value: T): void;
  reject(error: unknown): void;
}
