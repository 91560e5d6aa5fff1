import { type Clock, systemClock } from '../core/clock.js';
import { type Closeable, type CloseOptions, CloseScope } from '../core/close/CloseScope.js';
import { AcquireTimeoutError, ClosedError, OptionError, ShutdownTimeoutError } from '../core/errors.js';
import { checkCount, checkMs, checkNames, checkText, type Names, withDefaults } from '../core/options.js';
import { WaitQueue } from './queue/WaitQueue.js';

export interface SemaphoreOptions {
  /** Permits there are: a whole number from 1. */
  readonly permits: number;
  /**
   * Most callers that may wait: a whole number from 0; 0: none may, `Infinity`: no bound.
   * @defaultValue 1000
   */
  readonly maxQueue?: number;
  /**
   * Longest wait of a caller that sets none, in ms from 0; 0: none waits, `Infinity`: for ever.
   * @defaultValue 30000
   */
  readonly acquireTimeoutMs?: number;
  /** What errors call it. @defaultValue 'Semaphore' */
  readonly name?: string;
  /** Measures time and arms timers; a `FakeClock` in tests. @defaultValue the system's clock */
  readonly clock?: Clock;
}

export const SEMAPHORE_DEFAULTS = Object.freeze({ maxQueue: 1_000, acquireTimeoutMs: 30_000, name: 'Semaphore' });

export interface PermitOptions {
  /** Permits to take together, from 1 to all there are. @defaultValue 1 */
  readonly weight?: number;
  /** Aborting rejects at once with `signal.reason`. @defaultValue none */
  readonly signal?: AbortSignal | undefined;
  /** Longest wait, in ms from 0. 0 does not wait, `Infinity` waits for ever. @defaultValue the semaphore's `acquireTimeoutMs` */
  readonly acquireTimeoutMs?: number | undefined;
  /** @deprecated the old name of `acquireTimeoutMs` @defaultValue the semaphore's `acquireTimeoutMs` */
  readonly timeoutMs?: number | undefined;
}

const PERMIT_OPTIONS: Names<PermitOptions> = { weight: true, signal: true, acquireTimeoutMs: true, timeoutMs: true };

/** What a semaphore holds and waits for; plain data for a debug endpoint. */
export interface SemaphoreInspection {
  readonly name: string;
  readonly permits: number;
  readonly inUse: number;
  readonly available: number;
  /** Callers waiting, and the permits they ask for. */
  readonly waiting: number;
  readonly waitingWeight: number;
  /** Functions that `run` is running. */
  readonly running: number;
  readonly closed: boolean;
}

/** What `acquire` gives: give it back once; again is a no-op. */
export class Permit implements Disposable {
  /** @internal With none alive at a full collection the engine would forget the shape, and the code optimised for it. */
  static readonly kept: unknown = new Permit(0, () => undefined);
  readonly weight: number;
  #giveBack: ((weight: number) => void) | undefined;

  /** @internal */
  constructor(weight: number, giveBack: (weight: number) => void) {
    this.weight = weight;
    this.#giveBack = giveBack;
  }

  release(): void {
    const giveBack = this.#giveBack;
    this.#giveBack = undefined;
    giveBack?.(this.weight);
  }

  [Symbol.dispose](): void {
    this.release();
  }
}

/**
 * So many at a time, weighted and fair: strictly first in, first out. A heavy caller at the head is not overtaken by
 * light ones that would fit, and `tryAcquire` never overtakes a waiter, so none starves.
 * Rejections: ERR_ACQUIRE_TIMEOUT, ERR_QUEUE_FULL, ERR_CLOSED, ERR_OPTION (a weight beyond all permits), or the
 * signal's own reason.
 */
export class Semaphore implements Closeable, AsyncDisposable {
  readonly #name: string;
  readonly #timeoutMs: number;
  readonly #queue: WaitQueue<Permit>;
  readonly #scope: CloseScope;
  readonly #running = new Map<(error: unknown) => void, string>();
  readonly #giveBack = (weight: number): void => {
    this.#inUse -= weight;
    this.#serve();
    if (this.#inUse === 0) this.#drained?.();
  };
  #permits: number;
  #inUse = 0;
  #drained: (() => void) | undefined;
  #closingSinceMs = 0;
  #over = false;

  constructor(options: SemaphoreOptions) {
    const others = { permits: true, clock: true } as const;
    const all = withDefaults('Semaphore', options, SEMAPHORE_DEFAULTS, others);
    const { permits, clock = systemClock, maxQueue, acquireTimeoutMs, name } = all;
    this.#permits = checkCount('permits', permits, { min: 1 });
    this.#timeoutMs = checkMs('acquireTimeoutMs', acquireTimeoutMs, { infinity: true });
    this.#name = checkText('name', name);
    this.#queue = new WaitQueue({
      what: name,
      maxQueue: checkCount('maxQueue', maxQueue, { infinity: true }),
      clock,
      timeoutError: (timeoutMs) => this.#timeoutError(timeoutMs),
      onLeave: () => this.#serve(),
    });
    this.#scope = new CloseScope(name, {
      clock,
      onRefuse: () => {
        this.#closingSinceMs = clock.now();
        this.#queue.rejectAll(new ClosedError(name));
      },
      onDrain: () =>
        new Promise((resolve) => {
          if (this.#inUse === 0) resolve();
          else this.#drained = resolve;
        }),
      onDeadline: () => this.#abandon(),
    });
  }

  /** Permits there are. */
  get permits(): number {
    return this.#permits;
  }

  /** Permits free now. With a caller waiting they are being saved for it. */
  get available(): number {
    return Math.max(0, this.#permits - this.#inUse);
  }

  /** Callers waiting. */
  get waiting(): number {
    return this.#queue.size;
  }

  /** A permit at once, or undefined: too few are free, or a caller waits. @throws ClosedError, OptionError */
  tryAcquire(weight = 1): Permit | undefined {
    this.#scope.assertOpen();
    if (weight !== 1) this.#checkWeight(weight);
    if (this.#queue.peek() > 0 || this.#inUse + weight > this.#permits) return undefined;
    this.#inUse += weight;
    return new Permit(weight, this.#giveBack);
  }

  /** A permit when it is this caller's turn and `weight` are free. */
  acquire(options: PermitOptions = {}): Promise<Permit> {
    const { weight = 1, signal, timeoutMs, acquireTimeoutMs = timeoutMs ?? this.#timeoutMs } = options;
    try {
      checkNames('acquire', options, PERMIT_OPTIONS);
      if (acquireTimeoutMs !== this.#timeoutMs) checkMs('acquireTimeoutMs', acquireTimeoutMs, { infinity: true });
      if (signal?.aborted) return Promise.reject(signal.reason);
      const permit = this.tryAcquire(weight);
      if (permit !== undefined) return Promise.resolve(permit);
    } catch (error) {
      return Promise.reject(error);
    }
    return this.#queue.wait({ weight, signal, timeoutMs: acquireTimeoutMs });
  }

  /**
   * Runs `fn` with a permit, which comes back however `fn` ends. One that still runs at the deadline of a close is
   * abandoned: this rejects with `ShutdownTimeoutError`, and so does the close.
   */
  async run<V>(fn: () => V | PromiseLike<V>, options?: PermitOptions): Promise<V> {
    const permit = await this.acquire(options);
    const name = `${this.#name}: ${fn.name || 'a function'}`;
    try {
      if (this.#over) throw new ClosedError(this.#name);
      const running = Promise.resolve(fn());
      void this.#scope.trackUser(name, running);
      return await new Promise<V>((resolve, reject) => {
        this.#running.set(reject, name);
        const done = (): void => void this.#running.delete(reject);
        void running.then(resolve, reject).then(done);
      });
    } finally {
      permit.release();
    }
  }

  /**
   * Changes how many there are. With fewer than are out, none is served until enough came back; a waiter that asks for
   * more than there are is rejected with `OptionError` when its turn comes.
   */
  resize(permits: number): void {
    this.#permits = checkCount('permits', permits, { min: 1 });
    this.#serve();
  }

  /** Refuses waiters and new callers at once, gives permits that are out `graceMs` to come back, then forgets them. */
  close(options?: CloseOptions): Promise<void> {
    return this.#scope.close(options);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  inspect(): SemaphoreInspection {
    return {
      name: this.#name,
      permits: this.#permits,
      inUse: this.#inUse,
      available: this.available,
      waiting: this.#queue.size,
      waitingWeight: this.#queue.weight,
      running: this.#running.size,
      closed: this.#scope.closing,
    };
  }

  #serve(): void {
    for (let weight = this.#queue.peek(); weight > 0; weight = this.#queue.peek()) {
      if (weight > this.#permits) {
        this.#queue.shift()?.reject(this.#tooHeavy(weight));
      } else if (this.#inUse + weight <= this.#permits) {
        this.#inUse += weight;
        this.#queue.shift()?.resolve(new Permit(weight, this.#giveBack));
      } else return;
    }
  }

  #abandon(): void {
    this.#over = true;
    const heldMs = Math.round(this.#scope.clock.now() - this.#closingSinceMs);
    for (const [reject, name] of this.#running) reject(new ShutdownTimeoutError(name, heldMs));
  }

  #checkWeight(weight: number): void {
    checkCount('weight', weight, { min: 1 });
    if (weight > this.#permits) throw this.#tooHeavy(weight);
  }

  #tooHeavy(weight: number): OptionError {
    return new OptionError('weight', weight, `a whole number from 1 to ${this.#permits}`);
  }

  #timeoutError(timeoutMs: number): AcquireTimeoutError {
    const detail = { live: 0, creating: 0, dying: 0, slots: this.#permits, inUse: this.#inUse };
    return new AcquireTimeoutError(this.#name, timeoutMs, { ...detail, waiting: this.#queue.size });
  }
}
