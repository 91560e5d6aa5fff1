import type { History } from '../../src/testing/history/History.js';

/** How often it looks, in ms. */
const BEAT_MS = 50;
/** What is less than this is every event loop's, and not written down, in ms. */
const MIN_TOLD_MS = 100;
/** The most the machine may withhold from a round of which everything is asked, in ms: a quarter of what calm calls are given. */
const MAX_WITHHELD_MS = 10_000;

/**
 * What the machine withheld from this process: how late its timers were without its having computed meanwhile. On a machine
 * that others keep busy "nothing that could fail it was going on" is not true, and a round says so.
 */
export class Strain {
  readonly #history: History;
  #withheldMs = 0;
  #lastMs = performance.now();
  #lastCpu = process.cpuUsage();
  readonly #timer: NodeJS.Timeout;

  constructor(history: History) {
    this.#history = history;
    this.#timer = setInterval(() => this.#beat(), BEAT_MS);
  }

  get withheldMs(): number {
    return this.#withheldMs;
  }

  get isTooMuch(): boolean {
    return this.#withheldMs > MAX_WITHHELD_MS;
  }

  stop(): void {
    this.#beat();
    clearInterval(this.#timer);
  }

  #beat(): void {
    const nowMs = performance.now();
    const { user, system } = process.cpuUsage(this.#lastCpu);
    const idleMs = nowMs - this.#lastMs - BEAT_MS - (user + system) / 1_000;
    this.#withheldMs += Math.max(0, idleMs);
    if (idleMs >= MIN_TOLD_MS) this.#history.add({ type: 'withheld', ms: Math.round(idleMs), pid: process.pid });
    this.#lastMs = nowMs;
    this.#lastCpu = process.cpuUsage();
  }
}
