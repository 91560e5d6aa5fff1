import type { Clock, Timer } from '../../../core/clock.js';
import type { Downstream } from '../../endpoint/Endpoint.js';

/** The sessions of all. */
export interface AllSessions extends Iterable<Downstream> {
  /** Ends one of those that `may` names whose clients have left; false when there is none. */
  endAbandoned(may: (session: Downstream) => boolean): boolean;
}

/** How long a newcomer waits before another session makes room for it, and between two looks, in ms. */
const ROOM_MS = 250;

interface Room<U> {
  readonly waiting: Set<U>;
  timer: Timer;
  /** At the last look there was none to be had. */
  full: boolean;
}

export interface RoomMakerOptions<U> {
  readonly clock: Clock;
  /** Whether sessions have every connection of the server that they may have. */
  readonly isFull: (server: string) => boolean;
  /** Ends a session whose client has left, of those that it is given, if there is one. */
  readonly makeRoom: (uses: U) => boolean;
}

/**
 * While newcomers of a `bound` server wait and every connection that they could have is a session's, those of clients that have left make room, one for each
 * that waits. Should such a client come back, it is told by 404. One look for all newcomers of a server: a thousand of them wait at the price of one.
 */
export class RoomMaker<U> {
  readonly #options: RoomMakerOptions<U>;
  readonly #rooms = new Map<string, Room<U>>();

  constructor(options: RoomMakerOptions<U>) {
    this.#options = options;
  }

  /** A newcomer waits until this is disposed; `uses` are those that may make room for it. */
  wait(server: string, uses: U): Disposable {
    const room = this.#rooms.get(server) ?? { waiting: new Set<U>(), timer: this.#later(server), full: false };
    this.#rooms.set(server, room);
    room.waiting.add(uses);
    return {
      [Symbol.dispose]: () => {
        room.waiting.delete(uses);
        if (room.waiting.size > 0 || this.#rooms.get(server) !== room) return;
        room.timer.cancel();
        this.#rooms.delete(server);
      },
    };
  }

  /** Whether newcomers wait in vain: who comes now had better not wait. */
  isFull(server: string): boolean {
    return this.#rooms.get(server)?.full === true;
  }

  #later(server: string): Timer {
    const { clock, isFull, makeRoom } = this.#options;
    return clock.setTimer(() => {
      const room = this.#rooms.get(server);
      if (room === undefined) return;
      room.timer = this.#later(server);
      room.full = isFull(server) && ![...room.waiting].every(makeRoom);
    }, ROOM_MS);
  }
}
