import type { Clock, Timer } from '../clock.js';

/** Credentials are renewed this long before they expire; half of their time before, when that is shorter. */
const AHEAD_MS = 30_000;

/** No renewal comes sooner than this after the last: what expires earlier is renewed by its refusal. */
const MIN_PAUSE_MS = 1_000;

/**
 * Has what expires renewed ahead of time, on the wall clock. A renewal that brought nothing new is tried again after half of what is left,
 * then half of that; from the expiry on it is for the one who is refused.
 */
export class Renewal {
  readonly #clock: Clock;
  readonly #renew: () => Promise<boolean>;
  #timer: Timer | undefined;
  #closed = false;

  /** `renew`: true when there is something new, for which `arm` was called. Its failure counts as nothing new. */
  constructor(clock: Clock, renew: () => Promise<boolean>) {
    this.#clock = clock;
    this.#renew = renew;
  }

  /** For what expires then (epoch ms); undefined for what does not expire. */
  arm(expiresAt: number | undefined): void {
    this.#timer?.cancel();
    if (expiresAt === undefined || this.#closed) return;
    const leftMs = expiresAt - this.#clock.wallNow();
    this.#after(leftMs - Math.min(AHEAD_MS, leftMs / 2), expiresAt);
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  #after(delayMs: number, expiresAt: number): void {
    const leftMs = expiresAt - this.#clock.wallNow();
    const pauseMs = Math.max(MIN_PAUSE_MS, delayMs);
    if (!(pauseMs < leftMs) || this.#closed) return;
    this.#timer = this.#clock.setTimer(() => void this.#run(expiresAt), pauseMs);
  }

  async #run(expiresAt: number): Promise<void> {
    const armed = this.#timer;
    const renewed = await this.#renew().catch(() => false);
    // Something else has brought newer ones meanwhile: those are what is waited for.
    if (!renewed && this.#timer === armed) this.#after((expiresAt - this.#clock.wallNow()) / 2, expiresAt);
  }
}
