import { Turns } from '../../../core/wait/Turns.js';
import { type Send, Sends } from './Sends.js';

/** So many are on their way at once: other sockets stay free for replies, which a server waits for. */
const MAX_SENDING = 32;
/** So many wait. */
const MAX_WAITING = 1_000;

/**
 * Cancellations of calls on their way to a server by requests of their own. Callers bring them about, as fast as they like, and a
 * cancellation is only advice: what a slow server does not take in time is dropped, and never a failure of the connection that all share.
 * Callers take turns, and who has most waiting loses the oldest: a flood takes no other caller's.
 */
export class Cancellations {
  readonly #onDropped: () => void;
  readonly #waiting = new Turns<object | undefined, Send>();
  readonly #sends = new Sends(MAX_SENDING, () => this.#waiting.take());

  constructor(onDropped: () => void) {
    this.#onDropped = onDropped;
  }

  send(caller: object | undefined, send: Send): void {
    this.#waiting.add(caller, send);
    this.#sends.next();
    if (this.#waiting.size <= MAX_WAITING) return;
    this.#waiting.takeOfMost();
    this.#onDropped();
  }
}
