import type { Clock } from '../../core/clock.js';

/**
 * Which leases are out, oldest first, and since when. A lease is a number here, and the order a doubly linked list of
 * numbers: a store of an object that lives shorter into one that lives longer costs the collector's write barrier, five
 * times a store of a number. Number 0 is the list's own end.
 */
export class Ledger<L> {
  #older = new Int32Array(16);
  #newer = new Int32Array(16);
  /** -1 until a sweep or a waiter has seen it. */
  #takenMs = new Float64Array(16);
  /** The leases that must be found again: those with a signal, a trace or a function of `use`. */
  readonly #known = new Map<number, L>();
  /** Given back, a list through `#newer`. */
  #free = 0;
  /** Numbers handed out so far. */
  #top = 0;
  #size = 0;

  /** Leases that are out. */
  get size(): number {
    return this.#size;
  }

  /** The oldest, 0 when none is out. */
  get oldest(): number {
    return this.#newer[0] as number;
  }

  /** The next younger one, 0 after the youngest. */
  after(id: number): number {
    return this.#newer[id] as number;
  }

  /** Enters a lease taken now. */
  add(): number {
    let id = this.#free;
    if (id === 0) id = this.#extend();
    else this.#free = this.#newer[id] as number;
    const newest = this.#older[0] as number;
    this.#older[id] = newest;
    this.#newer[id] = 0;
    this.#newer[newest] = id;
    this.#older[0] = id;
    this.#takenMs[id] = -1;
    this.#size++;
    return id;
  }

  remove(id: number): void {
    const older = this.#older[id] as number;
    const newer = this.#newer[id] as number;
    this.#newer[older] = newer;
    this.#older[newer] = older;
    this.#newer[id] = this.#free;
    this.#free = id;
    this.#size--;
    if (this.#known.size > 0) this.#known.delete(id);
  }

  /** Tells those taken since the last call that they are out since now at the latest; each is told once. */
  stamp(clock: Clock): void {
    let id = this.#older[0] as number;
    if (id === 0 || this.#takenMs[id] !== -1) return;
    for (const nowMs = clock.now(); id !== 0 && this.#takenMs[id] === -1; id = this.#older[id] as number) {
      this.#takenMs[id] = nowMs;
    }
  }

  /** For how long it has been out at the least; 0 for number 0. */
  heldMs(id: number, nowMs: number): number {
    const takenMs = this.#takenMs[id] as number;
    return id === 0 || takenMs === -1 ? 0 : nowMs - takenMs;
  }

  know(id: number, lease: L): void {
    this.#known.set(id, lease);
  }

  known(id: number): L | undefined {
    return this.#known.get(id);
  }

  #extend(): number {
    this.#top++;
    if (this.#top === this.#older.length) {
      this.#older = doubled(this.#older, Int32Array);
      this.#newer = doubled(this.#newer, Int32Array);
      this.#takenMs = doubled(this.#takenMs, Float64Array);
    }
    return this.#top;
  }
}

function doubled<A extends Int32Array | Float64Array>(old: A, kind: new (length: number) => A): A {
  const grown = new kind(old.length * 2);
  grown.set(old);
  return grown;
}
