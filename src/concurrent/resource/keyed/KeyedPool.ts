import { type Closeable, type CloseOptions, CloseScope } from '../../../core/close/CloseScope.js';
import { ClosedError, QueueFullError } from '../../../core/errors.js';
import { Emitter, type Listener } from '../../../core/events.js';
import { checkCount, checkMs, withDefaults } from '../../../core/options.js';
import { sweepMs } from '../Housekeeper.js';
import { type Lease, useLease } from '../Lease.js';
import {
  type AcquireOptions,
  checkOptions,
  type DestroyReason,
  type ResourceFactory,
  type ResourcePoolOptions,
  refusal,
} from '../options.js';
import type { ResourceInfo, ResourcePoolEvents } from '../PoolJournal.js';
import { ResourcePool } from '../ResourcePool.js';
import { KeyShares, type Member } from './KeyShares.js';
import {
  KEYED_POOL_DEFAULTS,
  type KeyedFactory,
  type KeyedPoolEvents,
  type KeyedPoolInspection,
  type KeyedPoolOptions,
  type KeyedPoolStats,
} from './keyedOptions.js';

const MAX_INSPECTED = 100;
const MAX_BACKING_OFF = 1_000;

/**
 * One bound over many keys. Each key has a `ResourcePool` of its own, made when it is used and gone when it holds no
 * resource and no caller waits for one. At the bound a key that needs another resource waits its turn among such keys,
 * one resource a turn. Room is made by ending what idles in other keys; else, from the key that has most, and more than
 * the one in need, a resource that has been that key's for `maxHoldMs` or that its callers do not wait for.
 * Errors as of `ResourcePool`.
 */
export class KeyedPool<K, R> implements Closeable, AsyncDisposable {
  readonly #factory: KeyedFactory<K, R>;
  readonly #options: ResourcePoolOptions;
  readonly #name: string;
  readonly #maxResources: number;
  readonly #maxQueue: number;
  readonly #sweepMs: number;
  readonly #scope: CloseScope;
  readonly #events: Emitter<KeyedPoolEvents<K, R>>;
  readonly #shares: KeyShares<K, R>;
  #waiting = 0;
  #sweep: Disposable | undefined;

  constructor(factory: KeyedFactory<K, R>, options: KeyedPoolOptions = {}) {
    const others = { clock: true, logger: true, random: true } as const;
    const all = withDefaults('KeyedPool', options, KEYED_POOL_DEFAULTS, others);
    const { maxPerKey, maxHoldMs, ...rest } = all;
    checkCount('maxPerKey', maxPerKey, { min: 1, infinity: true });
    checkMs('maxHoldMs', maxHoldMs);
    const settings = checkOptions(factory as unknown as ResourceFactory<R>, rest);
    const { name, clock, logger } = settings;
    this.#factory = factory;
    this.#options = { ...rest, maxResources: Math.min(rest.maxResources, maxPerKey) };
    this.#name = name;
    this.#maxResources = rest.maxResources;
    this.#maxQueue = rest.maxQueue;
    this.#sweepMs = sweepMs(settings);
    this.#events = new Emitter((error, event) => logger.error({ error, pool: name, event }, 'a listener threw'));
    this.#scope = new CloseScope(name, { clock, logger });
    this.#shares = new KeyShares(this.#scope, rest.maxResources, maxHoldMs);
  }

  /** A lease on a resource of `key` at once, or undefined. Starts nothing. @throws ClosedError */
  tryAcquire(key: K): Lease<R> | undefined {
    this.#scope.assertOpen();
    return this.#shares.members.get(key)?.pool.tryAcquire();
  }

  /** A lease on a resource of `key`: now if one has a free slot, else when it is this caller's turn. */
  acquire(key: K, options: AcquireOptions = {}): Promise<Lease<R>> {
    if (this.#scope.closing) return Promise.reject(new ClosedError(this.#name));
    const refused = refusal(options);
    if (refused !== undefined) return refused;
    const lease = this.#shares.members.get(key)?.pool.tryAcquire();
    return lease === undefined ? this.#wait(key, options) : Promise.resolve(lease);
  }

  /** As `ResourcePool.use`, with a resource of `key`. */
  async use<V>(key: K, fn: (resource: R, lease: Lease<R>) => V | PromiseLike<V>, options?: AcquireOptions): Promise<V> {
    return useLease(await this.acquire(key, options), fn, this.#name);
  }

  /** As `ResourcePool.retire`. */
  retire(key: K, resource: R, reason?: DestroyReason): boolean {
    return this.#shares.members.get(key)?.pool.retire(resource, reason) ?? false;
  }

  /** As `ResourcePool.retireWhere`, over all keys. If `predicate` throws, those of earlier keys are retired already. */
  retireWhere(
    predicate: (resource: R, info: ResourceInfo & { readonly key: K }) => boolean,
    reason?: DestroyReason,
  ): number {
    let retired = 0;
    for (const { key, pool } of [...this.#shares.members.values()]) {
      retired += pool.retireWhere((resource, info) => predicate(resource, { ...info, key }), reason);
    }
    return retired;
  }

  /** The keys that have a resource or a waiting caller. */
  keys(): K[] {
    return [...this.#shares.members.keys()];
  }

  /** One consistent snapshot. */
  get stats(): KeyedPoolStats {
    let inUse = 0;
    for (const { pool } of this.#shares.members.values()) inUse += pool.life.leases.size;
    return {
      keys: this.#shares.members.size,
      maxResources: this.#maxResources,
      inUse,
      waiting: this.#waiting,
      ...this.#shares.counts,
    };
  }

  /** What the pool holds and waits for, as plain data. */
  inspect(): KeyedPoolInspection {
    const pools = [...this.#shares.members.values()].slice(0, MAX_INSPECTED).map(({ pool }) => {
      const { inUse, waiting, live } = pool.stats;
      return { inUse, waiting, live };
    });
    const state = this.#scope.closed ? 'closed' : this.#scope.closing ? 'closing' : 'open';
    return { name: this.#name, state, ...this.stats, pools };
  }

  /** The events of all keys' pools, with the key. */
  on<N extends keyof KeyedPoolEvents<K, R>>(event: N, listener: Listener<KeyedPoolEvents<K, R>[N]>): Disposable {
    return this.#events.on(event, listener);
  }

  /** As `ResourcePool.close`, for all keys together. */
  close(options?: CloseOptions): Promise<void> {
    return this.#scope.close(options);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #wait(key: K, options: AcquireOptions): Promise<Lease<R>> {
    if (this.#waiting >= this.#maxQueue) throw new QueueFullError(this.#name, this.#waiting, this.#maxQueue);
    const member = this.#shares.members.get(key) ?? this.#join(key);
    this.#waiting++;
    try {
      return await member.pool.acquire(options);
    } finally {
      this.#waiting--;
      this.#leaveIfIdle(member);
    }
  }

  #join(key: K): Member<K, R> {
    const { create, destroy, validate, reset } = this.#factory;
    const member: Member<K, R> = {
      key,
      permits: 0,
      evicting: 0,
      owned: undefined,
      pool: new ResourcePool<R>(
        {
          create: ({ signal }) => create.call(this.#factory, { key, signal }),
          destroy: (resource, { reason, signal }) => destroy.call(this.#factory, resource, { key, reason, signal }),
          ...(validate && {
            validate: (resource: R, { signal }: { signal: AbortSignal }) =>
              validate.call(this.#factory, resource, { key, signal }),
          }),
          ...(reset && {
            reset: (resource: R, { signal }: { signal: AbortSignal }) =>
              reset.call(this.#factory, resource, { key, signal }),
          }),
        },
        this.#options,
        {
          takePermit: () => this.#shares.takePermit(member),
          permitBack: () => {
            this.#shares.permitBack(member);
            queueMicrotask(() => this.#leaveIfIdle(member));
          },
          idled: () => this.#shares.idled(),
          tell: (event, payload) => this.#tell(member, event, payload),
        },
      ),
    };
    member.owned = this.#scope.own(this.#name, member.pool);
    this.#shares.members.set(key, member);
    this.#armSweep();
    return member;
  }

  #leaveIfIdle(member: Member<K, R>): void {
    if (member.permits > 0 || member.pool.life.queue.size > 0 || this.#shares.members.get(member.key) !== member)
      return;
    if (this.#scope.closing) return;
    // After a failed creation the key's wait for the next is kept, for as many keys as is reasonable.
    if (member.pool.life.runner.retryInMs > 0 && this.#shares.members.size <= this.#maxResources + MAX_BACKING_OFF)
      return;
    this.#shares.remove(member);
    member.owned?.[Symbol.dispose]();
    void this.#scope.track(member.pool.close());
  }

  #tell<N extends keyof ResourcePoolEvents<R>>(
    member: Member<K, R>,
    event: N,
    payload: ResourcePoolEvents<R>[N],
  ): boolean {
    if (event === 'destroyed' && (payload as ResourcePoolEvents<R>['destroyed']).reason === 'evicted') {
      this.#shares.evicted(member);
    }
    return this.#events.emit(event, { ...payload, key: member.key } as KeyedPoolEvents<K, R>[N]);
  }

  #armSweep(): void {
    this.#sweep ??= this.#scope.timer('sweep', this.#sweepMs, () => {
      this.#sweep = undefined;
      for (const member of [...this.#shares.members.values()]) {
        member.pool.life.housekeeper.sweep();
        this.#leaveIfIdle(member);
      }
      if (this.#shares.members.size > 0) this.#armSweep();
    });
  }
}
