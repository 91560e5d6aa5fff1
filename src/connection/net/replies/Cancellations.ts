import { Turns } from '../../../core/wait/Turns.js';
import type { PlainAnswer } from '../PlainExchange.js';

/** So many are on their way at once: other sockets stay free for replies, which a server waits for. */
const MAX_SENDING = 32;
/** So many wait. */
const MAX_WAITING = 1_000;

/** Sends one, unless there is nothing to cancel any more. */
type Send = () => Promise<PlainAnswer> | undefined;

/**
 * Cancellations of calls on their way to a server by requests of their own. Callers bring them about, as fast as they like, and a
 * cancellation is only advice: what a slow server does not take in time is dropped, and never a failure of the connection that all share.
 * Callers take turns, and who has most waiting loses the oldest: a flood takes no other caller's.
 */
export class Cancellations {
  readonly #onSent: (answer: Promise<PlainAnswer>) => void;
  readonly #onDropped: () => void;
  readonly #waiting = new Turns<object | undefined, Send>();
  #sending = 0;

  constructor(onSent: (answer: Promise<PlainAnswer>) => void, onDropped: () => void) {
    this.#onSent = onSent;
    this.#onDropped = onDropped;
  }

  send(caller: object | undefined, send: Send): void {
    this.#waiting.add(caller, send);
    this.#next();
    if (this.#waiting.size <= MAX_WAITING) return;
    this.#waiting.takeOfMost();
    this.#onDropped();
  }

  #next(): void {
    while (this.#sending < MAX_SENDING) {
      const answer = this.#waiting.take()?.();
      if (answer === undefined && this.#waiting.size === 0) return;
      if (answer === undefined) continue;
      this.#sending++;
      this.#onSent(answer);
      const over = (): void => {
        this.#sending--;
        this.#next();
      };
      answer.then(over, over);
    }
  }
}
