import type { Shares } from '../../../concurrent/Shares.js';
import type { TimeoutWheel, WheelEntry } from '../../../core/time/TimeoutWheel.js';

/** What all that linger hold, over all connections of a pool. */
export const MAX_LINGERING_BYTES = 64 * 1024 * 1024;
/** Each holds so much at least, so that no more than 256 sockets are kept. */
const MIN_BYTES = 256 * 1024;
/** Of a request's text: the bytes for its socket, which may not have taken them, and what its call has of it. */
const COPIES = 2;
/** How long one may. */
const LINGER_MS = 1_000;

/** A request that may linger. */
export interface Lingerer extends WheelEntry {
  readonly requestBody: string | null;
  /** Of what all hold, while it is one of them. */
  heldBytes: number;
  end(): void;
}

/**
 * Requests to one server of which nothing more is wanted, since their calls are over: they may end by themselves for a moment, so that
 * their sockets can be used again. A server that leaves them open, or does not read their bodies, has its share of the sockets and of the
 * memory that they take; what finds no room is ended at once.
 */
export class Lingering {
  readonly #wheel: TimeoutWheel;
  readonly #held: Shares;
  readonly #server: string;

  constructor(wheel: TimeoutWheel, held: Shares, server: string) {
    this.#wheel = wheel;
    this.#held = held;
    this.#server = server;
  }

  add(request: Lingerer): void {
    const bytes = Math.max(MIN_BYTES, COPIES * (request.requestBody?.length ?? 0));
    if (!this.#held.mayTake(this.#server, bytes)) {
      request.end();
      return;
    }
    this.#held.add(this.#server, bytes);
    request.heldBytes = bytes;
    this.#wheel.add(request, LINGER_MS);
  }

  /** It is over. */
  remove(request: Lingerer): void {
    if (request.heldBytes === 0) return;
    this.#held.add(this.#server, -request.heldBytes);
    request.heldBytes = 0;
  }
}
