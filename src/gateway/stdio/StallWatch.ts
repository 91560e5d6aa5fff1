import type { Writable } from 'node:stream';
import type { Clock, Timer } from '../../core/clock.js';

export interface StallWatchOptions {
  readonly output: Writable;
  readonly clock: Clock;
  /** In ms. */
  readonly stallTimeoutMs: number;
  readonly onStall: (stallTimeoutMs: number) => void;
}

/** So often is it looked at in that time: it is told no later than a fourth beyond. */
const LOOKS = 4;

/** Writes to an output, and tells once when nothing of what waits there was taken for `stallTimeoutMs`: nothing else may say that its reader is gone. */
export class StallWatch implements Disposable {
  readonly #options: StallWatchOptions;
  #stallTimeoutMs: number;
  #timer: Timer | undefined;
  /** Writes that were taken, and what was left of the one under way, at the last look. */
  #seen = { taken: 0, left: 0 };
  #taken = 0;
  /** Looks since which nothing was taken. */
  #idle = 0;
  #over = false;

  constructor(options: StallWatchOptions) {
    this.#options = options;
    this.#stallTimeoutMs = options.stallTimeoutMs;
  }

  write(text: string | Uint8Array, taken?: () => void): void {
    const { output } = this.#options;
    output.write(text, () => {
      this.#taken++;
      taken?.();
    });
    if (this.#timer === undefined && !this.#over && output.writableLength > 0) this.#goOn();
  }

  /** From now on it may take no more than so long, in ms. */
  shorten(stallTimeoutMs: number): void {
    if (stallTimeoutMs >= this.#stallTimeoutMs) return;
    this.#stallTimeoutMs = stallTimeoutMs;
    this.#timer?.cancel();
    if (!this.#over) this.#goOn();
  }

  [Symbol.dispose](): void {
    this.#over = true;
    this.#timer?.cancel();
  }

  /** Something was taken, or is to be from here on. */
  #goOn(): void {
    this.#seen = this.#now;
    this.#idle = 0;
    this.#arm();
  }

  #arm(): void {
    this.#timer = this.#options.clock.setTimer(() => this.#look(), this.#stallTimeoutMs / LOOKS);
  }

  #look(): void {
    this.#timer = undefined;
    const { output, onStall } = this.#options;
    if (this.#over || output.writableLength === 0 || output.destroyed) return;
    const { taken, left } = this.#now;
    if (taken > this.#seen.taken || left < this.#seen.left) this.#goOn();
    else if (++this.#idle < LOOKS) this.#arm();
    else {
      this.#over = true;
      onStall(this.#stallTimeoutMs);
    }
  }

  /** Of a large write that is under way pipes and sockets say how much is left: Node's own timeout of a socket goes by that, too. */
  get #now(): { readonly taken: number; readonly left: number } {
    const { _handle } = this.#options.output as { readonly _handle?: { readonly writeQueueSize?: number } | null };
    return { taken: this.#taken, left: _handle?.writeQueueSize ?? 0 };
  }
}
