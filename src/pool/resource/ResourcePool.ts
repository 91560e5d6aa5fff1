import { WaitQueue } from '../../concurrent/WaitQueue.js';
import { type Closeable, type CloseOptions, CloseScope } from '../../core/close/CloseScope.js';
import {
  type AcquireTimeoutDetail,
  AcquireTimeoutError,
  ClosedError,
  ShutdownTimeoutError,
} from '../../core/errors.js';
import { Emitter, type Listener } from '../../core/events.js';
import { checkFunction, checkMs } from '../../core/options.js';
import { Desk } from './Desk.js';
import type { Lease } from './Lease.js';
import { LiveSet } from './LiveSet.js';
import { checkOptions, type ResourcePoolOptions, type Settings } from './options.js';
import { Population } from './Population.js';
import type { AcquireOptions, DestroyReason, ResourceFactory, ResourcePoolEvents, ResourcePoolStats } from './types.js';

/**
 * Lends out resources, `slotsPerResource` leases on each at a time, and makes, parks and ends them as needed. Acquire
 * and release of what is live cost no promise, timer, scan or clock read. Waiters are served strictly first in, first
 * out, and a release hands its slot straight to the oldest; nothing is idle while somebody waits.
 * Alive, being created and being destroyed, there are never more than `maxResources`.
 * Rejections: ERR_ACQUIRE_TIMEOUT, ERR_QUEUE_FULL, ERR_START_FAILED (`create` failed), ERR_CLOSED, ERR_OPTION, or the
 * signal's own reason.
 */
export class ResourcePool<R> implements Closeable, AsyncDisposable {
  readonly #settings: Settings;
  readonly #live: LiveSet<R>;
  readonly #queue: WaitQueue<Lease<R>>;
  readonly #desk: Desk<R>;
  readonly #events: Emitter<ResourcePoolEvents<R>>;
  readonly #scope: CloseScope;
  readonly #population: Population<R>;
  /** What still ran in `use` at the deadline of the close. */
  readonly #abandoned: Error[] = [];
  #exhaustedTold = false;
  #drained: (() => void) | undefined;
  #closingSinceMs = 0;

  constructor(factory: ResourceFactory<R>, options: ResourcePoolOptions = {}) {
    checkFunction('create', factory.create);
    checkFunction('destroy', factory.destroy);
    if (factory.validate !== undefined) checkFunction('validate', factory.validate);
    const settings = checkOptions(options);
    const { name, clock, logger } = settings;
    this.#settings = settings;
    this.#live = new LiveSet(settings.slotsPerResource, settings.placement);
    this.#queue = new WaitQueue({
      what: name,
      maxQueue: settings.maxWaiters,
      clock,
      timeoutError: (timeoutMs) => new AcquireTimeoutError(name, timeoutMs, this.#detail()),
    });
    this.#desk = new Desk(clock, this.#live, this.#queue, settings.leakThresholdMs > 0, {
      backToRetired: (entry) => {
        this.#population.backToRetired(entry);
        if (this.#desk.leases.size === 0) this.#drained?.();
      },
    });
    this.#events = new Emitter((error, event) => logger.error({ error, pool: name, event }, 'a listener threw'));
    this.#scope = new CloseScope(name, {
      clock,
      logger,
      onRefuse: () => {
        this.#closingSinceMs = clock.now();
        this.#queue.rejectAll(new ClosedError(name));
        this.#population.refuse();
      },
      onDrain: () =>
        new Promise((resolve) => {
          if (this.#desk.leases.size === 0) resolve();
          else this.#drained = resolve;
        }),
      onDeadline: () => this.#revokeAll(),
      onRelease: async () => {
        const failures = [...this.#abandoned, ...(await this.#population.finish())];
        if (failures.length > 0) throw new AggregateError(failures);
      },
    });
    this.#population = new Population(factory, settings, this.#scope, this.#live, this.#desk.leases, this.#events, {
      waiting: () => this.#queue.size,
      serve: () => this.#desk.serve(),
      fail: (waiters, error) => {
        for (let i = 0; i < waiters; i++) this.#queue.shift()?.reject(error);
      },
    });
    this.#population.grow();
  }

  /** A lease at once, or undefined: no live resource has a free slot. Starts nothing. @throws ClosedError */
  tryAcquire(): Lease<R> | undefined {
    const lease = this.#desk.take();
    if (lease === undefined) this.#scope.assertOpen();
    return lease;
  }

  /** A lease now if a live resource has a free slot, else when it is this caller's turn. */
  acquire(options?: AcquireOptions): Promise<Lease<R>> {
    if (options !== undefined) {
      const refused = refusal(options);
      if (refused !== undefined) return refused;
    }
    const lease = this.#desk.take();
    return lease === undefined ? this.#wait(options) : Promise.resolve(lease);
  }

  /**
   * Runs `fn` with a resource and releases it however `fn` ends. If it still runs at the deadline of a close it is
   * abandoned: `lease.signal` aborts, and this and the close reject with `ShutdownTimeoutError` (ERR_SHUTDOWN_TIMEOUT).
   */
  async use<V>(fn: (resource: R, lease: Lease<R>) => V | PromiseLike<V>, options?: AcquireOptions): Promise<V> {
    const lease = await this.acquire(options);
    try {
      if (lease.revoked) throw new ClosedError(this.#settings.name);
      return await new Promise<V>((resolve, reject) => {
        lease.heldBy(fn.name || 'a function', reject);
        Promise.resolve(fn(lease.resource, lease)).then(resolve, reject);
      });
    } finally {
      lease.release();
    }
  }

  /**
   * No new leases on `resource`; it is destroyed when the last is back, at once if none is out. False when it is not
   * of this pool, or not any more.
   */
  retire(resource: R, reason: DestroyReason = 'retired'): boolean {
    const entry = this.#population.find(resource);
    if (entry === undefined) return false;
    this.#population.retire(entry, reason);
    return true;
  }

  /** One consistent snapshot. */
  get stats(): ResourcePoolStats {
    const { parked, retiringLoad, counts } = this.#population;
    const free = this.#live.size * this.#live.slots - (this.#desk.leases.size - retiringLoad);
    return { ...this.#detail(), parked, free, ...counts };
  }

  on<K extends keyof ResourcePoolEvents<R>>(event: K, listener: Listener<ResourcePoolEvents<R>[K]>): Disposable {
    return this.#events.on(event, listener);
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

  #wait(options: AcquireOptions = {}): Promise<Lease<R>> {
    const { name, acquireTimeoutMs, leakThresholdMs } = this.#settings;
    if (this.#scope.closing) return Promise.reject(new ClosedError(name));
    if (this.#queue.size === 0) this.#exhaustedTold = false;
    this.#desk.leases.stamp();
    const promise = this.#queue.wait({
      signal: options.signal,
      timeoutMs: options.timeoutMs ?? acquireTimeoutMs,
      tag: leakThresholdMs > 0 ? new Error('taken here') : undefined,
    });
    this.#population.grow();
    if (!this.#exhaustedTold && this.#population.exhausted) this.#tellExhausted();
    return promise;
  }

  #tellExhausted(): void {
    this.#exhaustedTold = true;
    const { maxResources } = this.#settings;
    this.#events.emit('exhausted', { waiting: this.#queue.size, inUse: this.#desk.leases.size, maxResources });
  }

  #revokeAll(): void {
    const { name, clock } = this.#settings;
    const heldMs = Math.round(clock.now() - this.#closingSinceMs);
    const reason = new ClosedError(name);
    for (const { name: fn, fail } of this.#desk.revokeAll(reason)) {
      const error = new ShutdownTimeoutError(`${name}: ${fn}`, heldMs);
      this.#abandoned.push(error);
      fail(error);
    }
    this.#population.endRetired();
  }

  #detail(): AcquireTimeoutDetail {
    const { oldest, size } = this.#desk.leases;
    return {
      ...this.#population.detail,
      inUse: size,
      waiting: this.#queue.size,
      oldestLeaseAgeMs: oldest?.heldMs,
      oldestLeaseStack: oldest?.lease?.stack,
    };
  }
}

function refusal({ timeoutMs, signal }: AcquireOptions): Promise<never> | undefined {
  try {
    if (timeoutMs !== undefined) checkMs('timeoutMs', timeoutMs, { infinity: true });
  } catch (error) {
    return Promise.reject(error);
  }
  return signal?.aborted ? Promise.reject(signal.reason) : undefined;
}
