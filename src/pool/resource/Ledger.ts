import type { Clock } from '../../core/clock.js';

/** In `#takenMs`: the number is nobody's, or its lease has not been seen by a stamp yet. */
const FREE = -2;
const FRESH = -1;
/** With more leases than this, stamps are so far apart at the least: stamping stays cheap however many callers wait. */
const MANY = 64;
const STAMP_MS = 10;

/**
 * Which leases are out, and since when. A lease is a number here: storing an object that lives short in one that lives
 * long costs the collector's write barrier, several times a store of a number. No order is kept, since the oldest is
 * asked for seldom: it is looked for then, and stays the oldest until it is back.
 */
export class Ledger<L> {
  readonly #clock: Clock;
  #takenMs = new Float64Array(16).fill(FREE);
  /** A stack of numbers to hand out, `#top` high; what was never handed out is `#takenMs.length - #issued`. */
  #free = new Int32Array(16);
  #top = 0;
  #issued = 0;
  /** The leases that must be found again: those with a signal, a trace or a function of `use`. */
  readonly #known = new Map<number, L>();
  #oldest = 0;
  #oldestMs = Number.NaN;
  /** Whether a lease was taken since the last stamp. */
  #unseen = false;
  #stampedMs = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Leases that are out. */
  get size(): number {
    return this.#issued - this.#top;
  }

  /** Enters a lease taken now. */
  add(): number {
    const top = this.#top - 1;
    if (top < 0) return this.#issue();
    this.#top = top;
    const id = this.#free[top] as number;
    this.#takenMs[id] = FRESH;
    this.#unseen = true;
    return id;
  }

  remove(id: number): void {
    this.#takenMs[id] = FREE;
    this.#free[this.#top++] = id;
  }

  know(id: number, lease: L): void {
    this.#known.set(id, lease);
  }

  forget(id: number): void {
    this.#known.delete(id);
  }

  get known(): Iterable<[number, L]> {
    return this.#known;
  }

  /** Tells those taken since the last stamp that they are out since now at the latest; each is told once. */
  stamp(): void {
    if (!this.#unseen) return;
    const nowMs = this.#clock.now();
    if (this.#issued > MANY && nowMs - this.#stampedMs < STAMP_MS) return;
    this.#stampedMs = nowMs;
    this.#unseen = false;
    const takenMs = this.#takenMs;
    for (let id = 0; id < this.#issued; id++) if (takenMs[id] === FRESH) takenMs[id] = nowMs;
  }

  /** For how long a lease has been out at `nowMs`, at the least. */
  heldMs(id: number, nowMs: number): number {
    const takenMs = this.#takenMs[id] as number;
    return takenMs < 0 ? 0 : nowMs - takenMs;
  }

  /** The lease that has been out longest: for how long, and itself if it is known. Undefined when none is out. */
  get oldest(): { readonly heldMs: number; readonly lease: L | undefined } | undefined {
    if (this.size === 0) return undefined;
    // What was the oldest stays it until it is back; a number handed out again has a later stamp.
    if (this.#takenMs[this.#oldest] !== this.#oldestMs) this.#findOldest();
    return { heldMs: this.heldMs(this.#oldest, this.#clock.now()), lease: this.#known.get(this.#oldest) };
  }

  /** Forgets all. */
  clear(): void {
    this.#known.clear();
    this.#top = 0;
    this.#issued = 0;
  }

  #findOldest(): void {
    let least = Number.POSITIVE_INFINITY;
    for (let id = 0; id < this.#issued; id++) {
      const takenMs = this.#takenMs[id] as number;
      if (takenMs === FREE) continue;
      const sinceMs = takenMs === FRESH ? Number.MAX_VALUE : takenMs;
      if (sinceMs >= least) continue;
      least = sinceMs;
      this.#oldest = id;
    }
    this.#oldestMs = least;
  }

  #issue(): number {
    const id = this.#issued++;
    if (id === this.#takenMs.length) {
      const takenMs = new Float64Array(id * 2).fill(FREE);
      takenMs.set(this.#takenMs);
      this.#takenMs = takenMs;
      const free = new Int32Array(id * 2);
      free.set(this.#free);
      this.#free = free;
    }
    this.#takenMs[id] = FRESH;
    this.#unseen = true;
    return id;
  }
}
