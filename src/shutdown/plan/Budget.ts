import type { Clock } from '../../core/clock.js';
import { GracePeriod } from '../../core/close/GracePeriod.js';

/** The time that a shutdown has in all, and who draws on it. */
export class Budget {
  readonly #clock: Clock;
  readonly #running = new Set<GracePeriod>();
  readonly #startMs: number;
  #endMs: number;
  #sizeMs: number;
  #delay: GracePeriod | undefined;

  constructor(clock: Clock, totalMs: number) {
    this.#clock = clock;
    this.#startMs = clock.now();
    this.#endMs = this.#startMs + totalMs;
    this.#sizeMs = totalMs;
  }

  /** Since the shutdown began. */
  get elapsedMs(): number {
    return this.#clock.now() - this.#startMs;
  }

  /** True when nothing is left of it. */
  get over(): boolean {
    return this.#leftMs === 0;
  }

  get #leftMs(): number {
    return Math.max(0, this.#endMs - this.#clock.now());
  }

  /**
   * The time of one step: at most `timeoutMs`, and what is left but for `keptBack` sixteenths of the whole, which
   * others will need. When so much is not left any more: a fair share of what is.
   */
  draw(timeoutMs: number, keptBack: number): GracePeriod {
    const leftMs = this.#leftMs;
    const shareMs = Math.max(leftMs - (keptBack * this.#sizeMs) / 16, leftMs / (keptBack + 1));
    const grace = new GracePeriod(this.#clock, Math.min(timeoutMs, shareMs));
    this.#running.add(grace);
    return grace;
  }

  giveBack(grace: GracePeriod): void {
    this.#running.delete(grace);
  }

  /** Waits `delayMs`, or until the end, or until forced. */
  async delay(delayMs: number): Promise<void> {
    this.#delay = new GracePeriod(this.#clock, Math.min(delayMs, this.#leftMs));
    await this.#delay.over;
    this.#delay = undefined;
  }

  /** Brings the end to `withinMs` from now, half of it for what runs; false when it is that near already. */
  force(withinMs: number): boolean {
    const endMs = this.#clock.now() + withinMs;
    if (endMs >= this.#endMs) return false;
    this.#endMs = endMs;
    this.#sizeMs = withinMs;
    this.#delay?.shorten(0);
    for (const grace of [...this.#running]) grace.shorten(withinMs / 2);
    return true;
  }
}
