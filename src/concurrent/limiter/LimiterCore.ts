import type { Clock, Timer } from '../../core/clock.js';
import { ClosedError, RateLimitedError } from '../../core/errors.js';
import { checkCount, checkMs, checkNames, checkText, type Names, type Range } from '../../core/options.js';
import { FairQueue } from '../queue/FairQueue.js';
import type { LimiterAcquireOptions, LimiterInspection, LimiterUsage } from './Limiter.js';
import type { QueueAhead } from './SlidingWindow.js';

/** Where permits come from: a sliding window of our own, or blocks leased from the fleet's store. */
export interface PermitSource {
  readonly max: number;
  /** Takes `weight` permits now, or none. */
  take(nowUs: number, weight: number): boolean;
  /** When `weight` can be had behind `ahead`, not before `floorUs`; `floorUs` itself when that is unknown. */
  fitsAtUs(floorUs: number, ahead: QueueAhead, weight: number): number;
  /** Permits granted in the window that ends now. */
  count(nowUs: number): number;
  /** When the last of them counts no longer. */
  readonly emptyAtUs: number;
  clear(): void;
}

export interface LimiterCoreOptions {
  readonly name: string;
  readonly source: PermitSource;
  readonly clock: Clock;
  readonly maxQueue: number;
  readonly acquireTimeoutMs: number;
  readonly maxPauseMs: number;
  /** Whose place in a table it takes. */
  readonly owner?: string | undefined;
}

const ANY: Range = Object.freeze({ infinity: true });

const ACQUIRE_OPTIONS: Names<LimiterAcquireOptions> = {
  signal: true,
  weight: true,
  acquireTimeoutMs: true,
  maxWaitMs: true,
  owner: true,
};

const GRANTED = Promise.resolve();

/**
 * What all limiters share: the order of service, waiting, pausing, and time. One timer stands for the oldest waiter; a
 * second, coarse one for all deadlines (they matter only when a pause or a stall makes a wait longer than was known).
 */
export class LimiterCore {
  /** Whose place in a table it takes; undefined: of no one in particular. */
  readonly owner: string | undefined;
  readonly #name: string;
  readonly #source: PermitSource;
  readonly #clock: Clock;
  readonly #acquireTimeoutMs: number;
  readonly #maxPauseMs: number;
  readonly #queue: FairQueue<void>;
  #lastUs = Number.NEGATIVE_INFINITY;
  #shiftUs = 0;
  #pausedUntilUs = Number.NEGATIVE_INFINITY;
  #timer: Timer | undefined;
  #timerDueUs = 0;
  #closed = false;

  constructor({ name, source, clock, maxQueue, acquireTimeoutMs, maxPauseMs, owner }: LimiterCoreOptions) {
    this.owner = owner;
    this.#name = name;
    this.#source = source;
    this.#clock = clock;
    this.#acquireTimeoutMs = checkMs('acquireTimeoutMs', acquireTimeoutMs, ANY);
    this.#maxPauseMs = maxPauseMs;
    this.#queue = new FairQueue<void>({
      what: name,
      maxQueue: checkCount('maxQueue', maxQueue, ANY),
      clock,
      timeoutError: (_timeoutMs, weight, whose) => this.#refusal(weight, whose),
      onLeave: () => this.serve(),
    });
  }

  get waiting(): QueueAhead {
    return this.#queue;
  }

  get usage(): LimiterUsage {
    const nowUs = Math.max(this.#lastUs, this.#readUs());
    const atUs = this.#source.fitsAtUs(Math.max(nowUs, this.#pausedUntilUs), this.#queue, 1);
    return { current: this.#source.count(nowUs), max: this.#source.max, availableInMs: (atUs - nowUs) / 1_000 };
  }

  inspect(): LimiterInspection {
    const nowUs = Math.max(this.#lastUs, this.#readUs());
    const { current, max, availableInMs } = this.usage;
    return {
      name: this.#name,
      maxRequests: max,
      current,
      availableInMs,
      waiting: this.#queue.size,
      waitingWeight: this.#queue.weight,
      pausedForMs: Math.max(0, this.#pausedUntilUs - nowUs) / 1_000,
      closed: this.#closed,
    };
  }

  /** When the clock last read, for this limiter's own work. */
  get usedMs(): number {
    return (this.#lastUs - this.#shiftUs) / 1_000;
  }

  /** From when on, as the clock stands, nothing would be lost with it: no grant counts and no pause holds. */
  get idleFromMs(): number {
    return (Math.max(this.#source.emptyAtUs, this.#pausedUntilUs) - this.#shiftUs) / 1_000;
  }

  /** Whole microseconds that never go back: where the clock does, time stands for that reading and goes on from there. */
  nowUs(): number {
    let nowUs = this.#readUs();
    if (nowUs < this.#lastUs) {
      this.#shiftUs += this.#lastUs - nowUs;
      nowUs = this.#lastUs;
    }
    this.#lastUs = nowUs;
    return nowUs;
  }

  tryAcquire(weight: number): boolean {
    if (this.#closed) throw new ClosedError(this.#name);
    if (weight !== 1) this.#checkWeight(weight);
    if (this.#queue.size > 0) {
      this.serve();
      if (this.#queue.size > 0) return false;
    }
    const nowUs = this.nowUs();
    return nowUs >= this.#pausedUntilUs && this.#source.take(nowUs, weight);
  }

  /** `whose`: who waits, where the options do not say. */
  acquire(options: LimiterAcquireOptions, whose?: string): Promise<void> {
    const {
      signal,
      weight = 1,
      owner = whose,
      maxWaitMs,
      acquireTimeoutMs = maxWaitMs ?? this.#acquireTimeoutMs,
    } = options;
    try {
      checkNames('acquire', options, ACQUIRE_OPTIONS);
      if (acquireTimeoutMs !== this.#acquireTimeoutMs) checkMs('acquireTimeoutMs', acquireTimeoutMs, ANY);
      if (owner !== undefined) checkText('owner', owner);
      if (signal?.aborted && !this.#closed) return Promise.reject(signal.reason);
      if (this.tryAcquire(weight)) return GRANTED;
    } catch (error) {
      return Promise.reject(error);
    }
    const first = this.#queue.size === 0;
    if (first || acquireTimeoutMs !== Number.POSITIVE_INFINITY) {
      const nowUs = this.#lastUs;
      const atUs = this.#source.fitsAtUs(Math.max(nowUs, this.#pausedUntilUs), this.#queue.ahead(owner), weight);
      if (acquireTimeoutMs === 0 || (atUs - nowUs) / 1_000 > acquireTimeoutMs)
        return Promise.reject(this.#refusal(weight, owner));
      if (first) this.#arm(atUs, nowUs);
    }
    return this.#queue.wait({ signal, weight, timeoutMs: acquireTimeoutMs }, owner);
  }

  pauseFor(ms: number): void {
    const pauseMs = Math.min(checkMs('ms', ms, ANY), this.#maxPauseMs);
    const untilUs = this.nowUs() + Math.round(pauseMs * 1_000);
    // The timer of the oldest waiter is left: it finds the pause and arms itself for its end.
    this.#pausedUntilUs = Math.max(this.#pausedUntilUs, untilUs);
  }

  /** Grants what can be granted, in the order of turns, and arms the timer for the next. */
  serve(): void {
    const nowUs = this.nowUs();
    for (let weight = this.#queue.peek(); weight > 0; weight = this.#queue.peek()) {
      if (nowUs < this.#pausedUntilUs || !this.#source.take(nowUs, weight)) {
        this.#arm(this.#source.fitsAtUs(Math.max(nowUs, this.#pausedUntilUs), NONE_AHEAD, weight), nowUs);
        return;
      }
      this.#queue.shift()?.resolve();
    }
    this.#disarm();
  }

  reset(): void {
    this.#source.clear();
    this.#pausedUntilUs = Number.NEGATIVE_INFINITY;
    this.serve();
  }

  /** From now on no caller is served, and those waiting are refused. */
  refuse(): void {
    this.#closed = true;
    this.#queue.rejectAll(new ClosedError(this.#name));
    this.#disarm();
  }

  #readUs(): number {
    return Math.round(this.#clock.now() * 1_000) + this.#shiftUs;
  }

  #arm(atUs: number, nowUs: number): void {
    if (this.#timer !== undefined && this.#timerDueUs <= atUs) return;
    this.#disarm();
    if (atUs <= nowUs || atUs === Number.POSITIVE_INFINITY) return;
    this.#timerDueUs = atUs;
    // It may fire up to 1 ms early; `serve` looks again.
    this.#timer = this.#clock.setTimer(
      () => {
        this.#timer = undefined;
        this.serve();
      },
      (atUs - nowUs) / 1_000,
      { ref: true },
    );
  }

  #disarm(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #refusal(weight: number, owner: string | undefined): RateLimitedError {
    const nowUs = this.nowUs();
    const atUs = this.#source.fitsAtUs(Math.max(nowUs, this.#pausedUntilUs), this.#queue.ahead(owner), weight);
    const known = atUs > nowUs && atUs !== Number.POSITIVE_INFINITY;
    return new RateLimitedError(this.#name, 'local', known ? (atUs - nowUs) / 1_000 : undefined);
  }

  #checkWeight(weight: number): void {
    const { max } = this.#source;
    checkCount('weight', weight, { min: 1, max });
  }
}

const NONE_AHEAD: QueueAhead = { size: 0, weight: 0, weights: () => [] };
