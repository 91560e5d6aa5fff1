import type { Clock, Timer } from '../../core/clock.js';
import { RingQueue } from '../../core/RingQueue.js';

export interface SeatsOptions {
  readonly max: number;
  readonly clock: Clock;
  /** How long one may sit while others wait, in ms. */
  readonly quantumMs: number;
  /** Asks somebody who does nothing to leave; true when one will. */
  readonly evictIdle: () => boolean;
  /** Asks whoever has sat longest to leave when his calls are done. */
  readonly evictOldest: () => void;
}

export interface Seat {
  /** Gives it back; idempotent. */
  release(): void;
}

interface Waiter {
  readonly take: (seat: Seat) => void;
  gone: boolean;
}

/**
 * Room for so many connections over all callers. Groups (principals) that wait are served in turn, one seat each, so
 * that one with a thousand sessions does not keep out the others. Who waits first has an idle one leave, and after a
 * quantum the one that has sat longest.
 */
export class Seats {
  readonly #options: SeatsOptions;
  readonly #groups = new Map<string, RingQueue<Waiter>>();
  readonly #turns = new RingQueue<string>();
  #taken = 0;
  #waiting = 0;
  #timer: Timer | undefined;

  constructor(options: SeatsOptions) {
    this.#options = options;
  }

  get taken(): number {
    return this.#taken;
  }

  get waiting(): number {
    return this.#waiting;
  }

  /** Resolves to a seat; rejects with the signal's reason. Whoever waits is bounded by the signal he brings. */
  async take(group: string, signal: AbortSignal): Promise<Seat> {
    signal.throwIfAborted();
    if (this.#taken < this.#options.max && this.#waiting === 0) return this.#seat();
    const seat = await new Promise<Seat>((resolve, reject) => {
      const waiter: Waiter = {
        gone: false,
        take: (given) => {
          signal.removeEventListener('abort', onAbort);
          resolve(given);
        },
      };
      const onAbort = (): void => {
        waiter.gone = true;
        this.#left();
        reject(signal.reason);
      };
      signal.addEventListener('abort', onAbort, { once: true });
      this.#enqueue(group, waiter);
      this.#serve();
      if (this.#waiting > 0) this.#press();
    });
    return seat;
  }

  /** Disarms the timer; those who wait are told through their signals. */
  close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #seat(): Seat {
    this.#taken++;
    let held = true;
    return {
      release: () => {
        if (!held) return;
        held = false;
        this.#taken--;
        this.#serve();
      },
    };
  }

  #enqueue(group: string, waiter: Waiter): void {
    let queue = this.#groups.get(group);
    if (queue === undefined) {
      queue = new RingQueue();
      this.#groups.set(group, queue);
      this.#turns.push(group);
    }
    queue.push(waiter);
    this.#waiting++;
  }

  #left(): void {
    this.#waiting--;
    if (this.#waiting === 0) this.close();
  }

  #serve(): void {
    while (this.#taken < this.#options.max && this.#waiting > 0) {
      const waiter = this.#next();
      if (waiter === undefined) return;
      this.#left();
      waiter.take(this.#seat());
    }
  }

  /** The oldest waiter of the group whose turn it is; the group goes to the end of the turns while it has more. */
  #next(): Waiter | undefined {
    for (let group = this.#turns.shift(); group !== undefined; group = this.#turns.shift()) {
      const queue = this.#groups.get(group);
      let waiter = queue?.shift();
      while (waiter?.gone === true) waiter = queue?.shift();
      if (queue !== undefined && queue.size > 0) this.#turns.push(group);
      else this.#groups.delete(group);
      if (waiter !== undefined) return waiter;
    }
    return undefined;
  }

  #press(): void {
    if (this.#options.evictIdle() || this.#timer !== undefined) return;
    this.#timer = this.#options.clock.setTimer(
      () => {
        this.#timer = undefined;
        if (this.#waiting === 0) return;
        if (!this.#options.evictIdle()) this.#options.evictOldest();
        this.#press();
      },
      this.#options.quantumMs,
      { ref: true },
    );
  }
}
