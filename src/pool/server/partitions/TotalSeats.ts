import type { ResolvedPoolOptions } from '../options.js';
import type { PartitionTable } from './PartitionTable.js';
import { leastUsed, leave, longestSeated } from './PooledConnection.js';
import { Seats } from './Seats.js';

/** Whose connections count: the servers of one pool. */
export type SeatHolders = () => readonly PartitionTable[];

/** Room for the connections of a whole pool, or of several that share it: whoever waits may have any of them give way. */
export class TotalSeats {
  readonly seats: Seats;
  readonly #holders = new Set<SeatHolders>();

  constructor({ maxConnectionsTotal, clock, maxHoldMs }: ResolvedPoolOptions) {
    this.seats = new Seats({
      max: maxConnectionsTotal,
      clock,
      quantumMs: maxHoldMs,
      evictIdle: () => leave(leastUsed(this.#all.flatMap(({ sparable }) => sparable))),
      evictOldest: () => void leave(longestSeated(this.#all.flatMap(({ sitters }) => sitters))),
    });
  }

  /** From now on `holders`' connections may be asked to give way. Dispose when they are gone. */
  join(holders: SeatHolders): Disposable {
    this.#holders.add(holders);
    return {
      [Symbol.dispose]: () => {
        this.#holders.delete(holders);
        if (this.#holders.size === 0) this.seats.close();
      },
    };
  }

  get #all(): readonly PartitionTable[] {
    return [...this.#holders].flatMap((holders) => holders());
  }
}
