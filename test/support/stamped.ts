import type { Redis } from 'ioredis';
import { ClusterRateLimiter, type ClusterRateLimiterOptions } from '../../src/concurrent/index.js';
import { systemClock } from '../../src/core/clock.js';
import type { Clock } from '../../src/core/index.js';

/** A limiter under callers that want a permit all the time, with the stamp of each grant as the limiter saw it, in us. */
export class Driven {
  readonly limiter: ClusterRateLimiter;
  readonly grants: number[] = [];
  readonly events: { readonly name: string; readonly atUs: number }[] = [];
  #nowMs = 0;
  #over = false;

  constructor(redis: Redis, options: Omit<ClusterRateLimiterOptions, 'redis' | 'clock'>) {
    // The limiter's last reading of the clock is the stamp of the grants it made then.
    const clock: Clock = {
      ...systemClock,
      now: () => {
        this.#nowMs = systemClock.now();
        return this.#nowMs;
      },
    };
    this.limiter = new ClusterRateLimiter({ redis, clock, acquireTimeoutMs: Number.POSITIVE_INFINITY, ...options });
    for (const name of ['storeLost', 'storeRestored'] as const) {
      this.limiter.on(name, () => this.events.push({ name, atUs: systemClock.now() * 1_000 }));
    }
  }

  /** Starts so many callers. They end with the limiter. */
  drive(callers: number): void {
    for (let i = 0; i < callers; i++) void this.#call();
  }

  rest(): void {
    this.#over = true;
  }

  atUs(name: 'storeLost' | 'storeRestored'): number {
    return this.events.find((each) => each.name === name)?.atUs ?? Number.NaN;
  }

  async #call(): Promise<void> {
    while (!this.#over) {
      try {
        await this.limiter.acquire();
      } catch {
        return;
      }
      this.grants.push(Math.round(this.#nowMs * 1_000));
      // Every grant of this turn is stamped before any new call reads the clock.
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

/** Resolves when `condition` holds; looks every few milliseconds. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}
