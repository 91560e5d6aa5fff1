import type { Clock, Timer } from '../core/clock.js';

/** A connection that may have to give way to another caller's. */
export interface Evictable {
  /** True while it may be ended for another caller: it has no call, no waiter and no listener. */
  readonly idle: boolean;
  /** Grows with each use: the smallest was used longest ago. */
  readonly lastUse: number;
  /** Clock ms since which it holds its permit. */
  readonly heldSinceMs: number;
  /** Takes no new calls and ends when its last one is back. */
  evict(): void;
}

export interface ConnectionLimitOptions {
  readonly max: number;
  readonly clock: Clock;
  /** How long a connection may be kept while others wait, in ms. */
  readonly maxHoldMs: number;
  /** The connections under this limit that may be asked to give way. */
  readonly candidates: () => Iterable<Evictable>;
  /** A wider limit, under which each permit stands too. */
  readonly parent?: ConnectionLimit;
}

/** The right to one connection. */
export interface ConnectionPermit {
  /** Gives it back; idempotent. */
  release(): void;
}

type Waiter = (permit: ConnectionPermit) => void;

/**
 * A limit on connections over all callers. Groups (principals) that wait are served in turn, one permit each, so that
 * one with a thousand sessions does not keep out the others. A waiter evicts the idle connection that was used longest
 * ago; after `maxHoldMs` also the one held longest, which ends when its calls are done.
 */
export class ConnectionLimit {
  readonly #options: ConnectionLimitOptions;
  /** In the order of their turns; each with its waiters, oldest first. None is empty. */
  readonly #groups = new Map<string, Set<Waiter>>();
  #taken = 0;
  /** Callers that wait for a permit of this limit. */
  waiting = 0;
  /** Evicted and not gone yet: so many waiters need not evict another. */
  #leaving = 0;
  #timer: Timer | undefined;

  constructor(options: ConnectionLimitOptions) {
    this.#options = options;
  }

  get taken(): number {
    return this.#taken;
  }

  /** A permit that is free under every limit and that no caller waits for. */
  tryTake(): ConnectionPermit | undefined {
    if (this.#taken >= this.#options.max || this.waiting > 0) return undefined;
    const { parent } = this.#options;
    if (parent === undefined) return this.#permit();
    const wider = parent.tryTake();
    return wider && joined(this.#permit(), wider);
  }

  /** A permit when it is the group's turn. The wait is bounded by the signal. @throws the signal's reason */
  async take(group: string, signal: AbortSignal): Promise<ConnectionPermit> {
    const own = await this.#take(group, signal);
    const { parent } = this.#options;
    if (parent === undefined) return own;
    try {
      return joined(own, await parent.take(group, signal));
    } catch (error) {
      own.release();
      throw error;
    }
  }

  /** Disarms the timer; those who wait are told through their signals. */
  close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  async #take(group: string, signal: AbortSignal): Promise<ConnectionPermit> {
    signal.throwIfAborted();
    if (this.#taken < this.#options.max && this.waiting === 0) return this.#permit();
    return new Promise<ConnectionPermit>((resolve, reject) => {
      const waiter: Waiter = (permit) => {
        signal.removeEventListener('abort', onAbort);
        resolve(permit);
      };
      const onAbort = (): void => {
        this.#remove(group, waiter);
        reject(signal.reason);
      };
      signal.addEventListener('abort', onAbort, { once: true });
      const queue = this.#groups.get(group) ?? new Set();
      this.#groups.set(group, queue.add(waiter));
      this.waiting++;
      this.#evictForWaiters();
    });
  }

  #permit(): ConnectionPermit {
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

  #remove(group: string, waiter: Waiter): void {
    const queue = this.#groups.get(group);
    if (queue?.delete(waiter) !== true) return;
    if (queue.size === 0) this.#groups.delete(group);
    this.waiting--;
    if (this.waiting === 0) this.close();
  }

  /** The oldest waiter of the group whose turn it is; the group goes to the end of the turns while it has more. */
  #serve(): void {
    for (const [group, queue] of this.#groups) {
      const [waiter] = queue;
      if (waiter === undefined || this.#taken >= this.#options.max) return;
      this.#remove(group, waiter);
      if (queue.size > 0) {
        this.#groups.delete(group);
        this.#groups.set(group, queue);
      }
      waiter(this.#permit());
    }
  }

  #evictForWaiters(): void {
    while (this.waiting > this.#leaving && this.#evictIdle()) this.#leaving++;
    if (this.waiting === 0) return;
    const { clock, maxHoldMs } = this.#options;
    this.#timer ??= clock.setTimer(() => this.#holdIsOver(), maxHoldMs, { ref: true });
  }

  #holdIsOver(): void {
    this.#timer = undefined;
    if (this.waiting === 0) return;
    // One that was evicted and is still here has calls that run: another may be done sooner.
    if (!this.#evictIdle()) this.#evictOldest();
    this.#leaving++;
    this.#evictForWaiters();
  }

  /** Ends the idle connection used longest ago; false when there is none. */
  #evictIdle(): boolean {
    let first: Evictable | undefined;
    for (const each of this.#options.candidates()) {
      if (each.idle && (first === undefined || each.lastUse < first.lastUse)) first = each;
    }
    first?.evict();
    return first !== undefined;
  }

  #evictOldest(): void {
    let first: Evictable | undefined;
    for (const each of this.#options.candidates()) {
      if (first === undefined || each.heldSinceMs < first.heldSinceMs) first = each;
    }
    first?.evict();
  }
}

function joined(own: ConnectionPermit, wider: ConnectionPermit): ConnectionPermit {
  return {
    release: () => {
      own.release();
      wider.release();
    },
  };
}
