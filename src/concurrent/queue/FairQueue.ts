import { systemClock } from '../../core/clock.js';
import { QueueFullError } from '../../core/errors.js';
import { TimeoutWheel } from '../../core/time/TimeoutWheel.js';
import type { QueueAhead } from '../limiter/SlidingWindow.js';
import { Shares } from '../Shares.js';
import { type Waiter, type WaitOptions, WaitQueue, type WaitQueueOptions } from './WaitQueue.js';

export interface FairQueueOptions extends Omit<WaitQueueOptions, 'timeoutError' | 'wheel'> {
  /** Makes the error of a waiter whose time is over; it has left by then. */
  readonly timeoutError: (timeoutMs: number, weight: number, owner: string | undefined) => Error;
}

/** The waiters of one owner; of undefined those of no one in particular. */
interface Group<T> {
  owner: string | undefined;
  readonly queue: WaitQueue<T>;
  /** As they were counted last. */
  size: number;
  weight: number;
}

/**
 * A `WaitQueue` in which owners take turns, each with the oldest of its own, and one owner has three quarters of the places at most.
 * Waiters of no owner are one group of these, which takes all places that are free. With one group alone: first in, first out.
 */
export class FairQueue<T> implements QueueAhead {
  readonly #options: FairQueueOptions;
  /** In the order of their turns; none is empty. */
  readonly #groups = new Map<string | undefined, Group<T>>();
  /** The first of them: most queues have one group, and look nothing up. */
  #next: Group<T> | undefined;
  /** What owners have of the places. */
  readonly #shares: Shares;
  #wheel: TimeoutWheel | undefined;
  /** The group that was emptied last: a lone caller makes none each time. */
  #spare: Group<T> | undefined;
  #size = 0;
  #weight = 0;

  constructor(options: FairQueueOptions) {
    this.#options = options;
    this.#shares = new Shares(options.maxQueue);
  }

  /** Waiters now. */
  get size(): number {
    return this.#size;
  }

  /** What they ask for, all together. */
  get weight(): number {
    return this.#weight;
  }

  /** What each asks for, in the order of their turns. */
  *weights(): Generator<number, void, undefined> {
    let left = [...this.#groups.values()].map(({ queue }) => queue.weights()[Symbol.iterator]());
    while (left.length > 0) {
      const more: typeof left = [];
      for (const each of left) {
        const next = each.next();
        if (next.done === true) continue;
        more.push(each);
        yield next.value;
      }
      left = more;
    }
  }

  /** Those that are served before one of `owner` that comes now, if no other owner does. */
  ahead(owner: string | undefined): QueueAhead {
    const own = this.#groups.get(owner);
    if (this.#groups.size === (own === undefined ? 0 : 1)) return this;
    let size = 0;
    let turns = own === undefined ? 1 : own.size + 1;
    for (const group of this.#groups.values()) {
      if (group === own) turns--;
      size += Math.min(group.size, turns);
    }
    if (this.#weight === this.#size) return { size, weight: size, weights: () => new Array<number>(size).fill(1) };
    const weights: number[] = [];
    for (const each of this.weights()) {
      if (weights.length === size) break;
      weights.push(each);
    }
    return { size, weight: weights.reduce((sum, each) => sum + each, 0), weights: () => weights };
  }

  /** Takes the last place of the owner's; settles as `WaitQueue.wait` says. `more`: so many places are there beside `maxQueue`, the first of which any owner may take. */
  wait(options: WaitOptions, owner?: string, more = 0): Promise<T> {
    const { what, maxQueue } = this.#options;
    const ended = options.signal?.aborted === true || options.timeoutMs === 0;
    if (!ended && !this.#mayWait(owner, more)) {
      return Promise.reject(new QueueFullError(what, this.#size, maxQueue + more));
    }
    const next = this.#next;
    const group = next !== undefined && next.owner === owner ? next : (this.#groups.get(owner) ?? this.#join(owner));
    const waiting = group.queue.wait(options);
    this.#count(group);
    return waiting;
  }

  /** The weight of the one whose turn it is, which stays; 0 when none waits. */
  peek(): number {
    for (let group = this.#next; group !== undefined; group = this.#next) {
      const weight = group.queue.peek();
      // `onLeave` may have told of some that were aborted, and others have been served since.
      if (group === this.#next) return weight;
    }
    return 0;
  }

  /** Takes out the one whose turn it is; undefined when none waits. The caller settles it. */
  shift(): Waiter<T> | undefined {
    for (let group = this.#next; group !== undefined; group = this.#next) {
      const waiter = this.#take(group);
      if (waiter !== undefined) return waiter;
    }
    return undefined;
  }

  /** The same, among the owners that `may`. */
  shiftOf(may: (owner: string | undefined) => boolean): Waiter<T> | undefined {
    for (const group of this.#groups.values()) {
      const waiter = may(group.owner) ? this.#take(group) : undefined;
      if (waiter !== undefined) return waiter;
    }
    return undefined;
  }

  /** Rejects every waiter, and disarms the timer. */
  rejectAll(error: unknown): void {
    for (const group of [...this.#groups.values()]) {
      group.queue.rejectAll(error);
      this.#count(group);
    }
    this.#wheel?.close();
  }

  /** Its oldest; the turn is another's then. Undefined when all of its own had been aborted: it has left. */
  #take(group: Group<T>): Waiter<T> | undefined {
    const waiter = group.queue.shift();
    this.#count(group);
    if (waiter !== undefined && group.size > 0 && this.#groups.size > 1) {
      this.#groups.delete(group.owner);
      this.#groups.set(group.owner, group);
      this.#first();
    }
    return waiter;
  }

  #mayWait(owner: string | undefined, more: number): boolean {
    if (this.#size < more) return true;
    if (owner === undefined) return this.#size < this.#options.maxQueue + more;
    return this.#shares.mayTake(owner, 1, this.#shares.taken - this.#size + more);
  }

  #join(owner: string | undefined): Group<T> {
    const group = this.#spare ?? this.#make();
    this.#spare = undefined;
    group.owner = owner;
    this.#groups.set(owner, group);
    this.#next ??= group;
    return group;
  }

  #make(): Group<T> {
    const { what, clock = systemClock, timeoutError, onLeave } = this.#options;
    this.#wheel ??= new TimeoutWheel(clock);
    const queue = new WaitQueue<T>({
      what,
      maxQueue: Number.POSITIVE_INFINITY,
      clock,
      wheel: this.#wheel,
      timeoutError: (timeoutMs, weight) => {
        this.#count(group);
        return timeoutError(timeoutMs, weight, group.owner);
      },
      onLeave: () => {
        this.#count(group);
        onLeave?.();
      },
    });
    const group: Group<T> = { owner: undefined, queue, size: 0, weight: 0 };
    return group;
  }

  /** After each change of a group. One that is empty leaves. */
  #count(group: Group<T>): void {
    const { owner, queue } = group;
    const { size, weight } = queue;
    if (owner !== undefined && size !== group.size) this.#shares.add(owner, size - group.size);
    this.#size += size - group.size;
    this.#weight += weight - group.weight;
    group.size = size;
    group.weight = weight;
    if (size > 0 || this.#groups.get(owner) !== group) return;
    this.#groups.delete(owner);
    this.#first();
    this.#spare = group;
  }

  #first(): void {
    const [next] = this.#groups.values();
    this.#next = next;
  }
}
