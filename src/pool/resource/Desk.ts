import type { Waiter, WaitQueue } from '../../concurrent/WaitQueue.js';
import type { Clock } from '../../core/clock.js';
import { Lease, type Lender } from './Lease.js';
import { Ledger } from './Ledger.js';
import type { Entry, LiveSet } from './LiveSet.js';

/** What the desk leaves to others, off its path. */
export interface DeskHooks<R> {
  /** A lease came back to a resource that takes no more. */
  readonly backToRetired: (entry: Entry<R>) => void;
}

/** The hot path: slots over the counter, from the live set to callers and back, or straight to the oldest waiter. */
export class Desk<R> implements Lender<R> {
  readonly leases: Ledger<Lease<R>>;
  readonly #live: LiveSet<R>;
  readonly #queue: WaitQueue<Lease<R>>;
  readonly #tracing: boolean;
  readonly #hooks: DeskHooks<R>;
  #revokedWith: Error | undefined = undefined;

  constructor(clock: Clock, live: LiveSet<R>, queue: WaitQueue<Lease<R>>, tracing: boolean, hooks: DeskHooks<R>) {
    this.leases = new Ledger(clock);
    this.#live = live;
    this.#queue = queue;
    this.#tracing = tracing;
    this.#hooks = hooks;
  }

  get revokedWith(): Error | undefined {
    return this.#revokedWith;
  }

  /** A lease on what is free. A slot is only free while nobody waits, so this overtakes nobody. */
  take(): Lease<R> | undefined {
    const entry = this.#live.take();
    return entry === undefined ? undefined : this.#lend(entry);
  }

  giveBack(lease: Lease<R>, entry: Entry<R>, id: number): void {
    if (entry.state !== 'live') {
      this.#backLate(lease, entry, id);
      return;
    }
    this.leases.remove(id);
    if (this.#queue.size > 0) this.#handOver(entry);
    else this.#live.put(entry);
  }

  know(lease: Lease<R>, id: number): void {
    this.leases.know(id, lease);
  }

  forget(id: number): void {
    this.leases.forget(id);
  }

  /** Gives free slots to waiters. */
  serve(): void {
    while (this.#queue.size > 0) {
      const entry = this.#live.take();
      if (entry === undefined) return;
      this.#handOver(entry);
    }
  }

  /** Takes every lease back from who holds it, and tells him; gives the functions of `use` that held one. */
  revokeAll(reason: Error): NonNullable<ReturnType<Lease<R>['revoke']>>[] {
    const users = [];
    this.#revokedWith = reason;
    // One that the ledger does not know asks for itself when it is used again.
    const known = [...this.leases.known];
    this.leases.clear();
    for (const [, lease] of known) {
      const user = lease.revoke(reason);
      if (user !== undefined) users.push(user);
    }
    return users;
  }

  #lend(entry: Entry<R>, waiter?: Waiter<Lease<R>>): Lease<R> {
    const lease = new Lease(entry, this.leases.add(), this);
    // A waiter's stack is the one that asked, not the one that released.
    if (this.#tracing) lease.trace((waiter?.tag as Error | undefined) ?? new Error('taken here'));
    return lease;
  }

  #handOver(entry: Entry<R>): void {
    const waiter = this.#queue.shift();
    if (waiter === undefined) this.#live.put(entry);
    else waiter.resolve(this.#lend(entry, waiter));
  }

  /** Back to a resource that takes no more leases; or after it was revoked, when nothing is owed. */
  #backLate(lease: Lease<R>, entry: Entry<R>, id: number): void {
    if (this.#revokedWith !== undefined) {
      lease.revoke(this.#revokedWith);
      return;
    }
    this.leases.remove(id);
    this.#hooks.backToRetired(entry);
  }
}
