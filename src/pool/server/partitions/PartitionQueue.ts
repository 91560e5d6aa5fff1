import { FairQueue } from '../../../concurrent/queue/FairQueue.js';
import type { Waiter } from '../../../concurrent/queue/WaitQueue.js';
import { type AcquireTimeoutDetail, AcquireTimeoutError } from '../../../core/errors.js';
import { inGroups } from '../../../core/time/inSlices.js';
import type { PooledConnection } from '../connections/PooledConnection.js';
import type { AcquireBounds, PartitionSettings } from './PartitionSettings.js';

/** Undefined: look again, since what was waited for has changed. */
type Served = PooledConnection | undefined;

/** What it runs by, of all that its partition does. */
type QueueSettings = Pick<PartitionSettings<never>, 'server' | 'clock' | 'maxQueue' | 'evictable'>;

/** Callers that wait for a slot, or for a start: first in, first out. Where those of several addresses share a partition, addresses take turns. */
export class PartitionQueue {
  readonly #settings: QueueSettings;
  readonly #queue: FairQueue<Served>;

  constructor(settings: QueueSettings, detail: () => AcquireTimeoutDetail) {
    const { server, clock, maxQueue } = settings;
    const what = `server ${server}`;
    const timeoutError = (timeoutMs: number): Error => new AcquireTimeoutError(what, timeoutMs, detail());
    this.#settings = settings;
    this.#queue = new FairQueue({ what, maxQueue, clock, timeoutError });
  }

  get size(): number {
    return this.#queue.size;
  }

  /** Takes a place; `coming`: for so many a connection is or can be started. A wait for a start is bounded by the caller's own time, one for a slot by `queueMs` too. */
  async wait(bounds: AcquireBounds, forStart: boolean, coming: number): Promise<Served> {
    const { clock, evictable } = this.#settings;
    const { caller, signal } = bounds;
    const nowMs = clock.now();
    const leftMs = Math.max(0, bounds.untilMs - nowMs);
    const timeoutMs = forStart ? leftMs : Math.min(leftMs, Math.max(0, bounds.queueMs));
    // A principal, or a session that a connection is bound to, has a partition of its own.
    const owner = caller?.principal || !evictable ? undefined : caller?.origin;
    const served = await this.#queue.wait({ signal, timeoutMs }, owner, coming);
    if (!forStart) bounds.queueMs -= clock.now() - nowMs;
    return served;
  }

  shift(): Waiter<Served> | undefined {
    return this.#queue.shift();
  }

  /** All look again, in their order; where that would refuse them all, they fail with that. */
  release(refusal: unknown): void {
    if (refusal !== undefined) this.rejectNext(refusal, this.size);
    for (let waiter = this.shift(); waiter !== undefined; waiter = this.shift()) waiter.resolve(undefined);
  }

  /** So many of the next leave it and fail, in turns of the event loop. */
  rejectNext(error: unknown, count: number): void {
    const rejects = Array.from({ length: count }, () => this.shift()?.reject);
    void inGroups(rejects, (reject) => reject?.(error));
  }

  /** Empties it; no timer of it is armed afterwards. */
  rejectAll(error: unknown): void {
    this.#queue.rejectAll(error);
  }
}
