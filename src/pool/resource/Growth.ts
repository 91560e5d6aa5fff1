import type { Timer } from '../../core/clock.js';
import type { CloseScope } from '../../core/close/CloseScope.js';
import type { Settings } from './options.js';

export interface GrowthHooks {
  /** Whether another resource is wanted beside the `growing` ones. */
  readonly wanted: (growing: number) => boolean;
  /** Resources on the shelf, which need no seat and no backoff. */
  readonly parked: () => number;
  /** Seats taken, but for the growing ones. */
  readonly seats: () => number;
  /** Somebody waits: a timer for the next try holds the process. */
  readonly awaited: () => boolean;
  /** Takes one from the inventory; `failures` is to be handed back to `failed`. */
  readonly start: (failures: number) => void;
}

/** The gates of growth: demand, seats, creations at a time, and the wait after a failed one. */
export class Growth {
  readonly #settings: Settings;
  readonly #scope: CloseScope;
  readonly #hooks: GrowthHooks;
  #growing = 0;
  #failures = 0;
  #retryAtMs = 0;
  #timer: Timer | undefined;

  constructor(settings: Settings, scope: CloseScope, hooks: GrowthHooks) {
    this.#settings = settings;
    this.#scope = scope;
    this.#hooks = hooks;
  }

  /** On their way into the live set. */
  get growing(): number {
    return this.#growing;
  }

  /** Creations failed in a row. */
  get failures(): number {
    return this.#failures;
  }

  /** Starts what is wanted and the gates let through. To be called whenever either may have changed. */
  pump(): void {
    const { maxResources, maxConcurrentCreates } = this.#settings;
    const { wanted, parked, seats, start } = this.#hooks;
    while (!this.#scope.closing && this.#growing < maxConcurrentCreates && wanted(this.#growing)) {
      if (parked() === 0 && (seats() + this.#growing >= maxResources || this.#backingOff())) return;
      this.#growing++;
      start(this.#failures);
    }
  }

  /** One is live, or gone for reasons that say nothing about creating. */
  ended(): void {
    this.#growing--;
  }

  /** One was created. */
  created(): void {
    this.#growing--;
    this.#failures = 0;
    this.#retry();
  }

  /** One could not be created. Those that were started together count as one failure. Gives the wait until the next. */
  failed(failures: number): number {
    this.#growing--;
    if (failures === this.#failures) {
      this.#failures++;
      const { initialMs, factor, maxMs, jitterRatio } = this.#settings.createBackoff;
      const fullMs = Math.min(initialMs * factor ** (this.#failures - 1), maxMs);
      this.#retry();
      this.#retryAtMs = this.#scope.clock.now() + fullMs * (1 - jitterRatio * this.#settings.random());
    }
    return Math.max(0, this.#retryAtMs - this.#scope.clock.now());
  }

  #retry(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#retryAtMs = 0;
  }

  #backingOff(): boolean {
    if (this.#retryAtMs === 0) return false;
    const waitMs = this.#retryAtMs - this.#scope.clock.now();
    if (waitMs <= 0) {
      this.#retry();
      return false;
    }
    this.#timer ??= this.#scope.timer('createBackoff', waitMs, () => {
      this.#retry();
      this.pump();
    });
    if (this.#hooks.awaited()) this.#timer.ref();
    return true;
  }
}
