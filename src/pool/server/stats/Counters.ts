import type { DisconnectReason } from '../../../connection/Connection.js';
import type { ChannelCounters } from '../../../connection/channel/Channel.js';
import { keptText, PoolkitError } from '../../../core/errors.js';
import { Latency } from '../../../core/time/Latency.js';
import type { RestartReason } from '../../McpPool.js';

/** What one server's stats count, over all its connections, those that are gone included. */
export class Counters {
  readonly latency = new Latency();
  readonly #errors = new Map<string, number>();
  readonly #gone = { calls: 0, lateReplies: 0, garbage: 0 };
  readonly #onRestart: (attempt: number, reason: RestartReason) => void;
  /** How the newest of those that died by themselves did. */
  #death: RestartReason = 'disconnected';
  restarts = 0;
  /** Requests of the server that belonged to no caller. */
  orphanRequests = 0;
  #lastError: string | undefined;
  startedAt: number | undefined;

  constructor(onRestart: (attempt: number, reason: RestartReason) => void) {
    this.#onRestart = onRestart;
  }

  /** The beginning of what failed last. */
  get lastError(): string | undefined {
    return this.#lastError;
  }

  failedWith(message: string): void {
    this.#lastError = keptText(message);
  }

  /** A connection took the place of one that had died by itself, or that `restartServer` ended. */
  restarted(attempt: number, reason = this.#death): void {
    this.restarts++;
    this.#onRestart(attempt, reason);
  }

  /** A connection died by itself. */
  died({ why, exitCode, signal }: DisconnectReason): void {
    this.failedWith(why);
    this.#death = typeof signal === 'string' ? 'killed' : typeof exitCode === 'number' ? 'exited' : 'disconnected';
  }

  /** A call failed; `ABORTED` counts those whose signal aborted. */
  failed(error: unknown): void {
    const code = error instanceof PoolkitError ? error.code : 'ABORTED';
    this.#errors.set(code, (this.#errors.get(code) ?? 0) + 1);
    if (error instanceof PoolkitError) this.failedWith(error.message);
  }

  /** A connection is gone: its counts stay. */
  keep(counters: Readonly<ChannelCounters>): void {
    this.#gone.calls += counters.calls;
    this.#gone.lateReplies += counters.lateReplies;
    this.#gone.garbage += counters.garbage;
  }

  /** Those gone and those that live, added up. */
  wire(live: Iterable<Readonly<ChannelCounters>>): Omit<ChannelCounters, 'orphanRequests' | 'callbackErrors'> {
    const sum = { ...this.#gone };
    for (const each of live) {
      sum.calls += each.calls;
      sum.lateReplies += each.lateReplies;
      sum.garbage += each.garbage;
    }
    return sum;
  }

  get errors(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#errors);
  }
}
