/** A first-in first-out queue on a ring that doubles when full: push and shift are O(1), amortised. It never shrinks but by `clear`. */
export class RingQueue<T> {
  #ring: (T | undefined)[];
  #head = 0;
  #size = 0;

  constructor() {
    this.#ring = new Array(16).fill(undefined);
  }

  get size(): number {
    return this.#size;
  }

  push(item: T): void {
    if (this.#size === this.#ring.length) this.#grow();
    this.#ring[(this.#head + this.#size) & (this.#ring.length - 1)] = item;
    this.#size++;
  }

  /** The oldest, left in place. */
  peek(): T | undefined {
    return this.#size === 0 ? undefined : this.#ring[this.#head];
  }

  shift(): T | undefined {
    if (this.#size === 0) return undefined;
    const item = this.#ring[this.#head];
    this.#ring[this.#head] = undefined;
    this.#head = (this.#head + 1) & (this.#ring.length - 1);
    this.#size--;
    return item;
  }

  /** What is in it, oldest first; it stays in. */
  *[Symbol.iterator](): Generator<T, void, undefined> {
    for (let i = 0; i < this.#size; i++) yield this.#ring[(this.#head + i) & (this.#ring.length - 1)] as T;
  }

  clear(): void {
    this.#ring = new Array(16).fill(undefined);
    this.#head = 0;
    this.#size = 0;
  }

  #grow(): void {
    const { length } = this.#ring;
    const grown: (T | undefined)[] = new Array(length * 2).fill(undefined);
    for (let i = 0; i < length; i++) grown[i] = this.#ring[(this.#head + i) & (length - 1)];
    this.#ring = grown;
    this.#head = 0;
  }
}
