import type { ResolvedPoolOptions } from '../options.js';
import { leastUsed, leave, longestSeated } from './Link.js';
import type { Partitions } from './Partitions.js';
import { Seats } from './Seats.js';

/** Whose connections count: the servers of one pool. */
export type SeatHolders = () => readonly Partitions[];

/** Room for the connections of a whole pool, or of several that share it: whoever waits may have any of them give way. */
export class TotalSeats {
  readonly seats: Seats;
  readonly #holders = new Set<SeatHolders>();

  constructor({ maxConnectionsTotal, clock, seatQuantumMs }: ResolvedPoolOptions) {
    this.seats = new Seats({
      max: maxConnectionsTotal,
      clock,
      quantumMs: seatQuantumMs,
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

  get #all(): readonly Partitions[] {
    return [...this.#holders].flatMap((holders) => holders());
  }
}
