import type { Clock, Timer } from '../clock.js';

/**
 * The time that work in flight still gets while its owner closes. It can be shortened, never prolonged, and tells those
 * who ask when it is over.
 */
export class GracePeriod {
  readonly #clock: Clock;
  readonly #startMs: number;
  readonly #watchers = new Set<{ readonly change: (remainingMs: number) => void }>();
  readonly #over: Promise<void>;
  #resolveOver!: () => void;
  #deadlineMs: number;
  #timer: Timer | undefined;
  #ended = false;

  constructor(clock: Clock, graceMs: number) {
    this.#clock = clock;
    this.#startMs = clock.now();
    this.#deadlineMs = this.#startMs + graceMs;
    this.#over = new Promise((resolve) => {
      this.#resolveOver = resolve;
    });
    this.#arm();
  }

  /** Milliseconds left, 0 once it is over. */
  get remainingMs(): number {
    return this.#ended ? 0 : Math.max(0, this.#deadlineMs - this.#clock.now());
  }

  /** How long it was in all, as it stands now. */
  get totalMs(): number {
    return Math.round(this.#deadlineMs - this.#startMs);
  }

  /** Resolves at the deadline, however often that moves. Never, once `dispose` came first. */
  get over(): Promise<void> {
    return this.#over;
  }

  /**
   * Brings the deadline to `graceMs` from now, if that is earlier than it stands. Tells everyone who watches, then
   * throws `AggregateError` of what they threw.
   */
  shorten(graceMs: number): void {
    const deadlineMs = this.#clock.now() + graceMs;
    if (this.#ended || deadlineMs >= this.#deadlineMs) return;
    this.#deadlineMs = deadlineMs;
    this.#arm();
    const errors: unknown[] = [];
    for (const watcher of [...this.#watchers]) {
      if (!this.#watchers.has(watcher)) continue;
      try {
        // As it stands now: an earlier one may have shortened it again.
        watcher.change(this.remainingMs);
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw new AggregateError(errors, `${errors.length} could not be told of a shorter grace`);
  }

  /** Calls `change` at each shortening, so that what closes along with us is told. */
  onShorten(change: (remainingMs: number) => void): Disposable {
    const watcher = { change };
    this.#watchers.add(watcher);
    return { [Symbol.dispose]: () => void this.#watchers.delete(watcher) };
  }

  /** Disarms it once the close is done. */
  [Symbol.dispose](): void {
    this.#timer?.cancel();
    this.#watchers.clear();
    this.#ended = true;
  }

  #arm(): void {
    this.#timer?.cancel();
    const remainingMs = this.#deadlineMs - this.#clock.now();
    if (remainingMs > 0) {
      // A timer may fire a little early; then it is armed again for the rest.
      this.#timer = this.#clock.setTimer(() => this.#arm(), remainingMs, { ref: true });
      return;
    }
    this.#ended = true;
    this.#resolveOver();
  }
}
