import type { Seat, Seats } from './Seats.js';

/** A seat under every bound at once: a server's own and its pool's. */
export class Room {
  readonly #bounds: readonly Seats[];

  /** In the order they are taken. */
  constructor(bounds: readonly Seats[]) {
    this.#bounds = bounds;
  }

  /** Somebody waits for a seat under some bound. */
  get crowded(): boolean {
    for (const bound of this.#bounds) if (bound.waiting > 0) return true;
    return false;
  }

  /** A seat when it is the group's turn. @throws the signal's reason */
  async take(group: string, signal: AbortSignal): Promise<Seat> {
    const seats: Seat[] = [];
    try {
      for (const bound of this.#bounds) seats.push(await bound.take(group, signal));
      return together(seats);
    } catch (error) {
      together(seats).release();
      throw error;
    }
  }

  /** A seat that is free and that nobody waits for. */
  tryTake(): Seat | undefined {
    const seats: Seat[] = [];
    for (const bound of this.#bounds) {
      const seat = bound.tryTake();
      if (seat === undefined) {
        together(seats).release();
        return undefined;
      }
      seats.push(seat);
    }
    return together(seats);
  }
}

function together(seats: readonly Seat[]): Seat {
  return {
    release: () => {
      for (const seat of seats) seat.release();
    },
  };
}
