import { createPool } from 'generic-pool';
import { type Entry, EntryStack } from './LiveSet.js';
import type { Settings } from './options.js';
import type { DestroyReason } from './types.js';

/** What comes from the inventory: a resource, or why there is none. */
export type Box<R> = Entry<R> | Failure;

export class Failure {
  readonly error: Error;

  constructor(error: Error) {
    this.error = error;
  }
}

export interface InventoryHooks<R> {
  readonly create: () => Promise<Entry<R>>;
  readonly destroy: (entry: Entry<R>, reason: DestroyReason) => void;
}

/**
 * The creator and the shelf of parked resources: generic-pool, asked for one thing at a time. All that is not on the
 * shelf is checked out of it. It must be kept from what it does badly: its `create` never rejects and always settles,
 * its `destroy` never throws, it validates nothing, times nothing out but idleness, and is cleared once.
 */
export class Inventory<R> {
  readonly #hooks: InventoryHooks<R>;
  readonly #settings: Settings;
  readonly #pool;
  /** The shelf in generic-pool's own order, which takes from the top: so we know what the next `take` gives. */
  readonly #shelf = new EntryStack<R>();
  #size = 0;
  #closing = false;

  constructor(settings: Settings, hooks: InventoryHooks<R>) {
    this.#settings = settings;
    this.#hooks = hooks;
    const { maxResources, idleTimeoutMs } = settings;
    const ends = idleTimeoutMs !== Number.POSITIVE_INFINITY && idleTimeoutMs > 0;
    this.#pool = createPool<Box<R>>(
      {
        create: () =>
          hooks.create().then(
            (entry): Box<R> => entry,
            (error: Error) => new Failure(error),
          ),
        destroy: (box) => this.#ended(box),
      },
      {
        // Twice, since what was forgotten on the shelf still counts there and our own gates are the tighter ones.
        max: 2 * maxResources,
        min: 0,
        fifo: false,
        testOnBorrow: false,
        autostart: false,
        idleTimeoutMillis: ends ? Math.ceil(idleTimeoutMs) : 1,
        evictionRunIntervalMillis: ends ? Math.ceil(Math.min(Math.max(idleTimeoutMs / 4, 10), 1_000)) : 0,
        numTestsPerEvictionRun: 2 * maxResources,
      },
    );
  }

  /** Resources on the shelf. */
  get size(): number {
    return this.#size;
  }

  /** The resource parked last, or else a new one; never rejects. */
  take(): Promise<Box<R>> {
    let { top } = this.#shelf;
    for (; top !== undefined; top = this.#shelf.top) {
      this.#unshelve(top);
      if (top.state === 'shelved') break;
      // Forgotten: take it from the shelf only to throw it away.
      this.#check(this.#pool.acquire().then((box) => this.#pool.destroy(box)));
    }
    if (top !== undefined) {
      top.state = 'growing';
      this.#size--;
    }
    return this.#pool.acquire();
  }

  /** Puts a resource without leases on the shelf. Nothing may be coming from `take`: it would get this one. */
  park(entry: Entry<R>): void {
    entry.state = 'shelved';
    entry.onShelf = true;
    this.#shelf.push(entry);
    this.#size++;
    this.#check(this.#pool.release(entry));
  }

  /** Ends what is checked out. */
  end(box: Box<R>, reason: DestroyReason): void {
    if (!(box instanceof Failure)) box.reason = reason;
    this.#check(this.#pool.destroy(box));
  }

  /** Ends what is parked. generic-pool cannot take it from the middle of its shelf: there it stays, but as a husk. */
  forget(entry: Entry<R>, reason: DestroyReason): void {
    this.#size--;
    this.#hooks.destroy(entry, reason);
  }

  /** Ends all that is parked. Everything checked out must have been ended, or end by itself soon. */
  async close(): Promise<void> {
    this.#closing = true;
    await this.#pool.drain();
    await this.#pool.clear();
  }

  /** generic-pool has let go of it: on our order, or its evictor's, or to clear the shelf. */
  #ended(box: Box<R>): Promise<void> {
    if (box instanceof Failure) return Promise.resolve();
    if (box.onShelf) this.#unshelve(box);
    if (box.state === 'shelved') this.#size--;
    if (box.state !== 'gone') this.#hooks.destroy(box, box.reason ?? (this.#closing ? 'closed' : 'idle'));
    return Promise.resolve();
  }

  #unshelve(entry: Entry<R>): void {
    entry.onShelf = false;
    this.#shelf.remove(entry);
  }

  #check(done: PromiseLike<unknown>): void {
    const { logger, name } = this.#settings;
    done.then(undefined, (error: unknown) => logger.error({ error, pool: name }, 'generic-pool refused'));
  }
}
