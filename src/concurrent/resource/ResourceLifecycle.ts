import type { CloseScope } from '../../core/close/CloseScope.js';
import { keptError } from '../../core/errors.js';
import type { WaitQueue } from '../queue/WaitQueue.js';
import { FactoryRunner } from './FactoryRunner.js';
import { GenericPoolShelf } from './GenericPoolShelf.js';
import { Housekeeper } from './Housekeeper.js';
import { type Asked, Lease, LeaseTable, type Lender } from './Lease.js';
import { type Entry, LiveSet } from './LiveSet.js';
import type { DestroyReason, ResourceFactory, Settings } from './options.js';
import type { PoolJournal, Shared } from './PoolJournal.js';

/**
 * The life of a resource, from top to bottom: permit, take or create, validate, admit, lend, take back, reset, park or
 * end. A permit is out from before a creation until the destruction is over, and never more than `maxResources` are,
 * whatever the user's functions do.
 */
export class ResourceLifecycle<R> implements Lender<R> {
  readonly #settings: Settings;
  readonly #scope: CloseScope;
  readonly queue: WaitQueue<Lease<R>>;
  readonly #journal: PoolJournal<R>;
  readonly #shared: Shared<R> | undefined;
  readonly housekeeper: Housekeeper<R>;
  readonly #validates: boolean;
  readonly #resets: boolean;
  readonly #traces: boolean;
  readonly runner: FactoryRunner<R>;
  readonly shelf: GenericPoolShelf<R>;
  readonly live: LiveSet<R>;
  readonly leases: LeaseTable<R>;
  /** Every resource between its creation and its end. */
  readonly all = new Map<R, Entry<R>>();
  permits = 0;
  /** On their way to the live set; of these, the ones that `#supply` brings. */
  arriving = 0;
  #supplying = 0;
  /** Waiting for their last lease; the leases on them. */
  retiring = 0;
  retiringLoad = 0;
  dying = 0;
  /** While it is set, no lease begins. */
  suspended = false;
  lastCreateError: Error | undefined;
  /** What a destruction ended in since the close began. */
  readonly failures: unknown[] = [];
  /** What a close waits for: the last lease is back; a permit is back. */
  drained: (() => void) | undefined;
  emptied: (() => void) | undefined;

  constructor(
    factory: ResourceFactory<R>,
    settings: Settings,
    scope: CloseScope,
    queue: WaitQueue<Lease<R>>,
    journal: PoolJournal<R>,
    shared?: Shared<R>,
  ) {
    this.#settings = settings;
    this.#scope = scope;
    this.queue = queue;
    this.#journal = journal;
    this.#shared = shared;
    this.#validates = settings.validateParked && factory.validate !== undefined;
    this.#resets = factory.reset !== undefined;
    this.#traces = settings.leakThresholdMs > 0;
    this.live = new LiveSet(settings.slotsPerResource, settings.placement);
    this.leases = new LeaseTable(settings.clock);
    this.runner = new FactoryRunner(factory, settings, scope, {
      lateMade: (resource, sinceMs) => void this.#destroy(resource, sinceMs, scope.closing ? 'closed' : 'late'),
      lateFailed: () => this.permitBack(),
      retry: () => this.grow(),
    });
    this.shelf = new GenericPoolShelf(
      () => this.runner.create(),
      (error) => settings.logger.error({ error, pool: settings.name }, 'generic-pool refused'),
    );
    this.housekeeper = new Housekeeper(settings, scope, journal, this, shared === undefined);
  }

  /** Begins what waiters and `minResources` need, as far as permits, backoff and `maxConcurrentCreates` allow. */
  grow(): void {
    while (this.#supplying < this.#settings.maxConcurrentCreates && this.#needsMore && !this.#scope.closing) {
      if (this.shelf.size === 0 && !this.#takePermit()) return;
      this.arriving++;
      this.#supplying++;
      void this.#supply();
    }
  }

  get #needsMore(): boolean {
    if (this.queue.size > this.arriving * this.live.slots && !this.suspended) return true;
    return this.live.size + this.arriving < this.#settings.minResources;
  }

  #takePermit(): boolean {
    if (this.permits >= this.#settings.maxResources || this.runner.backsOff(this.queue.size > 0)) return false;
    if (this.#shared?.takePermit() === false) return false;
    this.permits++;
    return true;
  }

  /** Brings a resource to the live set: the one parked last, or a new one. */
  async #supply(): Promise<void> {
    const entry = await this.shelf.take().catch((error: Error) => error);
    if (entry instanceof Error) {
      this.#createFailed(entry);
      return;
    }
    const { resource, fresh } = entry;
    const createMs = this.#scope.clock.now() - entry.createdMs;
    if (fresh) {
      entry.fresh = false;
      entry.lender = this;
      this.all.set(resource, entry);
      this.lastCreateError = undefined;
    } else if ((this.#validates || entry.checking !== undefined) && !(await this.runner.validate(entry))) {
      entry.reason ??= 'invalid';
    }
    this.#supplying--;
    entry.idleSinceMs = -1;
    this.#admit(entry);
    if (fresh) this.#journal.created(resource, createMs);
  }

  /**
   * While something is live, waiters can still be served: they wait on. Else nothing else helps those whom the failed
   * one was for, the oldest; nor any other, when it was the last one under way.
   */
  #createFailed(error: Error): void {
    this.arriving--;
    this.#supplying--;
    // One that was given up on keeps its permit until it settles and what it made is destroyed.
    if (!this.runner.isLate(error)) this.#returnPermit();
    if (this.#scope.closing) return;
    this.lastCreateError = keptError(error) as Error;
    if (this.live.size === 0) {
      const waiting = this.queue.size;
      const uncovered = waiting - this.arriving * this.live.slots;
      let failed = this.arriving === 0 ? waiting : Math.min(this.live.slots, uncovered);
      for (; failed > 0; failed--) this.queue.shift()?.reject(error);
    }
    const { failures, retryInMs } = this.runner;
    this.#journal.createFailed(error, failures, retryInMs);
    // Without a wait this would spin: the next caller or release tries again.
    if (retryInMs > 0) this.grow();
  }

  /** An arriving one becomes live, unless there is a reason by now to end it. */
  #admit(entry: Entry<R>): void {
    if (this.#scope.closing) entry.reason ??= 'closed';
    else if (entry.expiresMs <= this.#scope.clock.now()) entry.reason ??= 'lifetime';
    else if (this.excess > 0) entry.reason ??= 'resized';
    this.arriving--;
    if (entry.reason !== undefined) void this.#end(entry, entry.reason);
    else {
      this.live.add(entry);
      this.housekeeper.admit(entry);
      this.serve();
      if (entry.load === 0) this.#shared?.idled();
    }
    this.grow();
  }

  /** A lease on what is free. A slot is only free while no caller waits, so this overtakes none. */
  take(): Lease<R> | undefined {
    const entry = this.suspended ? undefined : this.live.take();
    return entry === undefined ? undefined : this.#lend(entry);
  }

  /** Lends free slots to waiters. */
  serve(): void {
    while (this.queue.size > 0 && !this.suspended) {
      const entry = this.live.take();
      if (entry === undefined) return;
      this.#handOver(entry);
    }
  }

  #lend(entry: Entry<R>, asked?: Error): Lease<R> {
    const lease = new Lease(entry, this.leases.add());
    if (this.#traces) lease.trace(asked ?? new Error('taken here'));
    return lease;
  }

  #handOver(entry: Entry<R>): void {
    const waiter = this.queue.shift();
    if (waiter === undefined) {
      this.live.put(entry);
      return;
    }
    // When traced, the stack is the one that asked, not the one that released.
    const asked = this.#traces ? (waiter.tag as Asked) : undefined;
    this.#journal.waitEnded(asked?.since ?? (waiter.tag as number));
    waiter.resolve(this.#lend(entry, asked?.at));
  }

  /** A lease is back: its slot goes to the oldest waiter, or is free. */
  takeBack(lease: Lease<R>, entry: Entry<R>, id: number): void {
    if (entry.state !== 'live') this.#takeBackRetired(lease, entry, id);
    else {
      this.leases.remove(id);
      if (this.#resets && entry.load === 1) {
        this.live.put(entry);
        void this.#refresh(entry, this.runner.reset(entry), 'resetFailed');
      } else if (this.queue.size > 0 && !this.suspended) this.#handOver(entry);
      else {
        this.live.put(entry);
        if (this.#shared !== undefined && entry.load === 0) this.#shared.idled();
      }
    }
  }

  /** Back to a resource that takes no more leases; or after it was revoked, when nothing is owed. */
  #takeBackRetired(lease: Lease<R>, entry: Entry<R>, id: number): void {
    const { revokedWith } = this.leases;
    if (revokedWith !== undefined) {
      lease.revoke(revokedWith);
      return;
    }
    this.leases.remove(id);
    entry.load--;
    this.retiringLoad--;
    if (entry.load === 0) this.endRetired(entry);
    if (this.leases.size === 0) this.drained?.();
  }

  /** Takes one without leases out of the live set while a function of the user's has it. */
  async #refresh(entry: Entry<R>, good: Promise<boolean>, reason: DestroyReason): Promise<void> {
    this.live.remove(entry);
    entry.state = 'arriving';
    this.arriving++;
    if (!(await good)) entry.reason ??= reason;
    this.#admit(entry);
  }

  /** Asks whether an idle or parked one is still good. */
  check(entry: Entry<R>): void {
    const good = this.runner.validate(entry);
    if (entry.state === 'live') void this.#refresh(entry, good, 'invalid');
    else void good.then((is) => (is ? undefined : this.retire(entry, 'invalid')));
  }

  /** How many resources there are too many, after a `resize`. */
  get excess(): number {
    return this.live.size + this.shelf.size + this.arriving - this.#settings.maxResources;
  }

  /** No new leases on it; it ends when it has none. */
  retire(entry: Entry<R>, reason: DestroyReason): void {
    if (entry.state === 'parked') void this.#end(entry, reason);
    else if (entry.state === 'arriving') entry.reason ??= reason;
    else if (entry.state === 'live') {
      this.live.remove(entry);
      entry.state = 'retiring';
      entry.reason = reason;
      this.retiring++;
      this.retiringLoad += entry.load;
      if (entry.load === 0) this.endRetired(entry);
    }
    this.grow();
  }

  /** One that retires has no lease any more. */
  endRetired(entry: Entry<R>): void {
    this.retiring--;
    void this.#end(entry, entry.reason ?? 'retired');
  }

  async #end(entry: Entry<R>, reason: DestroyReason): Promise<void> {
    const { resource, createdMs } = entry;
    entry.state = 'gone';
    if (this.all.get(resource) === entry) this.all.delete(resource);
    this.shelf.drop(entry);
    await this.#destroy(resource, createdMs, reason);
  }

  async #destroy(resource: R, createdMs: number, reason: DestroyReason): Promise<void> {
    this.dying++;
    const error = await this.runner.destroy(resource, reason);
    this.dying--;
    if (error !== undefined && this.#scope.closing) this.failures.push(error);
    this.#journal.destroyed(resource, reason, this.#scope.clock.now() - createdMs, error);
    this.permitBack();
  }

  permitBack(): void {
    this.#returnPermit();
    this.grow();
  }

  #returnPermit(): void {
    this.permits--;
    this.#shared?.permitBack();
    this.emptied?.();
  }
}
