import { systemClock, type Timer } from '../core/clock.js';
import { inTurnOrNow, spendCaller } from '../core/time/turns.js';
import { RingQueue } from '../core/wait/RingQueue.js';
import { Turns } from '../core/wait/Turns.js';
import { Shares } from './Shares.js';

export interface FairRoomOptions {
  /** What may be held at once, in any unit. One group takes three quarters, and all that is free while it holds nothing. */
  readonly max: number;
  /** Whether what the first of a group waits for is taken by none behind it: for what is held for a bounded time. @defaultValue false */
  readonly firstGoesFirst?: boolean;
  /** What is released counts for so long still, in ms. @defaultValue 0 */
  readonly lingerMs?: number;
}

/** So much room, `max` at most, of one group (a server), for one of its owners (a caller). */
export interface Place {
  readonly group: string;
  readonly owner?: string | undefined;
  readonly amount: number;
}

interface Entry extends Place {
  amount: number;
  begin: () => void;
}

/**
 * Room for what is large while it is read or held, or for a few steps at a time. Groups take turns, and within a group its owners, of which each has
 * the oldest of its own: one look at each group that waits says who is next, however many wait.
 */
export class FairRoom {
  readonly #options: FairRoomOptions;
  readonly #shares: Shares;
  /** By group, in the order of their turns; none is empty. */
  readonly #waiting = new Map<string, Turns<string | undefined, Entry>>();
  readonly #held = new Set<Place>();
  /** What was released and counts still, the oldest first. */
  readonly #lingering = new RingQueue<Place & { readonly untilMs: number }>();
  #timer: Timer | undefined;

  constructor(options: FairRoomOptions) {
    this.#options = options;
    this.#shares = new Shares(options.max);
  }

  /**
   * A place of its own when it is its turn, which is to be released, whatever comes. `wait` is called where it has to wait: what that rejects with ends the
   * wait; where it resolves before the turn, the place waits on until it is released.
   */
  async take(wanted: Place, wait: (turn: Promise<void>) => Promise<unknown> = (turn) => turn): Promise<Place> {
    const entry: Entry = { ...wanted, begin: () => undefined };
    const own = this.#waiting.get(entry.group) ?? new Turns();
    own.add(entry.owner, entry);
    this.#waiting.set(entry.group, own);
    this.#go();
    if (this.#held.has(entry)) return entry;
    const turn = new Promise<void>((resolve) => {
      entry.begin = resolve;
    });
    try {
      await wait(turn);
    } catch (error) {
      // Its turn may have come in the same moment: nothing was made in it that could count still.
      this.resize(entry, 0);
      this.release(entry);
      throw error;
    }
    // Each begins as one before it ends: a thousand are not all gone on with in one turn.
    await inTurnOrNow(spendCaller);
    return entry;
  }

  /** Does a step in its turn, which takes one of so many places. Resolves, or rejects, as that does. */
  async run<T>(of: Pick<Place, 'group' | 'owner'>, step: () => Promise<T>): Promise<T> {
    const place = await this.take({ ...of, amount: 1 });
    try {
      return await step();
    } finally {
      this.release(place);
    }
  }

  /** What is held is so much from here on. */
  resize(place: Place, amount: number): void {
    if (!this.#held.has(place)) return;
    this.#shares.add(place.group, amount - place.amount);
    (place as Entry).amount = amount;
    this.#go();
  }

  /** It is not held, or waited for, any more. Idempotent. */
  release(place: Place): void {
    const { group, owner, amount } = place;
    const { lingerMs = 0 } = this.#options;
    const own = this.#waiting.get(group);
    if (!this.#held.delete(place)) {
      own?.delete(owner, place as Entry);
      if (own?.size === 0) this.#waiting.delete(group);
    } else if (lingerMs > 0) this.#lingering.push({ group, amount, untilMs: systemClock.now() + lingerMs });
    else this.#shares.add(group, -amount);
    this.#go();
  }

  #go(): void {
    const nowMs = systemClock.now();
    this.#timer?.cancel();
    let last = this.#lingering.peek();
    for (; last !== undefined && last.untilMs <= nowMs; last = this.#lingering.peek()) {
      this.#lingering.shift();
      this.#shares.add(last.group, -last.amount);
    }
    for (let next = this.#next(); next !== undefined; next = this.#next()) next.begin();
    if (this.#waiting.size === 0 || last === undefined) return;
    this.#timer = systemClock.setTimer(() => this.#go(), last.untilMs - nowMs, { ref: true });
  }

  /** The next that there is room for, which it holds. */
  #next(): Entry | undefined {
    if (this.#shares.taken >= this.#options.max) return undefined;
    for (const [group, own] of this.#waiting) {
      const isFirst = this.#shares.of(group) === 0;
      const { amount = 0 } = own.next ?? {};
      if (this.#shares.mayTake(group, amount, 0, isFirst)) {
        this.#waiting.delete(group);
        const next = own.take() as Entry;
        if (own.size > 0) this.#waiting.set(group, own);
        this.#shares.add(group, amount);
        this.#held.add(next);
        return next;
      }
      if (isFirst && this.#options.firstGoesFirst === true) return undefined;
    }
    return undefined;
  }
}
