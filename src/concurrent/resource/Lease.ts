import type { Clock } from '../../core/clock.js';
import { ClosedError } from '../../core/errors.js';
import { Entry } from './LiveSet.js';

/** The pool, as its leases see it. */
export interface Lender<R> {
  readonly leases: LeaseTable<R>;
  takeBack(lease: Lease<R>, entry: Entry<R>, id: number): void;
}

/** What a waiter is tagged with when leases are traced; else with `since` alone. */
export interface Asked {
  readonly since: number;
  readonly at: Error;
}

/** The number of a lease that is over. */
const OVER = -1;

/** What few leases need: made when one does. */
interface Rare {
  /** Made where it was asked for. */
  trace?: Error;
  controller?: AbortController;
  revokedWith?: Error;
  /** The function of `use` that holds it. */
  user?: { readonly name: string; readonly fail: (error: unknown) => void };
  reported?: true;
}

/**
 * A slot of one resource, held until `release()`, which is idempotent; `using lease = …` releases at the end of the
 * block. One kept past the deadline of the pool's close is revoked: its `signal` aborts and the resource is destroyed.
 */
export class Lease<R> implements Disposable {
  static {
    // A promise that is resolved with an object looks for its `then`: found here, it need not look further up.
    Object.defineProperty(Lease.prototype, 'then', { value: undefined });
  }

  /**
   * @internal Never lent. With no lease alive at a full collection the engine forgets their hidden class, and with it
   * all code it has optimised for them: thousands of acquires after it would cost three times as much.
   */
  static readonly kept: unknown = new Lease(new Entry<unknown>(undefined, 0, 0), OVER);

  // Few fields: with many callers waiting, the collector copies each lease twice.
  readonly #entry: Entry<R>;
  /** Its number in the table of leases; `OVER` once it was given back or revoked. */
  #id: number;
  #rare: Rare | undefined = undefined;

  /** @internal */
  constructor(entry: Entry<R>, id: number) {
    this.#entry = entry;
    this.#id = id;
  }

  /** What was asked for. Use it until `release()`, or until `signal` aborts. */
  get resource(): R {
    return this.#entry.resource;
  }

  /** Gives the slot back, straight to the oldest waiter if there is one. Again is a no-op. */
  release(): void {
    const id = this.#id;
    if (id === OVER) return;
    this.#id = OVER;
    const lender = this.#lender;
    if (this.#rare !== undefined) lender.leases.forget(id);
    lender.takeBack(this, this.#entry, id);
  }

  [Symbol.dispose](): void {
    this.release();
  }

  /** True once the pool took it back by itself. */
  get revoked(): boolean {
    return this.#revokedWith !== undefined;
  }

  /** Aborts when the lease is revoked; never after a release. */
  get signal(): AbortSignal {
    const rare = this.#need();
    rare.controller ??= new AbortController();
    if (this.revoked) rare.controller.abort(this.#revokedWith);
    return rare.controller.signal;
  }

  /** @internal The stack that took it, when leases are traced. */
  get stack(): string | undefined {
    return this.#rare?.trace?.stack;
  }

  /** @internal */
  trace(at: Error): void {
    this.#need().trace = at;
  }

  /** @internal Names the function that holds it, and how it is failed when it is abandoned. */
  heldBy(name: string, fail: (error: unknown) => void): void {
    this.#need().user = { name, fail };
  }

  /** @internal True the first time. */
  reportLeak(): boolean {
    const rare = this.#need();
    if (rare.reported) return false;
    rare.reported = true;
    return true;
  }

  /** @internal Takes it away from its holder; gives the function of `use` that held it, if one did. */
  revoke(reason: Error): Rare['user'] {
    const rare = this.#need();
    this.#id = OVER;
    rare.revokedWith = reason;
    rare.controller?.abort(reason);
    return rare.user;
  }

  get #lender(): Lender<R> {
    return this.#entry.lender as Lender<R>;
  }

  get #revokedWith(): Error | undefined {
    return this.#rare?.revokedWith ?? (this.#id === OVER ? undefined : this.#lender.leases.revokedWith);
  }

  #need(): Rare {
    if (this.#rare === undefined) {
      this.#rare = {};
      if (this.#id !== OVER) this.#lender.leases.know(this.#id, this);
    }
    return this.#rare;
  }
}

/** In `#takenMs`: the number is free, or its lease has not been seen by a stamp yet. */
const FREE = -2;
const FRESH = -1;
/** With more leases than this, stamps are so far apart at the least: stamping stays cheap however many callers wait. */
const MANY = 64;
const STAMP_MS = 10;

/** Runs `fn` with a lease and releases it however `fn` ends; `pool` names the pool in errors. */
export async function useLease<R, V>(
  lease: Lease<R>,
  fn: (resource: R, lease: Lease<R>) => V | PromiseLike<V>,
  pool: string,
): Promise<V> {
  try {
    if (lease.revoked) throw new ClosedError(pool);
    return await new Promise<V>((resolve, reject) => {
      lease.heldBy(fn.name || 'a function', reject);
      Promise.resolve(fn(lease.resource, lease)).then(resolve, reject);
    });
  } finally {
    lease.release();
  }
}

/**
 * Which leases are out, and since when. A lease is a number here: storing an object that lives short in one that lives
 * long costs the collector's write barrier, several times a store of a number. No order is kept, since the oldest is
 * asked for seldom: it is looked for then, and stays the oldest until it is back.
 */
export class LeaseTable<R> {
  readonly #clock: Clock;
  #takenMs = new Float64Array(16).fill(FREE);
  /** A stack of numbers to hand out, `#top` high; what was never handed out is `#takenMs.length - #issued`. */
  #free = new Int32Array(16);
  #top = 0;
  #issued = 0;
  /** The leases that must be found again: those with a signal, a trace or a function of `use`. */
  readonly #known = new Map<number, Lease<R>>();
  #oldest = 0;
  #oldestMs = Number.NaN;
  /** Whether a lease was taken since the last stamp. */
  #unseen = false;
  #stampedMs = Number.NEGATIVE_INFINITY;
  #revokedWith: Error | undefined = undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Leases that are out. */
  get size(): number {
    return this.#issued - this.#top;
  }

  /** Set when every lease that was out was revoked. */
  get revokedWith(): Error | undefined {
    return this.#revokedWith;
  }

  /** Enters a lease taken now. */
  add(): number {
    const top = this.#top - 1;
    if (top < 0) return this.#issue();
    this.#top = top;
    const id = this.#free[top] as number;
    this.#takenMs[id] = FRESH;
    this.#unseen = true;
    return id;
  }

  remove(id: number): void {
    this.#takenMs[id] = FREE;
    this.#free[this.#top++] = id;
  }

  know(id: number, lease: Lease<R>): void {
    this.#known.set(id, lease);
  }

  forget(id: number): void {
    this.#known.delete(id);
  }

  get known(): Iterable<[number, Lease<R>]> {
    return this.#known;
  }

  /** Tells those taken since the last stamp that they are out since now at the latest; each is told once. */
  stamp(): void {
    if (!this.#unseen) return;
    const nowMs = this.#clock.now();
    if (this.#issued > MANY && nowMs - this.#stampedMs < STAMP_MS) return;
    this.#stampedMs = nowMs;
    this.#unseen = false;
    const takenMs = this.#takenMs;
    for (let id = 0; id < this.#issued; id++) if (takenMs[id] === FRESH) takenMs[id] = nowMs;
  }

  /** For how long a lease has been out at `nowMs`, at the least. */
  heldMs(id: number, nowMs: number): number {
    const takenMs = this.#takenMs[id] as number;
    return takenMs < 0 ? 0 : nowMs - takenMs;
  }

  /** The lease that has been out longest: for how long, and itself if it is known. Undefined when none is out. */
  get oldest(): { readonly heldMs: number; readonly lease: Lease<R> | undefined } | undefined {
    if (this.size === 0) return undefined;
    // What was the oldest stays it until it is back; a number handed out again has a later stamp.
    if (this.#takenMs[this.#oldest] !== this.#oldestMs) this.#findOldest();
    return { heldMs: this.heldMs(this.#oldest, this.#clock.now()), lease: this.#known.get(this.#oldest) };
  }

  /** Takes every lease away from its holder; gives the functions of `use` that held one. */
  revokeAll(reason: Error): NonNullable<Rare['user']>[] {
    this.#revokedWith = reason;
    // One that the table does not know asks for itself when it is used again.
    const known = [...this.#known.values()];
    this.#known.clear();
    this.#top = 0;
    this.#issued = 0;
    return known.flatMap((lease) => lease.revoke(reason) ?? []);
  }

  #findOldest(): void {
    let least = Number.POSITIVE_INFINITY;
    for (let id = 0; id < this.#issued; id++) {
      const takenMs = this.#takenMs[id] as number;
      if (takenMs === FREE) continue;
      const sinceMs = takenMs === FRESH ? Number.MAX_VALUE : takenMs;
      if (sinceMs >= least) continue;
      least = sinceMs;
      this.#oldest = id;
    }
    this.#oldestMs = least;
  }

  #issue(): number {
    const id = this.#issued++;
    if (id === this.#takenMs.length) {
      const takenMs = new Float64Array(id * 2).fill(FREE);
      takenMs.set(this.#takenMs);
      this.#takenMs = takenMs;
      const free = new Int32Array(id * 2);
      free.set(this.#free);
      this.#free = free;
    }
    this.#takenMs[id] = FRESH;
    this.#unseen = true;
    return id;
  }
}
