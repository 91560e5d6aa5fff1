/** The waiters that are let in before a caller. */
export interface QueueAhead {
  readonly size: number;
  /** Permits that they ask for, all together. */
  readonly weight: number;
  /** What each asks for, first to last. */
  weights(): Iterable<number>;
}

/**
 * The last grants, as stamps in whole microseconds on a ring, and whether one more fits. Windows are half-open: a grant
 * at `s` counts in [s, s + windowUs) and no longer at `s + windowUs`. Whole microseconds, because with fractions a call
 * at exactly the time that was promised is now and then refused.
 *
 * A grant of weight `w` fills `w` places. Whether it fits is one comparison: the stamp that must have left the window to
 * make room for it stands at a known place. Stamps are dropped only when their place is needed, so nothing is scanned.
 * The ring grows on use, up to `max`, and never shrinks.
 */
export class SlidingWindow {
  readonly max: number;
  readonly windowUs: number;
  /** At most this many in a window, up to `max`; lowering it forgets nothing. */
  limit: number;
  #stamps = new Float64Array(8);
  #head = 0;
  #size = 0;

  constructor(max: number, windowUs: number) {
    this.max = max;
    this.limit = max;
    this.windowUs = windowUs;
  }

  /** Counts a grant at `nowUs` if every window allows it. `nowUs` never goes back. */
  take(nowUs: number, weight: number): boolean {
    const excess = this.#size + weight - this.limit;
    if (excess > 0) {
      if (excess > this.#size || this.#stamp(excess - 1) > nowUs - this.windowUs) return false;
      this.#drop(excess);
    }
    if (this.#size + weight > this.#stamps.length) this.#makeRoom(nowUs, weight);
    const mask = this.#stamps.length - 1;
    for (let i = this.#head + this.#size, end = i + weight; i < end; i++) this.#stamps[i & mask] = nowUs;
    this.#size += weight;
    return true;
  }

  /**
   * When `weight` more fit, behind the waiters `ahead`, each let in as soon as it fits, none before `floorUs`.
   * `Infinity` for more than a window may have.
   */
  fitsAtUs(floorUs: number, ahead: QueueAhead, weight: number): number {
    if (weight > this.limit) return Number.POSITIVE_INFINITY;
    if (ahead.weight > ahead.size) return this.#fitsBehindHeavyUs(floorUs, ahead, weight);
    let excess = this.#size + ahead.weight + weight - this.limit;
    if (excess <= 0) return floorUs;
    let laps = 0;
    if (excess > this.#size) {
      // The place to be freed belongs to one of those ahead, itself a window after the one it waits for, and so on.
      laps = Math.ceil((excess - this.#size) / this.limit);
      excess -= laps * this.limit;
    }
    const freeUs = excess > 0 ? this.#stamp(excess - 1) + this.windowUs : floorUs;
    return Math.max(freeUs, floorUs) + laps * this.windowUs;
  }

  /** Grants in the window that ends at `nowUs`. */
  count(nowUs: number): number {
    return this.#size - this.#expired(nowUs);
  }

  /** When the last grant leaves the window. */
  get emptyAtUs(): number {
    return this.#size === 0 ? Number.NEGATIVE_INFINITY : this.#stamp(this.#size - 1) + this.windowUs;
  }

  /** Forgets every grant. */
  clear(): void {
    this.#head = 0;
    this.#size = 0;
  }

  /** A heavy one takes all its places when the last of them is free, which no formula gives: let them in one by one. */
  #fitsBehindHeavyUs(floorUs: number, ahead: QueueAhead, weight: number): number {
    const grants: { readonly end: number; readonly atUs: number }[] = [];
    let end = this.#size;
    let atUs = floorUs;
    let freed = 0;
    for (const each of [...ahead.weights(), weight]) {
      end += each;
      const excess = end - this.limit;
      if (excess > this.#size) {
        while ((grants[freed]?.end ?? excess) < excess) freed++;
        atUs = Math.max(atUs, (grants[freed]?.atUs ?? Number.POSITIVE_INFINITY) + this.windowUs);
      } else if (excess > 0) atUs = Math.max(atUs, this.#stamp(excess - 1) + this.windowUs);
      grants.push({ end, atUs });
    }
    return atUs;
  }

  #stamp(index: number): number {
    return this.#stamps[(this.#head + index) & (this.#stamps.length - 1)] as number;
  }

  #drop(count: number): void {
    this.#head = (this.#head + count) & (this.#stamps.length - 1);
    this.#size -= count;
  }

  /** How many of the oldest have left the window; the stamps ascend, so by halves. */
  #expired(nowUs: number): number {
    const edgeUs = nowUs - this.windowUs;
    let low = 0;
    let high = this.#size;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#stamp(middle) <= edgeUs) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #makeRoom(nowUs: number, weight: number): void {
    this.#drop(this.#expired(nowUs));
    const needed = this.#size + weight;
    let length = this.#stamps.length;
    if (needed <= length) return;
    while (length < needed) length *= 2;
    const grown = new Float64Array(length);
    for (let i = 0; i < this.#size; i++) grown[i] = this.#stamp(i);
    this.#stamps = grown;
    this.#head = 0;
  }
}
