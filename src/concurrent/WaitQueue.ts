import { type Clock, systemClock } from '../core/clock.js';
import { QueueFullError } from '../core/errors.js';
import { TimeoutWheel, WheelEntry } from '../core/time/TimeoutWheel.js';
import { type AbortEntry, type AbortGroup, AbortHub } from '../core/wait/AbortHub.js';
import { TimeoutLane } from './TimeoutLane.js';

export interface WaitQueueOptions {
  /** Whose queue it is, as errors say it. */
  readonly what: string;
  /** Most callers that may wait; 0: none may, `Infinity`: no bound. */
  readonly maxQueue: number;
  /** Measures time and arms timers; a `FakeClock` in tests. @defaultValue the system's clock */
  readonly clock?: Clock | undefined;
  /** Makes the error of a waiter of that weight whose time is over; it has left by then. */
  readonly timeoutError: (timeoutMs: number, weight: number) => Error;
  /** Called after a waiter left by abort or timeout: those behind a heavy one may fit now. Must not throw. */
  readonly onLeave?: (() => void) | undefined;
}

export interface WaitOptions {
  /** Aborting rejects at once with `signal.reason` and frees the place. */
  readonly signal?: AbortSignal | undefined;
  /** Longest wait, in ms. 0 does not wait at all, `Infinity` waits for ever. */
  readonly timeoutMs: number;
  /** What the waiter asks for, in the owner's unit. @defaultValue 1 */
  readonly weight?: number | undefined;
  /** What the owner wants to find again at the waiter that it serves. */
  readonly tag?: unknown;
}

/** A waiter that left the queue to be served: the owner settles it at once. */
export interface Waiter<T> {
  readonly weight: number;
  readonly tag: unknown;
  resolve(value: T): void;
  reject(error: unknown): void;
}

/** Waiters that left out of turn stay in the list until it holds so many of them, and more of them than of the others. */
const MAX_GONE = 64;

/**
 * First in, first out, bounded. One listener per distinct signal and one timer for all, however many wait; a waiter
 * that is aborted or out of time leaves at once, in O(1) amortised, and what would have been its own goes to the next. The owner of
 * the queue serves it: `peek()` tells the oldest one's weight, `shift()` takes it out.
 *
 * A list linked one way, since links back cost the collector half as much again with many waiters.
 */
export class WaitQueue<T> {
  readonly #options: WaitQueueOptions;
  readonly #hub = new AbortHub();
  readonly #exits: Exits<T> = {
    aborted: (waiter, reason) => this.#leave(waiter, () => reason),
    timedOut: (waiter, timeoutMs) => this.#leave(waiter, () => this.#options.timeoutError(timeoutMs, waiter.weight)),
  };
  #wheel: TimeoutWheel | undefined;
  #lane: TimeoutLane | undefined;
  #firstTimed: Entry<T> | undefined;
  #head: Entry<T> | undefined;
  #tail: Entry<T> | undefined;
  #size = 0;
  #weight = 0;
  /** Waiters that left out of turn and still stand in the list. */
  #gone = 0;

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
    for (let waiter = this.#head; waiter !== undefined; waiter = waiter.next)
      if (waiter.kind !== GONE) yield waiter.weight;
  }

  /**
   * Takes the last place. Settles by `shift`, or rejects with `signal.reason`, the owner's timeout error or what
   * `rejectAll` is given; at once with `QueueFullError` (ERR_QUEUE_FULL) when all places are taken.
   */
  wait({ signal, timeoutMs, weight = 1, tag }: WaitOptions): Promise<T> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    if (timeoutMs === 0) return Promise.reject(this.#options.timeoutError(0, weight));
    const { what, maxQueue } = this.#options;
    if (this.#size >= maxQueue) return Promise.reject(new QueueFullError(what, this.#size, maxQueue));
    const waiter = this.#waiter(weight, timeoutMs, signal);
    waiter.tag = tag;
    const promise = new Promise<T>((resolve, reject) => {
      waiter.resolve = resolve;
      waiter.reject = reject;
    });
    if (this.#tail === undefined) this.#head = waiter;
    else this.#tail.next = waiter;
    this.#tail = waiter;
    if (waiter.kind === TIMED) this.#firstTimed ??= waiter;
    this.#size++;
    this.#weight += weight;
    return promise;
  }

  /** The weight of the oldest, which stays; 0 when none waits. */
  peek(): number {
    let told = false;
    for (let waiter = this.#oldest(); waiter?.signal?.aborted; waiter = this.#oldest()) {
      this.#remove(waiter);
      waiter.reject(waiter.signal?.reason);
      told = true;
    }
    // Their own listener is still to come and will find them gone, so the owner is told here for those behind them.
    if (told) this.#options.onLeave?.();
    return this.#oldest()?.weight ?? 0;
  }

  /** Takes the oldest out; undefined when none waits. The caller settles it. */
  shift(): Waiter<T> | undefined {
    for (let waiter = this.#oldest(); waiter !== undefined; waiter = this.#oldest()) {
      this.#remove(waiter);
      // Its signal may have aborted a moment ago, with our listener still to come: then it must not be served.
      if (!waiter.signal?.aborted) return waiter;
      waiter.reject(waiter.signal?.reason);
    }
    return undefined;
  }

  /** Rejects every waiter, oldest first, and disarms the timer. */
  rejectAll(error: unknown): void {
    for (let waiter = this.#oldest(); waiter !== undefined; waiter = this.#oldest()) {
      this.#remove(waiter);
      waiter.reject(error);
    }
    this.#wheel?.close();
  }

  /** The first in the list; those before it that are gone are dropped. */
  #oldest(): Entry<T> | undefined {
    while (this.#head?.kind === GONE) {
      this.#removeHead(this.#head);
      this.#gone--;
    }
    return this.#head;
  }

  #removeHead(head: Entry<T>): void {
    this.#head = head.next;
    if (head.next === undefined) this.#tail = undefined;
    head.next = undefined;
  }

  #leave(waiter: Entry<T>, error: () => unknown): void {
    this.#remove(waiter);
    waiter.reject(error());
    this.#options.onLeave?.();
  }

  #remove(waiter: Entry<T>): void {
    this.#size--;
    this.#weight -= waiter.weight;
    if (waiter.kind === TIMED) this.#leaveLane(waiter);
    else if (waiter.kind === LIMITED) {
      this.#wheel?.remove(waiter as Limited<T>);
      (waiter as Limited<T>).group?.leave(waiter as Limited<T>);
    }
    if (waiter === this.#head) this.#removeHead(waiter);
    else {
      waiter.kind = GONE;
      this.#gone++;
      if (this.#gone > MAX_GONE && this.#gone > this.#size) this.#sweep();
    }
  }

  /** Drops from the list all that are gone. */
  #sweep(): void {
    let last = this.#oldest();
    for (let waiter = last?.next; waiter !== undefined; waiter = waiter.next) {
      if (waiter.kind === GONE || last === undefined) continue;
      last.next = waiter;
      last = waiter;
    }
    if (last !== undefined) last.next = undefined;
    this.#tail = last;
    this.#gone = 0;
  }

  #waiter(weight: number, timeoutMs: number, signal: AbortSignal | undefined): Entry<T> {
    if (signal === undefined) {
      if (timeoutMs === Number.POSITIVE_INFINITY) return new Plain(weight, UNLIMITED);
      if ((this.#lane ?? this.#timeouts().lane).add(timeoutMs)) return new Plain(weight, TIMED);
    }
    const waiter = new Limited(weight, timeoutMs, signal, this.#exits);
    if (signal !== undefined) waiter.group = this.#hub.join(signal, waiter);
    if (timeoutMs !== Number.POSITIVE_INFINITY) this.#timeouts().wheel.add(waiter, timeoutMs);
    return waiter;
  }

  #timeouts(): { readonly wheel: TimeoutWheel; readonly lane: TimeoutLane } {
    const { clock = systemClock } = this.#options;
    this.#wheel ??= new TimeoutWheel(clock);
    this.#lane ??= new TimeoutLane(clock, this.#wheel, (ms) => this.#exits.timedOut(this.#firstTimed as Entry<T>, ms));
    return { wheel: this.#wheel, lane: this.#lane };
  }

  /** The first of the lane leaves; no other can. Each place of the list is passed once only. */
  #leaveLane(first: Entry<T>): void {
    this.#lane?.shift();
    let { next } = first;
    while (next !== undefined && next.kind !== TIMED) next = next.next;
    this.#firstTimed = next;
  }
}

/** What may end a wait before its turn: nothing, the lane's timeout, or a timeout and a signal of its own. */
const UNLIMITED = 0;
const TIMED = 1;
const LIMITED = 2;
/** Left out of turn, and still in the list. */
const GONE = 3;
type Kind = typeof UNLIMITED | typeof TIMED | typeof LIMITED | typeof GONE;

const unset = (): void => undefined;

/** A waiter as the queue knows it, which is its own place in the list. */
interface Entry<T> extends Waiter<T> {
  tag: unknown;
  kind: Kind;
  resolve: (value: T) => void;
  reject: (error: unknown) => void;
  next: Entry<T> | undefined;
  readonly signal: AbortSignal | undefined;
}

/**
 * One without a signal: it waits as long as it takes, or stands in the timeout lane. Small: of many thousands waiting,
 * the collector copies each twice.
 */
class Plain<T> implements Entry<T> {
  /** With none alive at a full collection the engine would forget the class's shape, and the code optimised for it. */
  static readonly kept: unknown = new Plain(0, 0);
  readonly weight: number;
  kind: Kind;
  tag: unknown = undefined;
  resolve: (value: T) => void = unset;
  reject: (error: unknown) => void = unset;
  next: Entry<T> | undefined = undefined;

  constructor(weight: number, kind: Kind) {
    this.weight = weight;
    this.kind = kind;
  }

  get signal(): undefined {
    return undefined;
  }
}

/** How a waiter leaves out of turn. One for all waiters of a queue. */
interface Exits<T> {
  readonly aborted: (waiter: Entry<T>, reason: unknown) => void;
  readonly timedOut: (waiter: Entry<T>, timeoutMs: number) => void;
}

/** One whose wait may end before its turn: it is its own place in the timeout wheel and in the abort hub, too. */
class Limited<T> extends WheelEntry implements Entry<T>, AbortEntry {
  /** As with those without a limit. */
  static readonly kept: unknown = new Limited(0, 0, undefined, {} as Exits<unknown>);
  readonly weight: number;
  readonly signal: AbortSignal | undefined;
  tag: unknown = undefined;
  kind: Kind = LIMITED;
  resolve: (value: T) => void = unset;
  reject: (error: unknown) => void = unset;
  next: Entry<T> | undefined = undefined;
  group: AbortGroup | undefined = undefined;
  readonly #timeoutMs: number;
  readonly #exits: Exits<T>;

  constructor(weight: number, timeoutMs: number, signal: AbortSignal | undefined, exits: Exits<T>) {
    super();
    this.weight = weight;
    this.signal = signal;
    this.#timeoutMs = timeoutMs;
    this.#exits = exits;
  }

  override onTimeout(): void {
    this.#exits.timedOut(this, this.#timeoutMs);
  }

  onAbort(reason: unknown): void {
    this.#exits.aborted(this, reason);
  }
}
