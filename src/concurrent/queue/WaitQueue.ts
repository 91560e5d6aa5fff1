import { systemClock } from '../../core/clock.js';
import { QueueFullError } from '../../core/errors.js';
import { TimeoutWheel } from '../../core/time/TimeoutWheel.js';
import { AbortHub } from '../../core/wait/AbortHub.js';
import { type Exits, LimitedWait } from './LimitedWait.js';
import { TimeoutLane } from './TimeoutLane.js';
import type { Waiter, WaitOptions, WaitQueueOptions } from './WaitQueueOptions.js';

export type { Waiter, WaitOptions, WaitQueueOptions };

/** Waiters that left out of turn keep their places until there are so many of them, and more of them than of the others. */
const MAX_GONE = 64;
const MIN_PLACES = 8;
/** A place in the ring: `resolve` or what limits the wait, `reject`, the tag. */
const WIDTH = 3;

/** What may end a wait before its turn: nothing, the lane's timeout, or a timeout or signal of its own. */
const UNLIMITED = 0;
const TIMED = 1;
const LIMITED = 2;
/** Left out of turn. */
const GONE = 3;

/**
 * First in, first out, bounded. One listener per distinct signal and one timer for all, however many wait; a waiter
 * that is aborted or out of time leaves at once, in O(1) amortised, and what would have been its own goes to the next. The owner of
 * the queue serves it: `peek()` tells the oldest one's weight, `shift()` takes it out.
 *
 * The places are a ring in one array, not objects: with many thousands waiting the time is the collector's (decision 124).
 */
export class WaitQueue<T> {
  readonly #options: WaitQueueOptions;
  readonly #hub = new AbortHub();
  readonly #exits: Exits<T> = {
    aborted: (waiter, reason) => this.#leave(waiter.place, () => reason),
    timedOut: (waiter, timeoutMs) =>
      this.#leave(waiter.place, () => this.#options.timeoutError(timeoutMs, waiter.weight)),
  };
  #wheel: TimeoutWheel | undefined;
  #lane: TimeoutLane | undefined;
  #ring: unknown[] = new Array(MIN_PLACES * WIDTH).fill(undefined);
  #kinds = new Uint8Array(MIN_PLACES);
  /** Places are numbered without end; a number's place in the ring is its remainder. */
  #head = 0;
  #tail = 0;
  /** The first of the timeout lane; of no meaning while the lane is empty. */
  #firstTimed = -1;
  #size = 0;
  #weight = 0;
  /** Places of waiters that left out of turn. */
  #gone = 0;
  readonly #served = { weight: 1, tag: undefined as unknown, resolve: unset, reject: unset } as Served<T>;

  constructor(options: WaitQueueOptions) {
    this.#options = options;
  }

  /** Waiters now. */
  get size(): number {
    return this.#size;
  }

  /** What they ask for, all together. */
  get weight(): number {
    return this.#weight;
  }

  /** What each asks for, oldest first. */
  *weights(): Iterable<number> {
    for (let n = this.#head; n < this.#tail; n++) if (this.#kindOf(n) !== GONE) yield this.#weightOf(n);
  }

  /**
   * Takes the last place. Settles by `shift`, or rejects with `signal.reason`, the owner's timeout error or what
   * `rejectAll` is given; at once with `QueueFullError` (ERR_QUEUE_FULL) when all places are taken.
   */
  wait({ signal, timeoutMs, weight = 1, tag }: WaitOptions): Promise<T> {
    return this.enter(signal, timeoutMs, weight, tag);
  }

  /** The same without an object for the options: with many waiting, each byte of them is copied twice. */
  enter(signal: AbortSignal | undefined, timeoutMs: number, weight: number, tag: unknown): Promise<T> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    if (timeoutMs === 0) return Promise.reject(this.#options.timeoutError(0, weight));
    const { what, maxQueue } = this.#options;
    if (this.#size >= maxQueue) return Promise.reject(new QueueFullError(what, this.#size, maxQueue));
    if (this.#tail - this.#head === this.#kinds.length) this.#rebuild(2 * this.#kinds.length);
    const kind = this.#kindFor(weight, timeoutMs, signal);
    const place = this.#tail++;
    const at = this.#at(place);
    const ring = this.#ring;
    this.#kinds[place & (this.#kinds.length - 1)] = kind;
    ring[at + 2] = tag;
    this.#size++;
    this.#weight += weight;
    if (kind === LIMITED) return this.#limit(new LimitedWait(place, weight, timeoutMs, signal, this.#exits), at);
    if (kind === TIMED && this.#firstTimed < 0) this.#firstTimed = place;
    const promise = new Promise<T>(capture as Executor<T>);
    ring[at] = captured.resolve;
    ring[at + 1] = captured.reject;
    return promise;
  }

  /** The weight of the oldest, which stays; 0 when none waits. */
  peek(): number {
    let told = false;
    for (let n = this.#oldest(); n >= 0 && this.#limitsOf(n)?.signal?.aborted; n = this.#oldest()) {
      const { reject, signal } = this.#limitsOf(n) as LimitedWait<T>;
      this.#remove(n);
      reject(signal?.reason);
      told = true;
    }
    // Their own listener is still to come and will find them gone, so the owner is told here for those behind them.
    if (told) this.#options.onLeave?.();
    const oldest = this.#oldest();
    return oldest < 0 ? 0 : this.#weightOf(oldest);
  }

  /** Takes the oldest out; undefined when none waits. The caller settles it. */
  shift(): Waiter<T> | undefined {
    for (let n = this.#oldest(); n >= 0; n = this.#oldest()) {
      const signal = this.#limitsOf(n)?.signal;
      const waiter = this.#take(n);
      // Its signal may have aborted a moment ago, with our listener still to come: then it must not be served.
      if (!signal?.aborted) return waiter;
      waiter.reject(signal.reason);
    }
    return undefined;
  }

  /** Rejects every waiter, oldest first, and disarms the timer. */
  rejectAll(error: unknown): void {
    for (let n = this.#oldest(); n >= 0; n = this.#oldest()) this.#take(n).reject(error);
    if (this.#options.wheel === undefined) this.#wheel?.close();
  }

  #at(place: number): number {
    return (place & (this.#kinds.length - 1)) * WIDTH;
  }

  #kindOf(place: number): number {
    return this.#kinds[place & (this.#kinds.length - 1)] as number;
  }

  #limitsOf(place: number): LimitedWait<T> | undefined {
    return this.#kindOf(place) === LIMITED ? (this.#ring[this.#at(place)] as LimitedWait<T>) : undefined;
  }

  #weightOf(place: number): number {
    return this.#limitsOf(place)?.weight ?? 1;
  }

  /** The first place that is not gone; -1 when there is none. */
  #oldest(): number {
    while (this.#head < this.#tail && this.#kindOf(this.#head) === GONE) {
      this.#head++;
      this.#gone--;
    }
    if (this.#head < this.#tail) return this.#head;
    return -1;
  }

  #kindFor(weight: number, timeoutMs: number, signal: AbortSignal | undefined): number {
    if (signal !== undefined || weight !== 1) return LIMITED;
    if (timeoutMs === Number.POSITIVE_INFINITY) return UNLIMITED;
    return (this.#lane ?? this.#timeouts().lane).add(timeoutMs) ? TIMED : LIMITED;
  }

  #limit(waiter: LimitedWait<T>, at: number): Promise<T> {
    this.#ring[at] = waiter;
    const { signal, timeoutMs } = waiter;
    if (signal !== undefined) waiter.group = this.#hub.join(signal, waiter);
    if (timeoutMs !== Number.POSITIVE_INFINITY) this.#timeouts().wheel.add(waiter, timeoutMs);
    return new Promise<T>((resolve, reject) => {
      waiter.resolve = resolve;
      waiter.reject = reject;
    });
  }

  #leave(place: number, error: () => unknown): void {
    const { reject } = this.#take(place);
    reject(error());
    this.#options.onLeave?.();
  }

  /** Takes out the waiter of a place. */
  #take(place: number): Waiter<T> {
    const at = this.#at(place);
    const limits = this.#limitsOf(place);
    const served = this.#served;
    served.weight = limits?.weight ?? 1;
    served.tag = this.#ring[at + 2];
    served.resolve = limits?.resolve ?? (this.#ring[at] as Served<T>['resolve']);
    served.reject = limits?.reject ?? (this.#ring[at + 1] as Served<T>['reject']);
    this.#remove(place);
    return served;
  }

  #remove(place: number): void {
    const at = this.#at(place);
    const kind = this.#kindOf(place);
    this.#size--;
    this.#weight -= this.#weightOf(place);
    if (kind === TIMED) this.#leaveLane(place);
    else if (kind === LIMITED) {
      const waiter = this.#ring[at] as LimitedWait<T>;
      this.#wheel?.remove(waiter);
      waiter.group?.leave(waiter);
    }
    this.#ring[at] = undefined;
    this.#ring[at + 1] = undefined;
    this.#ring[at + 2] = undefined;
    if (place === this.#head) this.#head++;
    else {
      this.#kinds[place & (this.#kinds.length - 1)] = GONE;
      this.#gone++;
    }
    if (this.#size === 0) this.#empty();
    else if (this.#gone > MAX_GONE && this.#gone > this.#size) this.#rebuild(this.#kinds.length);
  }

  /** The places begin anew, half as many if few of them were used. */
  #empty(): void {
    const places = this.#kinds.length;
    const few = places > MIN_PLACES && this.#tail * 4 < places;
    this.#head = 0;
    this.#tail = 0;
    this.#gone = 0;
    if (few) this.#rebuild(places / 2);
  }

  /** Moves all who wait to the front of a new ring; places that are gone end here. */
  #rebuild(places: number): void {
    const ring: unknown[] = new Array(places * WIDTH).fill(undefined);
    const kinds = new Uint8Array(places);
    let to = 0;
    this.#firstTimed = -1;
    for (let n = this.#head; n < this.#tail; n++) {
      const kind = this.#kindOf(n);
      if (kind === GONE) continue;
      const at = this.#at(n);
      for (let i = 0; i < WIDTH; i++) ring[to * WIDTH + i] = this.#ring[at + i];
      kinds[to] = kind;
      if (kind === LIMITED) (this.#ring[at] as LimitedWait<T>).place = to;
      else if (kind === TIMED && this.#firstTimed < 0) this.#firstTimed = to;
      to++;
    }
    this.#ring = ring;
    this.#kinds = kinds;
    this.#head = 0;
    this.#tail = to;
    this.#gone = 0;
  }

  #timeouts(): { readonly wheel: TimeoutWheel; readonly lane: TimeoutLane } {
    const { clock = systemClock, wheel } = this.#options;
    this.#wheel ??= wheel ?? new TimeoutWheel(clock);
    this.#lane ??= new TimeoutLane(clock, this.#wheel, (timeoutMs) =>
      this.#leave(this.#firstTimed, () => this.#options.timeoutError(timeoutMs, 1)),
    );
    return { wheel: this.#wheel, lane: this.#lane };
  }

  /** The first of the lane leaves; no other can. Each place is passed once only. */
  #leaveLane(first: number): void {
    this.#lane?.shift();
    let next = first + 1;
    while (next < this.#tail && this.#kindOf(next) !== TIMED) next++;
    this.#firstTimed = next < this.#tail ? next : -1;
  }
}

const unset = (): void => undefined;

type Executor<T> = (resolve: (value: T) => void, reject: (error: unknown) => void) => void;

/** The functions of the promise made last: one executor for all promises spares a closure and its context for each. */
const captured: { resolve: unknown; reject: unknown } = { resolve: unset, reject: unset };
const capture: Executor<unknown> = (resolve, reject) => {
  captured.resolve = resolve;
  captured.reject = reject;
};

/** The waiter taken out last. */
interface Served<T> {
  weight: number;
  tag: unknown;
  resolve: (value: T) => void;
  reject: (error: unknown) => void;
}
