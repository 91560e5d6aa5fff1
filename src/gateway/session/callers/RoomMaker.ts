import type { Clock, Timer } from '../../../core/clock.js';
import type { McpPool } from '../../../pool/McpPool.js';
import { POOL_DEFAULTS } from '../../../pool/server/options.js';
import { figuresOf } from './crowding.js';

/** How long a newcomer waits before another session makes room for it, and between two looks, in ms. */
const ROOM_MS = 250;

interface Room<U> {
  readonly waiting: Set<U>;
  timer: Timer;
}

/**
 * While newcomers of a `bound` server wait and every connection is a session's, those of clients that have left make room, one for each
 * that waits. Should such a client come back, it is told by 404. One look for all newcomers of a server: a thousand of them wait at the price of one.
 */
export class RoomMaker<U> {
  readonly #pool: McpPool;
  readonly #clock: Clock;
  readonly #makeRoom: (uses: U) => boolean;
  readonly #rooms = new Map<string, Room<U>>();

  /** `makeRoom`: ends a session whose client has left, of those that it is given, if there is one. */
  constructor(pool: McpPool, clock: Clock, makeRoom: (uses: U) => boolean) {
    this.#pool = pool;
    this.#clock = clock;
    this.#makeRoom = makeRoom;
  }

  /** A newcomer waits until this is disposed; `uses` are those that may make room for it. */
  wait(server: string, uses: U): Disposable {
    const room = this.#rooms.get(server) ?? { waiting: new Set<U>(), timer: this.#later(server) };
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

  #later(server: string): Timer {
    return this.#clock.setTimer(() => {
      const room = this.#rooms.get(server);
      if (room === undefined) return;
      room.timer = this.#later(server);
      const max = this.#pool.config(server)?.maxConnections ?? POOL_DEFAULTS.maxConnections;
      const connections = figuresOf(this.#pool, server, this.#clock)?.connections ?? 0;
      if (connections < max) return;
      for (const uses of [...room.waiting]) if (!this.#makeRoom(uses)) return;
    }, ROOM_MS);
  }
}
