import { createPool } from 'generic-pool';
import { type Entry, EntryStack } from './LiveSet.js';

/** A creation that failed. generic-pool must take it for a resource: a `create` that rejects is repeated for ever. */
class Failure {
  readonly error: unknown;

  constructor(error: unknown) {
    this.error = error;
  }
}

/** Our own gates are the tight ones: what was dropped from the middle of the shelf still counts as generic-pool's. */
const UNBOUNDED = 2 ** 31;

/**
 * The creator and the shelf of parked resources: generic-pool behind the one place that knows it (decision 033). Every
 * resource in use is checked out of it; parking returns it. generic-pool validates nothing, times nothing and runs no
 * evictor: its `create` never rejects, its `destroy` does nothing, and it is cleared once.
 */
export class GenericPoolShelf<R> {
  readonly #pool;
  readonly #refused: (error: unknown) => void;
  /** The shelf in generic-pool's own order, which takes from the top: it tells what the next `acquire` gives. */
  readonly #order = new EntryStack<R>();
  #size = 0;
  #creating = 0;

  /** `refused` hears of calls that generic-pool rejects, which it should not. */
  constructor(create: () => Promise<Entry<R>>, refused: (error: unknown) => void) {
    this.#refused = refused;
    this.#pool = createPool<Entry<R> | Failure>(
      {
        create: () =>
          create().then(
            (entry) => entry,
            (error: unknown) => new Failure(error),
          ),
        destroy: () => Promise.resolve(),
      },
      { max: UNBOUNDED, min: 0, fifo: false, testOnBorrow: false, autostart: false, evictionRunIntervalMillis: 0 },
    );
  }

  /** Parked resources. */
  get size(): number {
    return this.#size;
  }

  /** False while a creation is under way: generic-pool would give what is parked to that request. */
  get mayPark(): boolean {
    return this.#creating === 0;
  }

  /** The resource parked last, which leaves `size` at once, or else a new one. Rejects as `create` does. */
  async take(): Promise<Entry<R>> {
    const { top } = this.#order;
    if (top === undefined) this.#creating++;
    else {
      this.#unshelve(top);
      top.state = 'arriving';
      this.#size--;
    }
    const acquired = this.#pool.acquire();
    this.#dropGone();
    try {
      const box = await acquired;
      if (!(box instanceof Failure)) return box;
      this.#check(this.#pool.destroy(box));
      throw box.error;
    } finally {
      if (top === undefined) this.#creating--;
    }
  }

  /** Puts a resource without leases on the shelf; only while `mayPark`. */
  park(entry: Entry<R>): void {
    entry.state = 'parked';
    entry.onShelf = true;
    this.#order.push(entry);
    this.#size++;
    this.#check(this.#pool.release(entry));
  }

  /** Those parked, the one parked first at the front. They may be dropped meanwhile. */
  *oldestFirst(): Iterable<Entry<R>> {
    let entry = this.#order.bottom;
    while (entry !== undefined) {
      const { above } = entry;
      if (entry.state === 'parked') yield entry;
      entry = above;
    }
  }

  /**
   * Forgets a resource that is `gone` now. generic-pool cannot take one from the middle of its shelf: it stays there,
   * and is thrown away when it comes to the top.
   */
  drop(entry: Entry<R>): void {
    if (!entry.onShelf) this.#check(this.#pool.destroy(entry));
    else {
      this.#size--;
      this.#dropGone();
    }
  }

  /** To be called when everything parked was dropped; what is checked out must have been, or end by itself soon. */
  async close(): Promise<void> {
    await this.#pool.drain();
    await this.#pool.clear();
  }

  #dropGone(): void {
    for (let { top } = this.#order; top?.state === 'gone'; top = this.#order.top) {
      this.#unshelve(top);
      this.#check(this.#pool.acquire().then((box) => this.#pool.destroy(box)));
    }
  }

  #unshelve(entry: Entry<R>): void {
    entry.onShelf = false;
    this.#order.remove(entry);
  }

  #check(done: PromiseLike<unknown>): void {
    done.then(undefined, this.#refused);
  }
}
