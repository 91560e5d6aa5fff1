import type { ChannelCounters } from '../../connection/Channel.js';
import { PoolkitError } from '../../core/errors.js';
import { Latency } from './Latency.js';

/** What one server's stats count, over all its connections, those that are gone included. */
export class Counters {
  readonly latency = new Latency();
  readonly #errors = new Map<string, number>();
  readonly #gone: ChannelCounters = { calls: 0, lateReplies: 0, garbage: 0, orphanRequests: 0 };
  restarts = 0;
  lastError: string | undefined;
  startedAt: number | undefined;

  /** A call failed; `ABORTED` counts those whose signal aborted. */
  failed(error: unknown): void {
    const code = error instanceof PoolkitError ? error.code : 'ABORTED';
    this.#errors.set(code, (this.#errors.get(code) ?? 0) + 1);
    if (error instanceof PoolkitError) this.lastError = error.message;
  }

  /** A connection is gone: its counts stay. */
  keep(counters: Readonly<ChannelCounters>): void {
    this.#gone.calls += counters.calls;
    this.#gone.lateReplies += counters.lateReplies;
    this.#gone.garbage += counters.garbage;
    this.#gone.orphanRequests += counters.orphanRequests;
  }

  /** Those gone and those that live, added up. */
  wire(live: Iterable<Readonly<ChannelCounters>>): ChannelCounters {
    const sum = { ...this.#gone };
    for (const each of live) {
      sum.calls += each.calls;
      sum.lateReplies += each.lateReplies;
      sum.garbage += each.garbage;
      sum.orphanRequests += each.orphanRequests;
    }
    return sum;
  }

  get errors(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#errors);
  }
}
