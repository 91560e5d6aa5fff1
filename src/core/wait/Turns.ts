/** What waits, by owner. Owners take turns, each with the oldest of its own: who has many waiting holds up the others by one each time. */
export class Turns<O, T> {
  /** In the order of their turns. */
  readonly #waiting = new Map<O, Set<T>>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  add(owner: O, item: T): void {
    const own = this.#waiting.get(owner);
    if (own === undefined) this.#waiting.set(owner, new Set([item]));
    else own.add(item);
    this.#size++;
  }

  /** Whether it was waiting. */
  delete(owner: O, item: T): boolean {
    const own = this.#waiting.get(owner);
    if (own?.delete(item) !== true) return false;
    if (own.size === 0) this.#waiting.delete(owner);
    this.#size--;
    return true;
  }

  /** What `take` would give. */
  get next(): T | undefined {
    for (const [item] of this.#waiting.values()) return item;
    return undefined;
  }

  /** The oldest of the owner whose turn it is. */
  take(): T | undefined {
    const [next] = this.#waiting;
    if (next === undefined) return undefined;
    const [owner, own] = next;
    this.#waiting.delete(owner);
    const [item] = own;
    own.delete(item as T);
    this.#size--;
    if (own.size > 0) this.#waiting.set(owner, own);
    return item;
  }

  /** The oldest of the owner that has most: a look at all owners. */
  takeOfMost(): T | undefined {
    let most: [O, Set<T>] | undefined;
    for (const each of this.#waiting) if (most === undefined || each[1].size > most[1].size) most = each;
    if (most === undefined) return undefined;
    const [owner, [item]] = most;
    this.delete(owner, item as T);
    return item;
  }
}
