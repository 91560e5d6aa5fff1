import type { Timer } from '../../core/clock.js';
import type { CloseScope } from '../../core/close/CloseScope.js';
import type { WaitQueue } from '../queue/WaitQueue.js';
import type { GenericPoolShelf } from './GenericPoolShelf.js';
import type { Lease, LeaseTable } from './Lease.js';
import type { Entry, LiveSet } from './LiveSet.js';
import type { Settings } from './options.js';
import type { PoolJournal } from './PoolJournal.js';

/** What the housekeeper looks at, and what it has done about it. */
export interface Household<R> {
  readonly live: LiveSet<R>;
  readonly shelf: GenericPoolShelf<R>;
  readonly leases: LeaseTable<R>;
  /** Every resource, parked ones too. */
  readonly all: ReadonlyMap<R, Entry<R>>;
  readonly queue: WaitQueue<Lease<R>>;
  /** Resources on their way to the live set. */
  readonly arriving: number;
  check(entry: Entry<R>): void;
  retire(entry: Entry<R>, reason: 'lifetime' | 'idle'): void;
}

const MAX_SWEEP_MS = 1_000;
const MIN_SWEEP_MS = 10;

/** How far apart sweeps are: a quarter of the shortest time that they look after. */
export function sweepMs(settings: Settings): number {
  const { parkAfterMs, maxLifetimeMs, idleTimeoutMs, leakThresholdMs, keepaliveMs } = settings;
  const others = [idleTimeoutMs, leakThresholdMs, keepaliveMs].map((ms) => ms || Number.POSITIVE_INFINITY);
  const shortestMs = Math.min(parkAfterMs, maxLifetimeMs, ...others);
  return Math.min(Math.max(shortestMs / 4, MIN_SWEEP_MS), MAX_SWEEP_MS);
}

/**
 * One background timer for all that has to do with time. A sweep stamps what was taken or left idle since the last, so
 * that acquire and release need no clock; parks and ends what idled, retires what is too old, checks what was long
 * without a check, reports leaks. A stamp is never early: an age counts from the sweep after. The timer runs only while
 * there are resources, and not at all (`ticks`) where a `KeyedPool` sweeps for all its pools.
 */
export class Housekeeper<R> {
  readonly #settings: Settings;
  readonly #scope: CloseScope;
  readonly #journal: PoolJournal<R>;
  readonly #house: Household<R>;
  readonly #ticks: boolean;
  #timer: Timer | undefined;
  #nextExpiryMs = Number.POSITIVE_INFINITY;

  constructor(settings: Settings, scope: CloseScope, journal: PoolJournal<R>, house: Household<R>, ticks = true) {
    this.#settings = settings;
    this.#scope = scope;
    this.#journal = journal;
    this.#house = house;
    this.#ticks = ticks;
  }

  /** A resource came in. */
  admit(entry: Entry<R>): void {
    this.#nextExpiryMs = Math.min(this.#nextExpiryMs, entry.expiresMs);
    this.#arm();
  }

  #arm(): void {
    if (this.#scope.closing || !this.#ticks) return;
    this.#timer ??= this.#scope.timer('sweep', sweepMs(this.#settings), () => {
      this.#timer = undefined;
      this.sweep();
      if (this.#house.all.size > 0) this.#arm();
    });
  }

  sweep(): void {
    const nowMs = this.#scope.clock.now();
    this.#house.leases.stamp();
    for (let entry = this.#house.live.latestIdle; entry?.idleSinceMs === -1; entry = entry.below) {
      entry.idleSinceMs = nowMs;
    }
    if (nowMs >= this.#nextExpiryMs) this.#expire(nowMs);
    this.#endIdle(nowMs);
    this.#park(nowMs);
    this.#check(nowMs);
    this.#report(nowMs);
  }

  #expire(nowMs: number): void {
    this.#nextExpiryMs = Number.POSITIVE_INFINITY;
    for (const entry of [...this.#house.all.values()]) {
      if (entry.expiresMs <= nowMs) this.#house.retire(entry, 'lifetime');
      else this.#nextExpiryMs = Math.min(this.#nextExpiryMs, entry.expiresMs);
    }
  }

  #endIdle(nowMs: number): void {
    for (const entry of this.#house.shelf.oldestFirst()) {
      if (nowMs - entry.idleSinceMs < this.#settings.idleTimeoutMs) return;
      this.#house.retire(entry, 'idle');
    }
  }

  #park(nowMs: number): void {
    const { live, shelf } = this.#house;
    const { minResources, parkAfterMs, idleTimeoutMs } = this.#settings;
    for (let entry = live.longestIdle; entry !== undefined; entry = live.longestIdle) {
      if (nowMs - entry.idleSinceMs < parkAfterMs || live.size <= minResources || !shelf.mayPark) return;
      entry.idleSinceMs = nowMs;
      if (idleTimeoutMs === 0) this.#house.retire(entry, 'idle');
      else {
        live.remove(entry);
        shelf.park(entry);
        this.#journal.tell('parked', { resource: entry.resource });
      }
    }
  }

  #check(nowMs: number): void {
    const { keepaliveMs, maxConcurrentCreates } = this.#settings;
    if (keepaliveMs === 0) return;
    const { live, shelf } = this.#house;
    const due = [...shelf.oldestFirst()];
    for (let entry = live.longestIdle; entry !== undefined; entry = entry.above) due.push(entry);
    for (const entry of due) {
      if (nowMs - Math.max(entry.idleSinceMs, entry.checkedMs) < keepaliveMs) continue;
      // A check takes an idle one away for a while: not while callers wait, and never many at a time.
      if (this.#house.queue.size > 0 || this.#house.arriving >= maxConcurrentCreates) return;
      if (entry.checking === undefined) this.#house.check(entry);
    }
  }

  #report(nowMs: number): void {
    const { leakThresholdMs } = this.#settings;
    if (leakThresholdMs === 0 || leakThresholdMs === Number.POSITIVE_INFINITY) return;
    const { leases } = this.#house;
    for (const [id, lease] of [...leases.known]) {
      const heldMs = leases.heldMs(id, nowMs);
      if (heldMs >= leakThresholdMs && lease.reportLeak()) this.#journal.leaked(lease, heldMs);
    }
  }
}
