/**
 * Where a resource is. It comes `shelved` or fresh out of `growing`, is `live` while it takes leases, `retiring` while
 * it only waits for its last lease, `gone` from the moment its destruction begins.
 */
export type EntryState = 'growing' | 'live' | 'retiring' | 'shelved' | 'gone';

/** One resource of a pool. It is also the box in which generic-pool holds it, and a link of the list it is in. */
export class Entry<R> {
  readonly resource: R;
  readonly createdMs: number;
  /** When its life is over; `Infinity` never. */
  readonly expiresMs: number;
  state: EntryState = 'growing';
  /** Leases on it. */
  load = 0;
  /** Since when it has been without a lease; -1 until a sweep has seen it so. */
  idleSinceMs = -1;
  /** False once it has been live. */
  fresh = true;
  /** Whether generic-pool has it on its shelf, be it `gone`. */
  onShelf = false;
  /** Why it is to be destroyed. */
  reason: string | undefined = undefined;
  /** Neighbours in its bucket or on the shelf; the top was put in last. */
  above: Entry<R> | undefined = undefined;
  below: Entry<R> | undefined = undefined;

  constructor(resource: R, createdMs: number, expiresMs: number) {
    this.resource = resource;
    this.createdMs = createdMs;
    this.expiresMs = expiresMs;
  }
}

/** Entries on top of each other; any of them can be taken out in O(1). */
export class EntryStack<R> {
  top: Entry<R> | undefined = undefined;
  bottom: Entry<R> | undefined = undefined;

  push(entry: Entry<R>): void {
    const { top } = this;
    entry.below = top;
    if (top === undefined) this.bottom = entry;
    else top.above = entry;
    this.top = entry;
  }

  remove(entry: Entry<R>): void {
    const { above, below } = entry;
    if (above === undefined) this.top = below;
    else above.below = below;
    if (below === undefined) this.bottom = above;
    else below.above = above;
    entry.above = undefined;
    entry.below = undefined;
  }
}

/** The live resources with the same number of leases; the buckets that hold any stand in a row, least load first. */
class Bucket<R> extends EntryStack<R> {
  lower: Bucket<R> | undefined = undefined;
  higher: Bucket<R> | undefined = undefined;
}

/**
 * The resources that take leases, in buckets by load. A resource moves only between neighbours, so taking a slot and
 * giving one back are O(1) in resources, slots and waiters, and allocate nothing. Full ones are in no bucket.
 */
export class LiveSet<R> {
  readonly slots: number;
  readonly #pack: boolean;
  readonly #buckets: Bucket<R>[] = [];
  #least: Bucket<R> | undefined;
  #fullest: Bucket<R> | undefined;
  #size = 0;

  constructor(slotsPerResource: number, placement: 'pack' | 'spread') {
    this.slots = slotsPerResource;
    this.#pack = placement === 'pack';
    this.#bucket(0);
  }

  /** Resources that take leases, full ones too. */
  get size(): number {
    return this.#size;
  }

  /** The one that has been without a lease longest. */
  get longestIdle(): Entry<R> | undefined {
    return this.#buckets[0]?.bottom;
  }

  /** The one that has been without a lease shortest; the others are below it. */
  get latestIdle(): Entry<R> | undefined {
    return this.#buckets[0]?.top;
  }

  /** Takes a slot: of the fullest resource with a free one, the last used first; to spread, of the emptiest, the last used last. */
  take(): Entry<R> | undefined {
    const bucket = this.#pack ? this.#fullest : this.#least;
    if (bucket === undefined) return undefined;
    const entry = (this.#pack ? bucket.top : bucket.bottom) as Entry<R>;
    const load = entry.load + 1;
    entry.load = load;
    bucket.remove(entry);
    if (load < this.slots) this.#push(entry, this.#bucket(load), bucket);
    if (bucket.top === undefined) this.#unlink(bucket);
    return entry;
  }

  /** Gives a slot back. */
  put(entry: Entry<R>): void {
    const load = entry.load - 1;
    const bucket = this.#bucket(load);
    entry.load = load;
    if (load === 0) entry.idleSinceMs = -1;
    if (load + 1 === this.slots) {
      this.#push(entry, bucket, this.#fullest);
      return;
    }
    const from = this.#bucket(load + 1);
    from.remove(entry);
    this.#push(entry, bucket, from.lower);
    if (from.top === undefined) this.#unlink(from);
  }

  /** Takes in a resource without leases. */
  add(entry: Entry<R>): void {
    entry.state = 'live';
    entry.idleSinceMs = -1;
    this.#push(entry, this.#bucket(0), undefined);
    this.#size++;
  }

  /** Lets a resource go, whatever its load: no new leases on it. */
  remove(entry: Entry<R>): void {
    this.#size--;
    if (entry.load === this.slots) return;
    const bucket = this.#bucket(entry.load);
    bucket.remove(entry);
    if (bucket.top === undefined) this.#unlink(bucket);
  }

  #bucket(load: number): Bucket<R> {
    const bucket = this.#buckets[load];
    if (bucket !== undefined) return bucket;
    // Loads are reached one by one, so the next one missing is always at the end.
    const added = new Bucket<R>();
    this.#buckets.push(added);
    return added;
  }

  /** Puts `entry` into `bucket`, which takes its place in the row behind `lower` if it was empty. */
  #push(entry: Entry<R>, bucket: Bucket<R>, lower: Bucket<R> | undefined): void {
    if (bucket.top === undefined) {
      const higher = lower === undefined ? this.#least : lower.higher;
      bucket.lower = lower;
      bucket.higher = higher;
      if (lower === undefined) this.#least = bucket;
      else lower.higher = bucket;
      if (higher === undefined) this.#fullest = bucket;
      else higher.lower = bucket;
    }
    bucket.push(entry);
  }

  #unlink(bucket: Bucket<R>): void {
    const { lower, higher } = bucket;
    if (lower === undefined) this.#least = higher;
    else lower.higher = higher;
    if (higher === undefined) this.#fullest = lower;
    else higher.lower = lower;
    bucket.lower = undefined;
    bucket.higher = undefined;
  }
}
