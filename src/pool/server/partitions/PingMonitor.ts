import type { Timer } from '../../../core/clock.js';
import { RequestTimeoutError, RpcError } from '../../../core/errors.js';
import type { ServerContext } from '../context.js';
import type { Partition } from './Partition.js';
import type { PooledConnection } from './PooledConnection.js';

/** Pings left unanswered, in a row, that end a connection. */
const MAX_MISSED_PINGS = 2;

/**
 * Asks idle connections for a `ping` now and then, in the legacy era, where the server knows it. A busy server is left
 * alone: its answers are its pulse, and a late one is no reason to end calls that run. One timer, unref'd.
 */
export class PingMonitor {
  readonly #context: ServerContext;
  readonly #partitions: () => Iterable<Partition>;
  readonly #wanted: (partition: Partition) => boolean;
  #timer: Timer | undefined;
  #sinceMs = 0;

  constructor(
    context: ServerContext,
    partitions: () => Iterable<Partition>,
    /** Whether a partition's connection must not idle away. */
    wanted: (partition: Partition) => boolean,
  ) {
    this.#context = context;
    this.#partitions = partitions;
    this.#wanted = wanted;
  }

  /** A connection is up. */
  start(): void {
    if (this.#timer !== undefined) return;
    const { pool } = this.#context;
    this.#sinceMs = pool.clock.now();
    this.#arm();
  }

  #arm(): void {
    const { pool, options } = this.#context;
    const everyMs = Math.min(pool.healthIntervalMs, options.idleTimeoutMs / 8, 2_000);
    this.#timer = pool.clock.setTimer(() => this.#tick(), everyMs);
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #tick(): void {
    this.#timer = undefined;
    const nowMs = this.#context.pool.clock.now();
    const due = nowMs - this.#sinceMs >= this.#context.pool.healthIntervalMs;
    if (due) this.#sinceMs = nowMs;
    let live = false;
    for (const partition of this.#partitions()) {
      // A use, if only for a moment, keeps it from the shelf and from idling away.
      if (this.#wanted(partition)) partition.touch();
      for (const link of partition.links) {
        live = true;
        if (due) void this.#ping(partition, link);
      }
    }
    if (live) this.#arm();
  }

  async #ping(partition: Partition, link: PooledConnection): Promise<void> {
    const { connection } = link;
    if (!link.pings || connection.info.era !== 'legacy' || connection.inFlight > 0 || !connection.alive) return;
    const { calls } = connection.counters;
    try {
      await connection.request('ping', undefined, { timeoutMs: this.#context.pool.healthTimeoutMs });
      link.missedPings = 0;
    } catch (error) {
      if (error instanceof RpcError) {
        // It answered. If it does not know the method there is nothing to ask again.
        link.missedPings = 0;
        link.pings = error.rpcCode !== -32601;
      } else if (error instanceof RequestTimeoutError && connection.counters.calls === calls + 1) {
        // Nobody else has had a word with it meanwhile.
        link.missedPings++;
        if (link.missedPings >= MAX_MISSED_PINGS) {
          this.#context.pool.logger.warn(
            { server: this.#context.config.name, pid: connection.pid },
            'it answers no ping',
          );
          this.#context.counters.lastError = 'it answered no ping';
          partition.retire(link, 'it answered no ping');
        }
      }
    }
  }
}
