import { type Closeable, type CloseOptions, CloseScope } from '../../core/close/CloseScope.js';
import {
  type AcquireTimeoutDetail,
  AcquireTimeoutError,
  ClosedError,
  messageOf,
  ShutdownTimeoutError,
} from '../../core/errors.js';
import type { Listener } from '../../core/events.js';
import { checkAtOnce } from '../../core/options.js';
import { WaitQueue } from '../queue/WaitQueue.js';
import { type Lease, useLease } from './Lease.js';
import type { Entry } from './LiveSet.js';
import {
  type AcquireOptions,
  checkBounds,
  checkOptions,
  type DestroyReason,
  type ResizeOptions,
  type ResourceFactory,
  type ResourcePoolOptions,
  refusal,
  type Settings,
} from './options.js';
import {
  PoolJournal,
  type ResourceInfo,
  type ResourcePoolEvents,
  type ResourcePoolInspection,
  type ResourcePoolStats,
  type Shared,
} from './PoolJournal.js';
import { ResourceLifecycle } from './ResourceLifecycle.js';

const MAX_INSPECTED = 100;

/**
 * Lends out resources, `slotsPerResource` leases on each at a time, and makes, parks and ends them as needed. Acquire
 * and release of what is live cost no promise, timer, scan or clock read. Waiters are served strictly first in, first
 * out, and a release hands its slot straight to the oldest; nothing is idle while a caller waits.
 * Alive, being created and being destroyed, there are never more than `maxResources`.
 * Rejections: ERR_ACQUIRE_TIMEOUT, ERR_QUEUE_FULL, ERR_START_FAILED (`create` failed), ERR_CLOSED, ERR_OPTION, or the
 * signal's own reason.
 */
export class ResourcePool<R> implements Closeable, AsyncDisposable {
  readonly #settings: Settings;
  readonly #scope: CloseScope;
  readonly #journal: PoolJournal<R>;
  /** @internal */
  readonly life: ResourceLifecycle<R>;
  #exhaustedTold = false;
  #closingSinceMs = 0;

  constructor(factory: ResourceFactory<R>, options?: ResourcePoolOptions);
  /** @internal */
  constructor(factory: ResourceFactory<R>, options: ResourcePoolOptions, shared: Shared<R>);
  constructor(factory: ResourceFactory<R>, options: ResourcePoolOptions = {}, shared?: Shared<R>) {
    const settings = checkOptions(factory, options);
    const { name, clock, logger, maxQueue } = settings;
    this.#settings = settings;
    this.#journal = new PoolJournal(settings, shared);
    const timeoutError = (timeoutMs: number): Error => {
      this.#journal.timedOut();
      return new AcquireTimeoutError(name, timeoutMs, this.#detail());
    };
    const queue = new WaitQueue<Lease<R>>({ what: name, maxQueue, clock, timeoutError });
    this.#scope = new CloseScope(name, {
      clock,
      logger,
      onRefuse: () => this.#refuse(),
      onDrain: () => this.#drain(),
      onDeadline: () => this.#revokeAll(),
      onRelease: () => this.#finish(),
    });
    this.life = new ResourceLifecycle(factory, settings, this.#scope, queue, this.#journal, shared);
    this.life.grow();
  }

  /** A lease at once, or undefined: no live resource has a free slot. Starts nothing. @throws ClosedError */
  tryAcquire(): Lease<R> | undefined {
    const lease = this.life.take();
    if (lease === undefined) this.#scope.assertOpen();
    return lease;
  }

  /** A lease now if a live resource has a free slot, else when it is this caller's turn. */
  acquire(options?: AcquireOptions): Promise<Lease<R>> {
    if (options !== undefined) {
      const refused = refusal(options);
      if (refused !== undefined) return refused;
    }
    const lease = this.life.take();
    return lease === undefined ? this.#wait(options) : Promise.resolve(lease);
  }

  /**
   * Runs `fn` with a resource and releases it however `fn` ends. If it still runs at the deadline of a close it is
   * abandoned: `lease.signal` aborts, and this and the close reject with `ShutdownTimeoutError` (ERR_SHUTDOWN_TIMEOUT).
   */
  async use<V>(fn: (resource: R, lease: Lease<R>) => V | PromiseLike<V>, options?: AcquireOptions): Promise<V> {
    return useLease(await this.acquire(options), fn, this.#settings.name);
  }

  /**
   * No new leases on `resource`; it is destroyed when the last is back, at once if none is out. False when it is not
   * of this pool, or not any more.
   */
  retire(resource: R, reason: DestroyReason = 'retired'): boolean {
    const entry = this.life.all.get(resource);
    if (entry === undefined) return false;
    this.life.retire(entry, reason);
    return true;
  }

  /** Retires every resource for which `predicate` is true; gives how many. If it throws, none is retired. */
  retireWhere(predicate: (resource: R, info: ResourceInfo) => boolean, reason: DestroyReason = 'retired'): number {
    const chosen = [...this.life.all.values()].filter((entry) =>
      checkAtOnce('predicate', predicate(entry.resource, this.#info(entry))),
    );
    for (const entry of chosen) this.life.retire(entry, reason);
    return chosen.length;
  }

  /**
   * Changes the bounds. Down, parked and idle resources end at once, then those with the fewest leases take no new ones
   * and end when the last is back; until then more than `maxResources` may be alive. @throws OptionError
   */
  resize({
    maxResources = this.#settings.maxResources,
    minResources = this.#settings.minResources,
  }: ResizeOptions): void {
    checkBounds(minResources, maxResources);
    this.#scope.assertOpen();
    Object.assign(this.#settings, { maxResources, minResources });
    const { shelf, all } = this.life;
    const byLoad = [...all.values()].filter(({ state }) => state === 'live').sort((a, b) => a.load - b.load);
    for (const entry of [...shelf.oldestFirst(), ...byLoad].slice(0, Math.max(0, this.life.excess))) {
      this.life.retire(entry, 'resized');
    }
    this.life.grow();
  }

  /** No lease begins until `resume`: callers wait, `tryAcquire` gives none. Leases that are out go on. Again is a no-op. */
  suspend(): void {
    this.life.suspended = true;
  }

  /** Serves those who waited, oldest first, and goes on. Again is a no-op. */
  resume(): void {
    this.life.suspended = false;
    this.life.serve();
    this.life.grow();
  }

  /** One consistent snapshot. */
  get stats(): ResourcePoolStats {
    const { live, leases, shelf, retiringLoad, suspended } = this.life;
    const free = live.size * live.slots - (leases.size - retiringLoad);
    const { maxResources } = this.#settings;
    return { ...this.#detail(), parked: shelf.size, free, maxResources, suspended, ...this.#journal.counts };
  }

  /** What the pool holds, waits for and has counted, as plain data: of its resources, the first 100. */
  inspect(): ResourcePoolInspection {
    const { name, minResources, slotsPerResource } = this.#settings;
    const { lastCreateError, ...stats } = this.stats;
    return {
      ...{ name, minResources, slotsPerResource, ...stats },
      state: this.#scope.closed ? 'closed' : this.#scope.closing ? 'closing' : 'open',
      lastCreateError: lastCreateError === undefined ? undefined : messageOf(lastCreateError),
      resources: [...this.life.all.values()].slice(0, MAX_INSPECTED).map((entry) => this.#info(entry)),
    };
  }

  on<K extends keyof ResourcePoolEvents<R>>(event: K, listener: Listener<ResourcePoolEvents<R>[K]>): Disposable {
    return this.#journal.events.on(event, listener);
  }

  /**
   * Refuses callers and waiters at once, ends what is idle, gives leases `graceMs` to come back, then revokes them.
   * Resolves when every resource is destroyed; after the grace that takes up to twice `destroyTimeoutMs`. Rejects with
   * `AggregateError` of what failed: functions of `use` that still ran, `destroy` or `create` that failed or hung.
   */
  close(options?: CloseOptions): Promise<void> {
    return this.#scope.close(options);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #wait(options: AcquireOptions | undefined): Promise<Lease<R>> {
    const { name, acquireTimeoutMs, leakThresholdMs } = this.#settings;
    if (this.#scope.closing) return Promise.reject(new ClosedError(name));
    const { size } = this.life.queue;
    if (size === 0) this.#exhaustedTold = false;
    this.life.leases.stamp();
    const since = this.#journal.stamp;
    const timeoutMs = options?.acquireTimeoutMs ?? acquireTimeoutMs;
    const tag = leakThresholdMs > 0 ? { since, at: new Error('taken here') } : since;
    const promise = this.life.queue.enter(options?.signal, timeoutMs, 1, tag);
    if (this.life.queue.size > size) this.#journal.waited();
    this.life.grow();
    if (!this.#exhaustedTold) this.#tellExhausted();
    return promise;
  }

  /** Tells it when the newest waiter can be helped by no creation, under way or still allowed. */
  #tellExhausted(): void {
    const { maxResources } = this.#settings;
    const { arriving, live, permits, leases } = this.life;
    if (this.life.queue.size <= arriving * live.slots || permits < maxResources) return;
    this.#exhaustedTold = true;
    this.#journal.tell('exhausted', { waiting: this.life.queue.size, inUse: leases.size, maxResources });
  }

  #info({ state, load, createdMs }: Entry<R>): ResourceInfo {
    return { state: state === 'gone' ? 'retiring' : state, leases: load, ageMs: this.#scope.clock.now() - createdMs };
  }

  #refuse(): void {
    const { name, clock } = this.#settings;
    this.#closingSinceMs = clock.now();
    this.life.queue.rejectAll(new ClosedError(name));
    for (const entry of [...this.life.all.values()]) this.life.retire(entry, 'closed');
    this.life.runner.giveUp(new ClosedError(name));
  }

  #drain(): Promise<void> {
    return new Promise((resolve) => {
      if (this.life.leases.size === 0) resolve();
      else this.life.drained = resolve;
    });
  }

  #revokeAll(): void {
    const { name, clock } = this.#settings;
    const heldMs = Math.round(clock.now() - this.#closingSinceMs);
    for (const { name: fn, fail } of this.life.leases.revokeAll(new ClosedError(name))) {
      const error = new ShutdownTimeoutError(`${name}: ${fn}`, heldMs);
      this.life.failures.push(error);
      fail(error);
    }
    this.life.retiringLoad = 0;
    for (const entry of [...this.life.all.values()]) if (entry.state === 'retiring') this.life.endRetired(entry);
  }

  /** Destructions are bounded by themselves; late creations get `destroyTimeoutMs` more, then they are abandoned and named. */
  async #finish(): Promise<void> {
    const { name, clock, destroyTimeoutMs } = this.#settings;
    const life = this.life;
    await life.shelf.close();
    const abandonLate = (): void => {
      for (let late = life.runner.abandonLate(); late > 0; late--) {
        life.failures.push(new ShutdownTimeoutError(`${name}: create`, destroyTimeoutMs));
        life.permitBack();
      }
    };
    const timer = clock.setTimer(abandonLate, destroyTimeoutMs, { ref: true });
    while (life.permits > 0) {
      await new Promise<void>((resolve) => {
        life.emptied = resolve;
      });
    }
    timer.cancel();
    if (life.failures.length > 0) throw new AggregateError(life.failures);
  }

  #detail(): AcquireTimeoutDetail {
    const { leases, live, retiring, arriving, runner, dying, lastCreateError } = this.life;
    const { oldest } = leases;
    return {
      live: live.size + retiring,
      creating: arriving + runner.late,
      dying,
      slots: (live.size + retiring) * live.slots,
      inUse: leases.size,
      waiting: this.life.queue.size,
      oldestLeaseAgeMs: oldest?.heldMs,
      oldestLeaseStack: oldest?.lease?.stack,
      lastCreateError,
    };
  }
}
