import type { Clock } from '../../../core/clock.js';
import { ShutdownTimeoutError } from '../../../core/errors.js';
import type { Logger } from '../../../core/logger.js';
import { within } from '../../../core/time/within.js';
import type { PooledConnection } from './PooledConnection.js';

/** Longer than a process may take to be proved dead. */
export const END_TIMEOUT_MS = 30_000;

export interface ConnectionEndsOptions {
  readonly server: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** The connections of a partition that are being ended. Each gives its permit back when it is gone, or will not go. */
export class ConnectionEnds {
  readonly #options: ConnectionEndsOptions;
  readonly #onEnded: (pooled: PooledConnection) => void;
  readonly #running = new Map<PooledConnection, Promise<void>>();
  /** What did not end; kept from the moment a close asks for it. */
  #errors: unknown[] | undefined;

  constructor(options: ConnectionEndsOptions, onEnded: (pooled: PooledConnection) => void) {
    this.#options = options;
    this.#onEnded = onEnded;
  }

  get size(): number {
    return this.#running.size;
  }

  /** Ends it at once, if it is not being ended already. */
  end(pooled: PooledConnection): void {
    if (!this.#running.has(pooled)) this.#running.set(pooled, this.#end(pooled));
  }

  endAll(pooled: Iterable<PooledConnection>): void {
    for (const each of [...pooled]) this.end(each);
  }

  /** From now on failures are kept for `settled`. */
  keepErrors(): void {
    this.#errors ??= [];
  }

  /** Resolves when all are gone; rejects with what did not end. */
  async settled(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running.values());
    const errors = this.#errors ?? [];
    if (errors.length > 0) throw new AggregateError(errors);
  }

  async #end(pooled: PooledConnection): Promise<void> {
    const { server, clock, logger } = this.#options;
    const late = (): unknown => new ShutdownTimeoutError(`a connection of server ${server}`, END_TIMEOUT_MS);
    try {
      // In an async function of its own, so that no throw of it comes before this end stands among those that run.
      const close = async (): Promise<void> => pooled.connection.close({ graceMs: 0 });
      await within(close(), { clock, timeoutMs: END_TIMEOUT_MS, late });
    } catch (error) {
      if (this.#errors === undefined) logger.error({ server, error }, 'a connection did not end');
      else this.#errors.push(error);
    }
    this.#running.delete(pooled);
    pooled.permit.release();
    this.#onEnded(pooled);
  }
}
