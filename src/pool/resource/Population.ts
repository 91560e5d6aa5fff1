import type { CloseScope } from '../../core/close/CloseScope.js';
import { ClosedError } from '../../core/errors.js';
import type { Emitter } from '../../core/events.js';
import { Growth } from './Growth.js';
import { type Box, Failure, Inventory } from './Inventory.js';
import type { Lease } from './Lease.js';
import type { Ledger } from './Ledger.js';
import type { Entry, LiveSet } from './LiveSet.js';
import type { Settings } from './options.js';
import { Sweeper } from './Sweeper.js';
import type { DestroyReason, ResourceFactory, ResourcePoolEvents } from './types.js';
import { Workshop } from './Workshop.js';

export interface PopulationHooks {
  readonly waiting: () => number;
  /** Gives free slots to waiters. */
  readonly serve: () => void;
  /** Fails so many of the oldest waiters. */
  readonly fail: (waiters: number, error: Error) => void;
}

/**
 * The resources of a pool, from creation to destruction, off the hot path. A seat is a resource alive, being made or
 * being ended: live + retiring + parked + growing + late + dying, never more than `maxResources`.
 */
export class Population<R> {
  readonly #settings: Settings;
  readonly #validates: boolean;
  readonly #scope: CloseScope;
  readonly #live: LiveSet<R>;
  readonly #events: Emitter<ResourcePoolEvents<R>>;
  readonly #hooks: PopulationHooks;
  /** Every resource between its creation and its end. */
  readonly #all = new Map<R, Entry<R>>();
  readonly #workshop: Workshop<R>;
  readonly #inventory: Inventory<R>;
  readonly #growth: Growth;
  readonly #sweeper: Sweeper<R>;
  readonly counts = { created: 0, createFailed: 0, destroyed: 0, leaked: 0 };
  #retiring = 0;
  /** Leases on those that are retiring. */
  #retiringLoad = 0;
  #lastCreateError: Error | undefined;

  constructor(
    factory: ResourceFactory<R>,
    settings: Settings,
    scope: CloseScope,
    live: LiveSet<R>,
    leases: Ledger<Lease<R>>,
    events: Emitter<ResourcePoolEvents<R>>,
    hooks: PopulationHooks,
  ) {
    this.#settings = settings;
    this.#validates = settings.validateParked && factory.validate !== undefined;
    this.#scope = scope;
    this.#live = live;
    this.#events = events;
    this.#hooks = hooks;
    this.#workshop = new Workshop(factory, settings, {
      destroyed: (entry, reason, error) => this.#destroyed(entry, reason, error),
      seatFree: () => this.#growth.pump(),
    });
    this.#inventory = new Inventory(settings, {
      create: () => this.#workshop.create(),
      destroy: (entry, reason) => {
        if (this.#all.get(entry.resource) === entry) this.#all.delete(entry.resource);
        this.#workshop.destroy(entry, reason);
      },
    });
    this.#growth = new Growth(settings, scope, {
      wanted: (growing) => hooks.waiting() > growing * live.slots || live.size + growing < settings.minResources,
      parked: () => this.#inventory.size,
      seats: () => this.#seats,
      awaited: () => hooks.waiting() > 0,
      start: (failures) => void this.#inventory.take().then((box) => this.#grown(box, failures)),
    });
    this.#sweeper = new Sweeper(settings, scope, {
      live,
      leases,
      all: this.#all,
      // What comes from the inventory must not find there what was just parked.
      mayPark: () => live.size > settings.minResources && this.#growth.growing === 0,
      park: (entry) => this.#park(entry),
      expire: (entry) => this.retire(entry, 'lifetime'),
      leaked: (lease, heldMs) => {
        this.counts.leaked++;
        const report = { resource: lease.resource, heldMs, stack: lease.stack };
        if (events.emit('leaked', report)) return;
        settings.logger.warn({ pool: settings.name, ...report }, 'a lease has been out for too long');
      },
    });
  }

  get detail() {
    const live = this.#live.size + this.#retiring;
    return {
      live,
      creating: this.#growth.growing + this.#workshop.late,
      dying: this.#workshop.dying,
      slots: live * this.#live.slots,
      lastCreateError: this.#lastCreateError,
    };
  }

  get parked(): number {
    return this.#inventory.size;
  }

  /** Leases on resources that take none any more. */
  get retiringLoad(): number {
    return this.#retiringLoad;
  }

  /** Whether somebody waits whom neither a free seat nor a creation under way can help. */
  get exhausted(): boolean {
    const { growing } = this.#growth;
    return this.#hooks.waiting() > growing * this.#live.slots && this.#seats + growing >= this.#settings.maxResources;
  }

  /** Creates what is wanted. To be called when somebody begins to wait. */
  grow(): void {
    this.#growth.pump();
  }

  find(resource: R): Entry<R> | undefined {
    return this.#all.get(resource);
  }

  /** No new leases on it; it ends when it has none. */
  retire(entry: Entry<R>, reason: DestroyReason): void {
    if (entry.state === 'shelved') this.#inventory.forget(entry, reason);
    else if (entry.state === 'growing') entry.reason ??= reason;
    else if (entry.state === 'live') {
      this.#live.remove(entry);
      entry.state = 'retiring';
      entry.reason = reason;
      this.#retiring++;
      this.#retiringLoad += entry.load;
      if (entry.load === 0) this.#endRetired(entry);
    }
    this.#growth.pump();
  }

  /** A lease came back to a resource that takes no more. */
  backToRetired(entry: Entry<R>): void {
    entry.load--;
    this.#retiringLoad--;
    if (entry.load === 0) this.#endRetired(entry);
  }

  /** Ends what still has leases: they were revoked. */
  endRetired(): void {
    for (const entry of [...this.#all.values()]) {
      if (entry.state !== 'retiring') continue;
      this.#retiringLoad -= entry.load;
      this.#endRetired(entry);
    }
  }

  /** Ends what has no lease, now; what has one when it is back. Creations and validations under way are given up. */
  refuse(): void {
    for (const entry of [...this.#all.values()]) this.retire(entry, 'closed');
    this.#workshop.giveUp(new ClosedError(this.#settings.name));
  }

  /** Resolves when nothing lives, to what went wrong meanwhile. No lease may be out. */
  async finish(): Promise<readonly unknown[]> {
    await this.#inventory.close();
    return this.#workshop.finish();
  }

  get #seats(): number {
    const { late, dying } = this.#workshop;
    return this.#live.size + this.#retiring + this.#inventory.size + late + dying;
  }

  #endRetired(entry: Entry<R>): void {
    this.#retiring--;
    this.#inventory.end(entry, entry.reason ?? 'retired');
  }

  #grown(box: Box<R>, failures: number): void {
    if (box instanceof Failure) {
      this.#inventory.end(box, 'failed');
      this.#failed(box.error, failures);
    } else if (box.fresh) {
      this.#growth.created();
      this.#lastCreateError = undefined;
      this.counts.created++;
      this.#all.set(box.resource, box);
      const createMs = this.#scope.clock.now() - box.createdMs;
      this.#admit(box);
      this.#events.emit('created', { resource: box.resource, createMs });
    } else if (this.#validates) {
      void this.#workshop.validate(box).then((good) => {
        if (!good) box.reason ??= 'invalid';
        this.#growth.ended();
        this.#admit(box);
      });
    } else {
      this.#growth.ended();
      this.#admit(box);
    }
  }

  #admit(entry: Entry<R>): void {
    entry.fresh = false;
    if (this.#scope.closing) entry.reason ??= 'closed';
    else if (entry.expiresMs <= this.#scope.clock.now()) entry.reason ??= 'lifetime';
    if (entry.reason !== undefined) this.#inventory.end(entry, entry.reason);
    else {
      this.#live.add(entry);
      this.#sweeper.admit(entry);
      this.#hooks.serve();
    }
    this.#growth.pump();
  }

  /**
   * While something is live, waiters can still be served: they wait on. Else nothing else helps those whom the failed
   * one was for, the oldest; nor anybody, when it was the last one under way.
   */
  #failed(error: Error, failures: number): void {
    if (this.#scope.closing) {
      this.#growth.ended();
      return;
    }
    this.#lastCreateError = error;
    this.counts.createFailed++;
    const retryInMs = this.#growth.failed(failures);
    if (this.#live.size === 0) {
      const { growing } = this.#growth;
      const waiting = this.#hooks.waiting();
      const uncovered = waiting - growing * this.#live.slots;
      this.#hooks.fail(growing === 0 ? waiting : Math.min(this.#live.slots, uncovered), error);
    }
    const report = { error, failures: this.#growth.failures, retryInMs };
    if (!this.#events.emit('createFailed', report)) {
      this.#settings.logger.warn({ pool: this.#settings.name, ...report }, 'a creation failed');
    }
    // Without a wait this would spin: the next caller or release tries again.
    if (retryInMs > 0) this.#growth.pump();
  }

  #park(entry: Entry<R>): void {
    this.#live.remove(entry);
    if (this.#settings.idleTimeoutMs === 0) {
      this.#inventory.end(entry, 'idle');
      return;
    }
    this.#inventory.park(entry);
    this.#events.emit('parked', { resource: entry.resource });
  }

  #destroyed(entry: Entry<R>, reason: DestroyReason, error: unknown): void {
    this.counts.destroyed++;
    const ageMs = this.#scope.clock.now() - entry.createdMs;
    const heard = this.#events.emit('destroyed', { resource: entry.resource, reason, ageMs, error });
    if (error === undefined || heard) return;
    this.#settings.logger.error({ pool: this.#settings.name, reason, error }, 'a destroy failed');
  }
}
