import type { Clock } from '../../core/clock.js';
import type { Entry } from './LiveSet.js';

/** Who lent a lease and takes it back. */
export interface Lender<R> {
  /** @internal */
  giveBack(lease: Lease<R>, entry: Entry<R>): void;
}

/** What few leases need: made when one does. */
interface Rare {
  /** Made where it was asked for. */
  trace?: Error;
  controller?: AbortController;
  /** Set when it was revoked; `reason` is then what its signal says. */
  revoked?: { readonly reason: unknown };
  /** The function of `use` that holds it. */
  user?: { readonly name: string; readonly fail: (error: unknown) => void };
  reported?: true;
}

/**
 * A slot of one resource, held until `release()`, which is idempotent; `using lease = …` releases at the end of the
 * block. One kept past the deadline of the pool's close is revoked: its `signal` aborts and the resource is destroyed.
 */
export class Lease<R> implements Disposable {
  /** What was asked for. Use it until `release()`, or until `signal` aborts. */
  readonly resource: R;
  /** @internal undefined once given back or revoked */
  entry: Entry<R> | undefined;
  /** @internal since when it has been out; -1 until a sweep or a waiter has seen it so */
  takenMs = -1;
  /** @internal */
  older: Lease<R> | undefined = undefined;
  /** @internal */
  newer: Lease<R> | undefined = undefined;
  #rare: Rare | undefined = undefined;
  readonly #lender: Lender<R>;

  /** @internal */
  constructor(entry: Entry<R>, lender: Lender<R>) {
    this.resource = entry.resource;
    this.entry = entry;
    this.#lender = lender;
  }

  /** Gives the slot back, straight to the oldest waiter if there is one. Again is a no-op. */
  release(): void {
    const { entry } = this;
    if (entry === undefined) return;
    this.entry = undefined;
    this.#lender.giveBack(this, entry);
  }

  [Symbol.dispose](): void {
    this.release();
  }

  /** True once the pool took it back by itself. */
  get revoked(): boolean {
    return this.#rare?.revoked !== undefined;
  }

  /** Aborts when the lease is revoked; never after a release. */
  get signal(): AbortSignal {
    this.#rare ??= {};
    const { revoked } = this.#rare;
    this.#rare.controller ??= new AbortController();
    if (revoked !== undefined) this.#rare.controller.abort(revoked.reason);
    return this.#rare.controller.signal;
  }

  /** @internal The stack that took it, when leases are traced. */
  get stack(): string | undefined {
    return this.#rare?.trace?.stack;
  }

  /** @internal */
  trace(at: Error): void {
    this.#rare = { ...this.#rare, trace: at };
  }

  /** @internal Names the function that holds it, and how it is failed when it is abandoned. */
  heldBy(name: string, fail: (error: unknown) => void): void {
    this.#rare = { ...this.#rare, user: { name, fail } };
  }

  /** @internal True the first time. */
  reportLeak(): boolean {
    if (this.#rare?.reported) return false;
    this.#rare = { ...this.#rare, reported: true };
    return true;
  }

  /** @internal Takes it away from who holds it; gives the function of `use` that held it, if one did. */
  revoke(reason: unknown): Rare['user'] {
    this.entry = undefined;
    this.#rare = { ...this.#rare, revoked: { reason } };
    this.#rare.controller?.abort(reason);
    return this.#rare.user;
  }
}

/** Every lease that is out, oldest first. A lease is its own link: nothing is allocated, nothing scanned. */
export class Leases<R> {
  #oldest: Lease<R> | undefined;
  #newest: Lease<R> | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get oldest(): Lease<R> | undefined {
    return this.#oldest;
  }

  add(lease: Lease<R>): void {
    const newest = this.#newest;
    lease.older = newest;
    if (newest === undefined) this.#oldest = lease;
    else newest.newer = lease;
    this.#newest = lease;
    this.#size++;
  }

  remove(lease: Lease<R>): void {
    const { older, newer } = lease;
    if (older === undefined) this.#oldest = newer;
    else older.newer = newer;
    if (newer === undefined) this.#newest = older;
    else newer.older = older;
    lease.older = undefined;
    lease.newer = undefined;
    this.#size--;
  }

  /** Tells those taken since the last call that they are out since now at the latest; each is told once. */
  stamp(clock: Clock): void {
    let lease = this.#newest;
    if (lease?.takenMs !== -1) return;
    for (const nowMs = clock.now(); lease?.takenMs === -1; lease = lease.older) lease.takenMs = nowMs;
  }
}
