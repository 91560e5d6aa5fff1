/** To so much of the bound room is made at a time: not for each anew, nor for so many that others wait for it. */
const LEFT = 0.98;

interface Entry<K, V, O> {
  readonly key: K;
  readonly value: V;
  readonly weight: number;
  readonly owner: Owner<K, V, O>;
  older: Entry<K, V, O> | undefined;
  newer: Entry<K, V, O> | undefined;
}

interface Owner<K, V, O> {
  readonly name: O;
  weight: number;
  oldest: Entry<K, V, O> | undefined;
  newest: Entry<K, V, O> | undefined;
}

export interface SharedTableOptions<V> {
  /** What all entries may weigh. */
  readonly maxWeight: number;
  /** Told of what has given way. Must not throw. */
  readonly onGone?: (value: V) => void;
}

/**
 * A bounded table whose entries have owners. When they are too many, the owner that has most loses those it used longest ago: none can
 * drive out what is another's. Each step costs the same however large the table is; to make room, one look at all owners comes on top.
 */
export class SharedTable<K, V, O> {
  readonly #options: SharedTableOptions<V>;
  readonly #entries = new Map<K, Entry<K, V, O>>();
  readonly #owners = new Map<O, Owner<K, V, O>>();
  #weight = 0;

  constructor(options: SharedTableOptions<V>) {
    this.#options = options;
  }

  /** What all entries weigh. */
  get weight(): number {
    return this.#weight;
  }

  has(key: K): boolean {
    return this.#entries.has(key);
  }

  get(key: K): V | undefined {
    return this.#entries.get(key)?.value;
  }

  ownerOf(key: K): O | undefined {
    return this.#entries.get(key)?.owner.name;
  }

  *[Symbol.iterator](): Iterator<readonly [K, V]> {
    for (const { key, value } of this.#entries.values()) yield [key, value];
  }

  /** It is the newest of its owner's. */
  use(key: K): void {
    const entry = this.#entries.get(key);
    if (entry === undefined || entry.newer === undefined) return;
    unlink(entry);
    link(entry);
  }

  /** In the place of what the key had. It is not there afterwards where it alone is too much. */
  set(key: K, value: V, name: O, weight: number): void {
    this.delete(key);
    const owner = this.#owners.get(name) ?? { name, weight: 0, oldest: undefined, newest: undefined };
    this.#owners.set(name, owner);
    const entry = { key, value, weight, owner, older: undefined, newer: undefined };
    this.#entries.set(key, entry);
    this.#weight += weight;
    owner.weight += weight;
    link(entry);
    if (this.#weight > this.#options.maxWeight) this.shrink(LEFT * this.#options.maxWeight);
  }

  delete(key: K): void {
    const entry = this.#entries.get(key);
    if (entry !== undefined) this.#remove(entry);
  }

  /** Takes from those that have most until all weigh no more than that. */
  shrink(maxWeight: number): void {
    if (this.#weight <= maxWeight) return;
    // A heap, the owner that has most on top.
    const owners = [...this.#owners.values()].sort((a, b) => b.weight - a.weight);
    const [first] = owners;
    if (first === undefined) return;
    let richest = first;
    while (this.#weight > maxWeight && richest.oldest !== undefined) {
      const { oldest } = richest;
      this.#remove(oldest);
      this.#options.onGone?.(oldest.value);
      richest = sunk(owners);
    }
  }

  #remove(entry: Entry<K, V, O>): void {
    const { key, weight, owner } = entry;
    this.#entries.delete(key);
    this.#weight -= weight;
    owner.weight -= weight;
    unlink(entry);
    if (owner.oldest === undefined) this.#owners.delete(owner.name);
  }
}

/** The top of a heap has less than it had: it goes down to its place; what is on top then. */
function sunk<O extends { readonly weight: number }>(heap: O[]): O {
  const top = heap[0] as O;
  let at = 0;
  for (;;) {
    const left = 2 * at + 1;
    const right = heap[left + 1];
    let next = heap[left];
    let to = left;
    if (next !== undefined && right !== undefined && right.weight > next.weight) {
      next = right;
      to = left + 1;
    }
    if (next === undefined || next.weight <= top.weight) break;
    heap[at] = next;
    at = to;
  }
  heap[at] = top;
  return heap[0] as O;
}

function link<K, V, O>(entry: Entry<K, V, O>): void {
  const { owner } = entry;
  entry.older = owner.newest;
  if (owner.newest === undefined) owner.oldest = entry;
  else owner.newest.newer = entry;
  owner.newest = entry;
}

function unlink<K, V, O>(entry: Entry<K, V, O>): void {
  const { owner, older, newer } = entry;
  if (older === undefined) owner.oldest = newer;
  else older.newer = newer;
  if (newer === undefined) owner.newest = older;
  else newer.older = older;
  entry.older = undefined;
  entry.newer = undefined;
}
