import type { Clock } from '../../core/clock.js';
import { type TimeoutWheel, WheelEntry } from '../../core/time/TimeoutWheel.js';
import { inTurn, isTurnSpent, spendCaller } from '../../core/time/turns.js';
import { RingQueue } from '../../core/wait/RingQueue.js';

/** Waiters that came in one turn of the event loop. */
interface Batch {
  /** `Infinity` until the turn is over. */
  dueMs: number;
  count: number;
}

/**
 * Timeouts that are equal, as those of one owner mostly are. They run out in the order they came, so the whole lane
 * needs one place in the wheel. A waiter costs it a count: the clock is read once for all that come in one turn, at its
 * end, so that a timeout is never early, and late by no more than that turn. The first of a lane is exact.
 */
export class TimeoutLane extends WheelEntry {
  readonly #clock: Clock;
  readonly #wheel: TimeoutWheel;
  readonly #expire: (timeoutMs: number) => void;
  readonly #batches = new RingQueue<Batch>();
  readonly #endTurn = (): void => {
    if (this.#open !== undefined) this.#open.dueMs = this.#clock.now() + this.#timeoutMs;
    this.#open = undefined;
  };
  /** The last batch while its turn lasts. */
  #open: Batch | undefined;
  #size = 0;
  #timeoutMs = 0;

  /** `expire` ends the wait of the first in the lane, and so calls `shift`. */
  constructor(clock: Clock, wheel: TimeoutWheel, expire: (timeoutMs: number) => void) {
    super();
    this.#clock = clock;
    this.#wheel = wheel;
    this.#expire = expire;
  }

  /** One more, behind the others; false when the lane is one of another timeout. */
  add(timeoutMs: number): boolean {
    if (this.#size > 0 && timeoutMs !== this.#timeoutMs) return false;
    this.#size++;
    if (this.#open !== undefined) {
      this.#open.count++;
      return true;
    }
    const batch = { dueMs: Number.POSITIVE_INFINITY, count: 1 };
    this.#batches.push(batch);
    if (this.#size === 1) {
      this.#timeoutMs = timeoutMs;
      batch.dueMs = this.#clock.now() + timeoutMs;
      this.#wheel.add(this, timeoutMs);
    } else {
      this.#open = batch;
      queueMicrotask(this.#endTurn);
    }
    return true;
  }

  /** The first leaves, served or not. */
  shift(): void {
    this.#size--;
    const first = this.#batches.peek() as Batch;
    first.count--;
    if (first.count > 0) return;
    this.#batches.shift();
    if (first === this.#open) this.#open = undefined;
    if (this.#size === 0) this.#wheel.remove(this);
  }

  /**
   * The lane's place in the wheel is of its first when it was put in: that one may have been served since. Of many whose time is over, those that
   * this turn of the event loop has no share for wait for the next.
   */
  override onTimeout(): void {
    const nowMs = this.#clock.now();
    const first = (): Batch | undefined => this.#batches.peek();
    let more = false;
    try {
      for (let next = first(); !more && next !== undefined && next.dueMs <= nowMs; next = first()) {
        this.#expire(this.#timeoutMs);
        spendCaller();
        more = isTurnSpent();
      }
    } finally {
      const next = first();
      if (next !== undefined && !more) this.#wheel.add(this, Math.min(next.dueMs - this.#clock.now(), this.#timeoutMs));
      else if (next !== undefined) void inTurn(() => this.onTimeout());
    }
  }
}
