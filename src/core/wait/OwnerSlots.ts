import type { Clock } from '../clock.js';
import { thrown } from '../errors/thrown.js';

export interface OwnerSlotsOptions {
  /** So many of one owner at a time. */
  readonly max: number;
  /** One counts for so long at most, in ms: those that take long hold up the others no longer than that. */
  readonly holdMs: number;
  readonly clock: Clock;
}

interface Owner {
  held: number;
  /** Oldest first. */
  readonly waiting: Set<() => void>;
}

/** So many of each owner at a time; the next waits for its turn, first come, first served. */
export class OwnerSlots {
  readonly #options: OwnerSlotsOptions;
  readonly #owners = new Map<string, Owner>();

  constructor(options: OwnerSlotsOptions) {
    this.#options = options;
  }

  /** A slot that is free and that no other of the owner waits for. */
  tryTake(owner: string): Disposable | undefined {
    const own = this.#owners.get(owner);
    const free = own === undefined || (own.held < this.#options.max && own.waiting.size === 0);
    return free ? this.#add(owner) : undefined;
  }

  /** A slot when it is its turn. @throws the signal's reason */
  async take(owner: string, signal: AbortSignal): Promise<Disposable> {
    signal.throwIfAborted();
    const slot = this.tryTake(owner);
    const waiting = this.#owners.get(owner)?.waiting;
    if (slot !== undefined || waiting === undefined) return slot ?? this.#add(owner);
    return new Promise((resolve, reject) => {
      const go = (): void => {
        leave();
        resolve(this.#add(owner));
      };
      const onAbort = (): void => {
        leave();
        reject(thrown(signal.reason));
      };
      const leave = (): void => {
        waiting.delete(go);
        signal.removeEventListener('abort', onAbort);
      };
      signal.addEventListener('abort', onAbort, { once: true });
      waiting.add(go);
    });
  }

  #add(owner: string): Disposable {
    const { clock, holdMs, max } = this.#options;
    const own = this.#owners.get(owner) ?? { held: 0, waiting: new Set() };
    this.#owners.set(owner, own);
    own.held++;
    let held = true;
    const release = (): void => {
      if (!held) return;
      held = false;
      timer.cancel();
      own.held--;
      const [next] = own.waiting;
      if (own.held < max) next?.();
      if (own.held === 0) this.#owners.delete(owner);
    };
    const timer = clock.setTimer(release, holdMs);
    return { [Symbol.dispose]: release };
  }
}
