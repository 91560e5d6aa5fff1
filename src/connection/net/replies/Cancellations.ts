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
  /** By caller, in the order of their turns. */
  readonly #waiting = new Map<object | undefined, Send[]>();
  #waitingCount = 0;
  #sending = 0;

  constructor(onSent: (answer: Promise<PlainAnswer>) => void, onDropped: () => void) {
    this.#onSent = onSent;
    this.#onDropped = onDropped;
  }

  send(caller: object | undefined, send: Send): void {
    const own = this.#waiting.get(caller);
    if (own === undefined) this.#waiting.set(caller, [send]);
    else own.push(send);
    this.#waitingCount++;
    this.#next();
    if (this.#waitingCount > MAX_WAITING) this.#drop();
  }

  #next(): void {
    while (this.#sending < MAX_SENDING) {
      const answer = this.#take()?.();
      if (answer === undefined && this.#waitingCount === 0) return;
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

  /** The oldest of the caller whose turn it is. */
  #take(): Send | undefined {
    const [next] = this.#waiting;
    if (next === undefined) return undefined;
    const [caller, own] = next;
    this.#waiting.delete(caller);
    this.#waitingCount--;
    const send = own.shift();
    if (own.length > 0) this.#waiting.set(caller, own);
    return send;
  }

  #drop(): void {
    let most: [object | undefined, Send[]] | undefined;
    for (const each of this.#waiting) if (most === undefined || each[1].length > most[1].length) most = each;
    if (most === undefined) return;
    const [caller, own] = most;
    own.shift();
    this.#waitingCount--;
    if (own.length === 0) this.#waiting.delete(caller);
    this.#onDropped();
  }
}
