/**
 * Where a resource is. `arriving`: on its way into the live set, new, from the shelf, or back from a check or a reset;
 * `live`: it takes leases; `retiring`: it only waits for its last lease; `parked`: on the shelf; `gone`: its destruction
 * has begun.
 */
export type EntryState = 'arriving' | 'live' | 'retiring' | 'parked' | 'gone';

/** One resource of a pool. It is also its own place in the list it is in. */
export class Entry<R> {
  readonly resource: R;
  /** The `Lender` its leases go back to, which knows this file; set when it is first admitted. */
  lender: unknown = undefined;
  readonly createdMs: number;
  /** When its life is over; `Infinity` never. */
  readonly expiresMs: number;
  state: EntryState = 'arriving';
  /** Leases on it. */
  load = 0;
  /** Since when it has been without a lease, or parked; -1 until a sweep has seen it so. */
  idleSinceMs = -1;
  /** When it was made, or validated since. */
  checkedMs: number;
  /** The validation under way. */
  checking: Promise<boolean> | undefined = undefined;
  /** False once it has been live. */
  fresh = true;
  /** Whether it is on the shelf, `gone` or not. */
  onShelf = false;
  /** Why it is to be destroyed. */
  reason: string | undefined = undefined;
  /** Neighbours in its bucket or on the shelf; the top was put in last. */
  above: Entry<R> | undefined = undefined;
  below: Entry<R> | undefined = undefined;
  /** The bucket of its load in the live set. */
  bucket: EntryStack<R> | undefined = undefined;

  constructor(resource: R, createdMs: number, expiresMs: number) {
    this.resource = resource;
    this.createdMs = createdMs;
    this.checkedMs = createdMs;
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

  /** Puts it in as if it had been first. */
  pushBottom(entry: Entry<R>): void {
    const { bottom } = this;
    if (bottom === undefined) this.top = entry;
    else bottom.below = entry;
    entry.above = bottom;
    this.bottom = entry;
  }

  /** Takes out the one put in last. */
  pop(): Entry<R> | undefined {
    const entry = this.top;
    if (entry === undefined) return undefined;
    const { below } = entry;
    this.top = below;
    if (below === undefined) this.bottom = undefined;
    else below.above = undefined;
    entry.below = undefined;
    return entry;
  }

  /** Takes out the one put in first. */
  popBottom(): Entry<R> | undefined {
    const entry = this.bottom;
    if (entry !== undefined) this.remove(entry);
    return entry;
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

/** The live resources with the same number of leases. Those that hold any stand in a row, least load first. */
class Bucket<R> extends EntryStack<R> {
  readonly load: number;
  /** The buckets of one lease less and one more; `up` is made on first use. */
  readonly down: Bucket<R> | undefined;
  up: Bucket<R> | undefined = undefined;
  /** Neighbours in the row. */
  lower: Bucket<R> | undefined = undefined;
  higher: Bucket<R> | undefined = undefined;

  constructor(load: number, down: Bucket<R> | undefined) {
    super();
    this.load = load;
    this.down = down;
  }
}

/**
 * The resources that take leases, in buckets by load. A resource moves only between neighbours, so taking a slot and
 * giving one back are O(1) in resources, slots and waiters, and allocate nothing. Full ones are in no bucket.
 */
export class LiveSet<R> {
  readonly slots: number;
  readonly #pack: boolean;
  /** First in the row always, empty or not; the others only while they hold any. */
  readonly #idle = new Bucket<R>(0, undefined);
  #fullest = this.#idle;
  /** Exclusive and packed: the one given back last, on top of all that are idle. Mostly it is the next one taken. */
  #hot: Entry<R> | undefined = undefined;
  #size = 0;

  constructor(slotsPerResource: number, placement: 'pack' | 'spread') {
    this.slots = slotsPerResource;
    this.#pack = placement === 'pack';
  }

  /** Resources that take leases, full ones too. */
  get size(): number {
    return this.#size;
  }

  /** The one that has been without a lease longest. */
  get longestIdle(): Entry<R> | undefined {
    this.#cool();
    return this.#idle.bottom;
  }

  /** The one that has been without a lease shortest; the others are below it. */
  get latestIdle(): Entry<R> | undefined {
    this.#cool();
    return this.#idle.top;
  }

  /** Takes a slot: of the fullest resource with a free one, the last used first; to spread, of the emptiest, in turn. */
  take(): Entry<R> | undefined {
    if (this.slots > 1) return this.#takeShared();
    let entry = this.#hot;
    if (entry === undefined) entry = this.#pack ? this.#idle.pop() : this.#idle.popBottom();
    else this.#hot = undefined;
    if (entry !== undefined) entry.load = 1;
    return entry;
  }

  /** Gives a slot back. */
  put(entry: Entry<R>): void {
    if (this.slots > 1) {
      this.#putShared(entry);
      return;
    }
    entry.load = 0;
    entry.idleSinceMs = -1;
    if (!this.#pack) {
      this.#idle.push(entry);
      return;
    }
    if (this.#hot !== undefined) this.#idle.push(this.#hot);
    this.#hot = entry;
  }

  /** Takes in a resource without leases; one that has idled already goes to those that idle longest. */
  add(entry: Entry<R>): void {
    this.#cool();
    entry.state = 'live';
    if (entry.idleSinceMs < 0) this.#idle.push(entry);
    else this.#idle.pushBottom(entry);
    this.#size++;
  }

  /** Lets a resource go, whatever its load: no new leases on it. */
  remove(entry: Entry<R>): void {
    this.#size--;
    this.#cool();
    if (entry.load === this.slots) return;
    const bucket = entry.load === 0 ? this.#idle : this.#of(entry);
    bucket.remove(entry);
    this.#unlinkEmpty(bucket);
  }

  #cool(): void {
    if (this.#hot === undefined) return;
    this.#idle.push(this.#hot);
    this.#hot = undefined;
  }

  /** The bucket where a resource with leases, but not full, stands. */
  #of(entry: Entry<R>): Bucket<R> {
    return entry.bucket as Bucket<R>;
  }

  #takeShared(): Entry<R> | undefined {
    let from = this.#fullest;
    if (!this.#pack) from = this.#idle.top === undefined ? (this.#idle.higher ?? this.#idle) : this.#idle;
    const entry = this.#pack ? from.pop() : from.popBottom();
    if (entry === undefined) return undefined;
    from.up ??= new Bucket(from.load + 1, from);
    const to = from.up;
    entry.load = to.load;
    // A full one stands in no bucket, but remembers this one: back from it leads `down`.
    entry.bucket = to;
    if (to.load < this.slots) {
      if (to.top === undefined) this.#link(to, from);
      to.push(entry);
    }
    this.#unlinkEmpty(from);
    return entry;
  }

  #putShared(entry: Entry<R>): void {
    const from = this.#of(entry);
    const to = from.down as Bucket<R>;
    const full = from.load === this.slots;
    if (!full) from.remove(entry);
    entry.load = to.load;
    entry.bucket = to;
    if (to.load === 0) entry.idleSinceMs = -1;
    else if (to.top === undefined) this.#link(to, full ? this.#fullest : (from.lower as Bucket<R>));
    to.push(entry);
    if (!full) this.#unlinkEmpty(from);
  }

  #link(bucket: Bucket<R>, lower: Bucket<R>): void {
    const { higher } = lower;
    bucket.lower = lower;
    bucket.higher = higher;
    lower.higher = bucket;
    if (higher === undefined) this.#fullest = bucket;
    else higher.lower = bucket;
  }

  #unlinkEmpty(bucket: Bucket<R>): void {
    const { lower, higher } = bucket;
    if (bucket.top !== undefined || lower === undefined) return;
    lower.higher = higher;
    if (higher === undefined) this.#fullest = lower;
    else higher.lower = lower;
    bucket.lower = undefined;
    bucket.higher = undefined;
  }
}
