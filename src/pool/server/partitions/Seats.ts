import type { Clock, Timer } from '../../../core/clock.js';

export interface SeatsOptions {
  readonly max: number;
  readonly clock: Clock;
  /** How long one may sit while others wait, in ms. */
  readonly quantumMs: number;
  /** Asks somebody who does nothing to leave; true when one will. */
  readonly evictIdle: () => boolean;
  /** Asks whoever has sat longest to leave when his calls are done; not one who was asked before. */
  readonly evictOldest: () => void;
}

export interface Seat {
  /** Gives it back; idempotent. */
  release(): void;
}

type Waiter = (seat: Seat) => void;

/**
 * Room for so many connections over all callers. Groups (principals) that wait are served in turn, one seat each, so
 * that one with a thousand sessions does not keep out the others. Who waits has an idle one leave, and after a quantum
 * the one that has sat longest.
 */
export class Seats {
  readonly #options: SeatsOptions;
  /** In the order of their turns; each with its waiters, oldest first. None is empty. */
  readonly #groups = new Map<string, Set<Waiter>>();
  #taken = 0;
  #waiting = 0;
  /** Asked to leave and not gone yet: so many need not be asked again. */
  #leaving = 0;
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

  /** A seat that is free and that nobody waits for. */
  tryTake(): Seat | undefined {
    return this.#taken < this.#options.max && this.#waiting === 0 ? this.#seat() : undefined;
  }

  /** Resolves to a seat; rejects with the signal's reason. Whoever waits is bounded by the signal he brings. */
  async take(group: string, signal: AbortSignal): Promise<Seat> {
    signal.throwIfAborted();
    const free = this.tryTake();
    if (free !== undefined) return free;
    return new Promise<Seat>((resolve, reject) => {
      const waiter: Waiter = (seat) => {
        signal.removeEventListener('abort', onAbort);
        resolve(seat);
      };
      const onAbort = (): void => {
        this.#leave(group, waiter);
        reject(signal.reason);
      };
      signal.addEventListener('abort', onAbort, { once: true });
      const queue = this.#groups.get(group) ?? new Set();
      this.#groups.set(group, queue.add(waiter));
      this.#waiting++;
      this.#press();
    });
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
        this.#leaving = Math.max(0, this.#leaving - 1);
        this.#serve();
      },
    };
  }

  #leave(group: string, waiter: Waiter): void {
    const queue = this.#groups.get(group);
    if (queue?.delete(waiter) !== true) return;
    if (queue.size === 0) this.#groups.delete(group);
    this.#waiting--;
    if (this.#waiting === 0) this.close();
  }

  /** The oldest waiter of the group whose turn it is; the group goes to the end of the turns while it has more. */
  #serve(): void {
    for (const [group, queue] of this.#groups) {
      const [waiter] = queue;
      if (waiter === undefined || this.#taken >= this.#options.max) return;
      this.#leave(group, waiter);
      if (queue.size > 0) {
        this.#groups.delete(group);
        this.#groups.set(group, queue);
      }
      waiter(this.#seat());
    }
  }

  #press(): void {
    while (this.#waiting > this.#leaving && this.#options.evictIdle()) this.#leaving++;
    if (this.#waiting === 0) return;
    this.#timer ??= this.#options.clock.setTimer(() => this.#quantumOver(), this.#options.quantumMs, { ref: true });
  }

  #quantumOver(): void {
    this.#timer = undefined;
    if (this.#waiting === 0) return;
    // Whoever was asked and is still here has calls that run: another may be done sooner.
    if (!this.#options.evictIdle()) this.#options.evictOldest();
    this.#leaving++;
    this.#press();
  }
}
