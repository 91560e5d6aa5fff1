import { type Waiter, WaitQueue } from '../../../concurrent/queue/WaitQueue.js';
import type { Clock } from '../../../core/clock.js';
import { type AcquireTimeoutDetail, AcquireTimeoutError, QueueFullError } from '../../../core/errors.js';
import { inGroups } from '../../../core/time/inSlices.js';
import type { PooledConnection } from '../connections/PooledConnection.js';
import type { AcquireBounds } from './PartitionSettings.js';

/** Undefined: look again, since what was waited for has changed. */
type Served = PooledConnection | undefined;

/** Callers that wait for a slot, or for a start, oldest first. */
export class PartitionQueue {
  readonly #what: string;
  readonly #clock: Clock;
  readonly #queue: WaitQueue<Served>;

  constructor(what: string, clock: Clock, detail: () => AcquireTimeoutDetail) {
    this.#what = what;
    this.#clock = clock;
    const timeoutError = (timeoutMs: number): Error => new AcquireTimeoutError(what, timeoutMs, detail());
    // Its length is bounded by the partition, which knows for how many a connection is coming.
    this.#queue = new WaitQueue({ what, maxQueue: Number.POSITIVE_INFINITY, clock, timeoutError });
  }

  get size(): number {
    return this.#queue.size;
  }

  /** Takes the last of `max` places. A wait for a start is bounded by the caller's own time, one for a slot by `queueMs` too. */
  async wait(bounds: AcquireBounds, forStart: boolean, max: number): Promise<Served> {
    if (this.size >= max) throw new QueueFullError(this.#what, this.size, max);
    const nowMs = this.#clock.now();
    const leftMs = Math.max(0, bounds.untilMs - nowMs);
    const served = await this.#queue.wait({
      ...(bounds.signal && { signal: bounds.signal }),
      timeoutMs: forStart ? leftMs : Math.min(leftMs, Math.max(0, bounds.queueMs)),
    });
    if (!forStart) bounds.queueMs -= this.#clock.now() - nowMs;
    return served;
  }

  shift(): Waiter<Served> | undefined {
    return this.#queue.shift();
  }

  /** All look again, in their order. */
  release(): void {
    for (let waiter = this.shift(); waiter !== undefined; waiter = this.shift()) waiter.resolve(undefined);
  }

  /** So many of the oldest leave it and fail, in turns of the event loop. */
  rejectOldest(error: unknown, count: number): void {
    const rejects = Array.from({ length: count }, () => this.shift()?.reject);
    void inGroups(rejects, (reject) => reject?.(error));
  }

  /** Empties it; no timer of it is armed afterwards. */
  rejectAll(error: unknown): void {
    this.#queue.rejectAll(error);
  }
}
