const START_SIZE = 256;

/**
 * Things by id, for ids that count up. A slot each, by the id's low bits; one so old that its slot is wanted again moves to a
 * Map. Not a Map or a Set alone: one that is added to and deleted from without end outgrows its table again and again, each
 * outgrown table still holds what it held and the table after it, and once one of them is in the old generation none dies
 * before a full collection (docs/decisions/080-call-table.md).
 */
export class IdTable<T extends { readonly id: number }> {
  #slots: (T | undefined)[] = new Array(START_SIZE).fill(undefined);
  readonly #elders = new Map<number, T>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(id: number): T | undefined {
    const found = this.#slots[id & (this.#slots.length - 1)];
    return found?.id === id ? found : this.#elders.get(id);
  }

  /** Its id must be new. */
  add(thing: T): void {
    if (this.#size * 2 >= this.#slots.length) this.#grow();
    this.#put(thing);
    this.#size++;
  }

  /** False when it is not in. */
  delete(thing: T): boolean {
    const slot = thing.id & (this.#slots.length - 1);
    if (this.#slots[slot] === thing) this.#slots[slot] = undefined;
    else if (!this.#elders.delete(thing.id)) return false;
    this.#size--;
    return true;
  }

  clear(): void {
    this.#slots = new Array(START_SIZE).fill(undefined);
    this.#elders.clear();
    this.#size = 0;
  }

  /** All of them, oldest first. */
  values(): T[] {
    const all = [...this.#elders.values(), ...this.#slots.filter((each) => each !== undefined)];
    return all.sort((a, b) => a.id - b.id);
  }

  #put(thing: T): void {
    const slot = thing.id & (this.#slots.length - 1);
    const before = this.#slots[slot];
    if (before !== undefined) this.#elders.set(before.id, before);
    this.#slots[slot] = thing;
  }

  #grow(): void {
    const things = this.#slots;
    this.#slots = new Array(things.length * 2).fill(undefined);
    for (const thing of things) if (thing !== undefined) this.#put(thing);
  }
}
