import type { Clock, Timer } from './clock.js';

/**
 * The time that work in flight still gets while its owner closes. It can be shortened, never prolonged, and tells those
 * who ask when it is over.
 */
export class Grace {
  readonly #clock: Clock;
  readonly #startMs: number;
  readonly #onChange = new Set<(remainingMs: number) => void>();
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

  /** Brings the deadline to `graceMs` from now, if that is earlier than it stands. */
  shorten(graceMs: number): void {
    const deadlineMs = this.#clock.now() + graceMs;
    if (this.#ended || deadlineMs >= this.#deadlineMs) return;
    this.#deadlineMs = deadlineMs;
    this.#arm();
    for (const change of [...this.#onChange]) change(graceMs);
  }

  /** Calls `change` at each shortening, so that what closes along with us is told. */
  onShorten(change: (remainingMs: number) => void): Disposable {
    this.#onChange.add(change);
    return { [Symbol.dispose]: () => void this.#onChange.delete(change) };
  }

  /** Disarms it: whoever was closing is done. */
  [Symbol.dispose](): void {
    this.#timer?.cancel();
    this.#onChange.clear();
    this.#ended = true;
  }

  #arm(): void {
    this.#timer?.cancel();
    const end = (): void => {
      this.#ended = true;
      this.#resolveOver();
    };
    const remainingMs = this.#deadlineMs - this.#clock.now();
    if (remainingMs <= 0) end();
    else this.#timer = this.#clock.setTimer(end, remainingMs, { ref: true });
  }
}
