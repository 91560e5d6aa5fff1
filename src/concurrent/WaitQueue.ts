import { type AbortEntry, type AbortGroup, AbortHub } from '../core/AbortHub.js';
import { type Clock, systemClock } from '../core/clock.js';
import { QueueFullError } from '../core/errors.js';
import { TimeoutWheel, WheelEntry } from '../core/TimeoutWheel.js';

export interface WaitQueueOptions {
  /** Whose queue it is, as errors say it. */
  readonly what: string;
  /** Waiters at the most; 0: nobody may wait. */
  readonly maxWaiters: number;
  readonly clock?: Clock | undefined;
  /** Makes the error of a waiter of that weight whose time is over; he has left by then. */
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
}

/** One who left the queue to be served: settle it, now. */
export interface Waiter<T> {
  readonly weight: number;
  resolve(value: T): void;
  reject(error: unknown): void;
}

/**
 * First in, first out, bounded. One listener per distinct signal and one timer for all, however many wait; who is
 * aborted or out of time leaves at once, in O(1), and what would have been his goes to the next. Whoever owns the queue
 * serves it: `peek()` tells the oldest one's weight, `shift()` hands him over.
 */
export class WaitQueue<T> {
  readonly #options: WaitQueueOptions;
  readonly #hub = new AbortHub();
  readonly #leaver: Leaver<T> = {
    aborted: (waiter, reason) => {
      this.#remove(waiter);
      waiter.reject(reason);
      this.#options.onLeave?.();
    },
    // The error is made when he has left: what it tells of the queue is without him.
    timedOut: (waiter, timeoutMs) => {
      this.#remove(waiter);
      waiter.reject(this.#options.timeoutError(timeoutMs, waiter.weight));
      this.#options.onLeave?.();
    },
  };
  #wheel: TimeoutWheel | undefined;
  #head: Entry<T> | undefined;
  #tail: Entry<T> | undefined;
  #size = 0;
  #weight = 0;

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
    for (let waiter = this.#head; waiter !== undefined; waiter = waiter.next) yield waiter.weight;
  }

  /**
   * Takes the last place. Settles by `shift`, or rejects with `signal.reason`, the owner's timeout error or what
   * `rejectAll` is given; at once with `QueueFullError` (ERR_QUEUE_FULL) when all places are taken.
   */
  wait({ signal, timeoutMs, weight = 1 }: WaitOptions): Promise<T> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    if (timeoutMs === 0) return Promise.reject(this.#options.timeoutError(0, weight));
    const { what, maxWaiters } = this.#options;
    if (this.#size >= maxWaiters) return Promise.reject(new QueueFullError(what, this.#size, maxWaiters));
    const waiter = new Entry<T>(weight);
    const promise = new Promise<T>((resolve, reject) => {
      waiter.resolve = resolve;
      waiter.reject = reject;
    });
    if (signal !== undefined || timeoutMs !== Number.POSITIVE_INFINITY) this.#limit(waiter, signal, timeoutMs);
    waiter.previous = this.#tail;
    if (this.#tail === undefined) this.#head = waiter;
    else this.#tail.next = waiter;
    this.#tail = waiter;
    this.#size++;
    this.#weight += weight;
    return promise;
  }

  /** The weight of the oldest, who stays; 0 when nobody waits. */
  peek(): number {
    if (this.#head?.aborted) {
      // Their own listener is still to come, and will find them gone: so those behind them are told here.
      while (this.#head?.aborted) this.#reject(this.#head, this.#head.limit?.signal?.reason);
      this.#options.onLeave?.();
    }
    return this.#head === undefined ? 0 : this.#head.weight;
  }

  /** Takes the oldest out; undefined when nobody waits. The caller settles him. */
  shift(): Waiter<T> | undefined {
    for (let waiter = this.#head; waiter !== undefined; waiter = this.#head) {
      this.#remove(waiter);
      // His signal may have aborted a moment ago with our listener still to come: the slot is not for him.
      if (!waiter.aborted) return waiter;
      waiter.reject(waiter.limit?.signal?.reason);
    }
    return undefined;
  }

  /** Rejects everybody, oldest first, and disarms the timer. */
  rejectAll(error: unknown): void {
    while (this.#head !== undefined) this.#reject(this.#head, error);
    this.#wheel?.close();
  }

  #reject(waiter: Entry<T>, error: unknown): void {
    this.#remove(waiter);
    waiter.reject(error);
  }

  #remove(waiter: Entry<T>): void {
    const { previous, next } = waiter;
    if (previous === undefined) this.#head = next;
    else previous.next = next;
    if (next === undefined) this.#tail = previous;
    else next.previous = previous;
    waiter.previous = undefined;
    waiter.next = undefined;
    this.#size--;
    this.#weight -= waiter.weight;
    const { limit } = waiter;
    if (limit === undefined) return;
    this.#wheel?.remove(limit);
    limit.group?.leave(limit);
  }

  #limit(waiter: Entry<T>, signal: AbortSignal | undefined, timeoutMs: number): void {
    const limit = new Limit(waiter, timeoutMs, signal, this.#leaver);
    waiter.limit = limit;
    if (signal !== undefined) limit.group = this.#hub.join(signal, limit);
    if (timeoutMs === Number.POSITIVE_INFINITY) return;
    this.#wheel ??= new TimeoutWheel(this.#options.clock ?? systemClock);
    this.#wheel.add(limit, timeoutMs);
  }
}

const unset = (): void => undefined;

/** A waiter is its own place in the list. As small as can be: of a hundred thousand, the collector copies each twice. */
class Entry<T> implements Waiter<T> {
  readonly weight: number;
  resolve: (value: T) => void = unset;
  reject: (error: unknown) => void = unset;
  previous: Entry<T> | undefined = undefined;
  next: Entry<T> | undefined = undefined;
  limit: Limit<T> | undefined = undefined;

  constructor(weight: number) {
    this.weight = weight;
  }

  get aborted(): boolean {
    return this.limit?.signal?.aborted === true;
  }
}

/** What may end a waiter's wait: his place in the timeout wheel and in the abort hub. */
class Limit<T> extends WheelEntry implements AbortEntry {
  readonly waiter: Entry<T>;
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
  group: AbortGroup | undefined = undefined;
  readonly #leaver: Leaver<T>;

  constructor(waiter: Entry<T>, timeoutMs: number, signal: AbortSignal | undefined, leaver: Leaver<T>) {
    super();
    this.waiter = waiter;
    this.timeoutMs = timeoutMs;
    this.signal = signal;
    this.#leaver = leaver;
  }

  override onTimeout(): void {
    this.#leaver.timedOut(this.waiter, this.timeoutMs);
  }

  onAbort(reason: unknown): void {
    this.#leaver.aborted(this.waiter, reason);
  }
}

/** Takes a waiter out of turn. One for all waiters of a queue. */
interface Leaver<T> {
  readonly aborted: (waiter: Entry<T>, reason: unknown) => void;
  readonly timedOut: (waiter: Entry<T>, timeoutMs: number) => void;
}
