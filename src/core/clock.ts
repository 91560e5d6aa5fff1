/** Time as the toolkit sees it: monotonic, and replaceable by a fake in tests. */
export interface Clock {
  /** Monotonic milliseconds, with a fraction. Only differences mean anything. */
  now(): number;
  /** Milliseconds since the epoch, for stamps that are stored or shown. It may jump. */
  wallNow(): number;
  /**
   * Calls `callback` once after `delayMs` (any length; `Infinity` never). Unref'd unless `ref`: a timer that a caller
   * awaits must be ref'd, or the process ends under them. It may fire up to 1 ms early, as Node's timers do: who must
   * not be early looks at `now()` again.
   */
  setTimer(callback: () => void, delayMs: number, options?: { readonly ref?: boolean }): Timer;
}

/** An armed timer. */
export interface Timer extends Disposable {
  /** Disarms it; a no-op once it has fired. */
  cancel(): void;
  /** From now on it holds the process open. */
  ref(): void;
  /** From now on it does not. */
  unref(): void;
}

/** The longest delay that Node's timers take; a longer one would fire after 1 ms. */
const MAX_DELAY_MS = 2 ** 31 - 1;

class SystemTimer implements Timer {
  readonly #callback: () => void;
  #ref: boolean;
  readonly #dueMs: number;
  #timeout: NodeJS.Timeout | undefined;

  constructor(callback: () => void, delayMs: number, ref: boolean) {
    this.#callback = callback;
    this.#ref = ref;
    this.#dueMs = delayMs > MAX_DELAY_MS ? performance.now() + delayMs : 0;
    if (delayMs !== Number.POSITIVE_INFINITY) this.#arm(delayMs);
  }

  #arm(delayMs: number): void {
    this.#timeout =
      delayMs > MAX_DELAY_MS
        ? setTimeout(() => this.#arm(Math.max(0, this.#dueMs - performance.now())), MAX_DELAY_MS)
        : setTimeout(this.#callback, delayMs);
    if (!this.#ref) this.#timeout.unref();
  }

  cancel(): void {
    clearTimeout(this.#timeout);
  }

  ref(): void {
    this.#ref = true;
    this.#timeout?.ref();
  }

  unref(): void {
    this.#ref = false;
    this.#timeout?.unref();
  }

  [Symbol.dispose](): void {
    this.cancel();
  }
}

/** The machine's own clock. */
export const systemClock: Clock = Object.freeze({
  now: () => performance.now(),
  wallNow: () => Date.now(),
  setTimer: (callback: () => void, delayMs: number, options?: { readonly ref?: boolean }) =>
    new SystemTimer(callback, delayMs, options?.ref ?? false),
});
