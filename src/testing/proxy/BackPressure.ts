import type { Writable } from 'node:stream';
import { systemClock, type Timer } from '../../core/clock.js';

export interface BackPressureOptions {
  /** To the server. */
  readonly output: Writable;
  /** What comes from the client. */
  readonly client: { pause(): void; resume(): void };
  /** The process that started this one has ended. */
  readonly onOrphaned: () => void;
  /** As much as is held for it waits, and the server has taken nothing for a minute. */
  readonly onStalled: () => void;
}

const LOOK_MS = 1_000;
const MAX_HELD_BYTES = 4 * 2 ** 20;
const MAX_LOOKS = 60;

/**
 * Holds a client back while its server reads nothing, and a bound of what it has sent waits: that the client has gone can be seen only
 * behind that.
 */
export class BackPressure {
  readonly #options: BackPressureOptions;
  readonly #parent = process.ppid;
  #timer: Timer | undefined;
  /** What waited at the last look, and since how many looks. */
  #length = 0;
  #looks = 0;

  constructor(options: BackPressureOptions) {
    this.#options = options;
    options.output.on('drain', () => options.client.resume());
    // A server that takes nothing more is written to in vain: its client's end is seen all the same.
    options.output.on('close', () => options.client.resume());
  }

  /** The server has not taken all of what was written. */
  hold(): void {
    if (this.#options.output.destroyed) return;
    if (this.#options.output.writableLength >= MAX_HELD_BYTES) this.#options.client.pause();
    this.#timer ??= systemClock.setTimer(() => this.#look(), LOOK_MS);
  }

  #look(): void {
    this.#timer = undefined;
    const { output, client, onOrphaned, onStalled } = this.#options;
    if (process.ppid !== this.#parent) {
      onOrphaned();
      return;
    }
    if (output.destroyed || !output.writableNeedDrain) return;
    const { writableLength } = output;
    this.#looks = writableLength === this.#length ? this.#looks + 1 : 0;
    this.#length = writableLength;
    if (writableLength < MAX_HELD_BYTES) client.resume();
    else if (this.#looks >= MAX_LOOKS) return void onStalled();
    this.#timer = systemClock.setTimer(() => this.#look(), LOOK_MS);
  }
}
