import type { Timer } from '../../core/clock.js';
import type { CloseScope } from '../../core/close/CloseScope.js';
import type { Lease } from './Lease.js';
import type { Ledger } from './Ledger.js';
import type { Entry, LiveSet } from './LiveSet.js';
import type { Settings } from './options.js';

export interface SweeperHooks<R> {
  readonly live: LiveSet<R>;
  readonly leases: Ledger<Lease<R>>;
  /** Every resource, parked ones too. */
  readonly all: ReadonlyMap<R, Entry<R>>;
  readonly mayPark: () => boolean;
  readonly park: (entry: Entry<R>) => void;
  readonly expire: (entry: Entry<R>) => void;
  readonly leaked: (lease: Lease<R>, heldMs: number) => void;
}

const MAX_SWEEP_MS = 1_000;
const MIN_SWEEP_MS = 10;

/**
 * One background timer for all that has to do with time: it stamps what was taken or left idle since the last sweep, so
 * that acquire and release need no clock; parks what was idle long enough, retires what is too old, reports leaks. A
 * stamp is never early: an age counts from the sweep after. The timer runs only while there are resources.
 */
export class Sweeper<R> {
  readonly #settings: Settings;
  readonly #scope: CloseScope;
  readonly #hooks: SweeperHooks<R>;
  readonly #everyMs: number;
  #timer: Timer | undefined;
  #nextExpiryMs = Number.POSITIVE_INFINITY;

  constructor(settings: Settings, scope: CloseScope, hooks: SweeperHooks<R>) {
    this.#settings = settings;
    this.#scope = scope;
    this.#hooks = hooks;
    const shortest = Math.min(
      settings.parkAfterMs,
      settings.leakThresholdMs || MAX_SWEEP_MS * 4,
      settings.maxLifetimeMs,
    );
    this.#everyMs = Math.min(Math.max(shortest / 4, MIN_SWEEP_MS), MAX_SWEEP_MS);
  }

  /** A resource came in. */
  admit(entry: Entry<R>): void {
    this.#nextExpiryMs = Math.min(this.#nextExpiryMs, entry.expiresMs);
    this.#arm();
  }

  #arm(): void {
    if (this.#scope.closing) return;
    this.#timer ??= this.#scope.timer('sweep', this.#everyMs, () => {
      this.#timer = undefined;
      this.#sweep();
      if (this.#hooks.all.size > 0) this.#arm();
    });
  }

  #sweep(): void {
    const nowMs = this.#scope.clock.now();
    this.#hooks.leases.stamp();
    for (let entry = this.#hooks.live.latestIdle; entry?.idleSinceMs === -1; entry = entry.below) {
      entry.idleSinceMs = nowMs;
    }
    if (nowMs >= this.#nextExpiryMs) this.#expire(nowMs);
    this.#park(nowMs);
    this.#report(nowMs);
  }

  #expire(nowMs: number): void {
    this.#nextExpiryMs = Number.POSITIVE_INFINITY;
    for (const entry of [...this.#hooks.all.values()]) {
      if (entry.expiresMs <= nowMs) this.#hooks.expire(entry);
      else this.#nextExpiryMs = Math.min(this.#nextExpiryMs, entry.expiresMs);
    }
  }

  #park(nowMs: number): void {
    const { live, mayPark, park } = this.#hooks;
    for (let entry = live.longestIdle; entry !== undefined && mayPark(); entry = live.longestIdle) {
      if (nowMs - entry.idleSinceMs < this.#settings.parkAfterMs) return;
      park(entry);
    }
  }

  #report(nowMs: number): void {
    const { leakThresholdMs } = this.#settings;
    if (leakThresholdMs === 0 || leakThresholdMs === Number.POSITIVE_INFINITY) return;
    const { leases, leaked } = this.#hooks;
    for (const [id, lease] of [...leases.known]) {
      const heldMs = leases.heldMs(id, nowMs);
      if (heldMs >= leakThresholdMs && lease.reportLeak()) leaked(lease, heldMs);
    }
  }
}
