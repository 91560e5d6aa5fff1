import { type Clock, systemClock } from '../../core/clock.js';
import { type Closeable, type CloseOptions, CloseScope } from '../../core/close/CloseScope.js';
import { AcquireTimeoutError, ClosedError, QueueFullError } from '../../core/errors.js';
import {
  checkCount,
  checkMs,
  checkNames,
  checkRecord,
  checkText,
  type Names,
  withDefaults,
} from '../../core/options.js';
import { keyText } from '../../core/text/ownText.js';
import { FairQueue } from '../queue/FairQueue.js';
import { Shares } from '../Shares.js';

export interface BulkheadOptions {
  /** Permits of each key: a whole number from 1. */
  readonly maxConcurrent: number;
  /** Keys that may have more or fewer. @defaultValue no key has bounds of its own */
  readonly perKey?: Readonly<Record<string, number>>;
  /** Most callers that may wait for one key: a whole number from 0; 0: none may, `Infinity`: no bound. @defaultValue 100 */
  readonly maxQueue?: number;
  /** Longest wait of a caller that sets none, in ms from 0; 0: none waits, `Infinity`: for ever. @defaultValue 30000 */
  readonly acquireTimeoutMs?: number;
  /** Keys in use at a time: a whole number from 1. Keys without permits out are forgotten. @defaultValue 10000 */
  readonly maxKeys?: number;
  /** What errors call it. @defaultValue 'Bulkhead' */
  readonly name?: string;
  /** Measures time and arms timers; a `FakeClock` in tests. @defaultValue the system's clock */
  readonly clock?: Clock;
}

export const BULKHEAD_DEFAULTS = Object.freeze({
  maxQueue: 100,
  acquireTimeoutMs: 30_000,
  maxKeys: 10_000,
  name: 'Bulkhead',
});

export interface BulkheadAcquireOptions {
  /** Aborting rejects at once with `signal.reason`. @defaultValue none */
  readonly signal?: AbortSignal | undefined;
  /** Longest wait, in ms from 0; 0 does not wait, `Infinity` waits for ever. @defaultValue the bulkhead's own */
  readonly acquireTimeoutMs?: number | undefined;
}

const ACQUIRE_OPTIONS: Names<BulkheadAcquireOptions> = { signal: true, acquireTimeoutMs: true };

/** Give it back once; again is a no-op. */
export interface BulkheadPermit extends Disposable {
  readonly key: string;
  release(): void;
}

/** What a bulkhead holds and waits for. */
export interface BulkheadInspection {
  readonly name: string;
  /** Keys with permits out. */
  readonly keys: number;
  readonly inUse: number;
  readonly waiting: number;
  readonly closed: boolean;
}

interface Compartment {
  readonly max: number;
  readonly owner: string;
  inUse: number;
  /** Made when a caller has to wait for the first time. */
  queue: FairQueue<void> | undefined;
}

/**
 * So many at a time for each key (a tool, a tenant), so that one cannot take all: each key has its own permits and its own
 * queue, first in, first out; with several owners these take turns, and one has three quarters of the places at most. A key costs nothing while it is not used.
 * Rejections: ERR_ACQUIRE_TIMEOUT, ERR_QUEUE_FULL (also when `maxKeys` are in use, or three quarters of them by the same owner), ERR_CLOSED,
 * or the signal's reason.
 */
export class Bulkhead implements Closeable, AsyncDisposable {
  readonly #options: ReturnType<typeof resolve>;
  readonly #perKey: ReadonlyMap<string, number>;
  readonly #compartments = new Map<string, Compartment>();
  /** Whose keys are in use. Those of no owner take what is free. */
  readonly #shares: Shares;
  readonly #scope: CloseScope;
  #inUse = 0;
  #drained: (() => void) | undefined;

  constructor(options: BulkheadOptions) {
    this.#options = resolve(options);
    const { name, clock, perKey } = this.#options;
    this.#perKey = new Map(Object.entries(perKey ?? {}));
    this.#shares = new Shares(this.#options.maxKeys);
    this.#scope = new CloseScope(name, {
      clock,
      onRefuse: () => {
        for (const { queue } of this.#compartments.values()) queue?.rejectAll(new ClosedError(name));
      },
      onDrain: () =>
        new Promise((resolveDrain) => {
          if (this.#inUse === 0) resolveDrain();
          else this.#drained = resolveDrain;
        }),
    });
  }

  /**
   * A permit at once, or undefined: none is free, or a caller waits. `owner`: who asks, where that one chooses the key; a key that is not in
   * use counts to its share of `maxKeys`. @throws ClosedError, QueueFullError
   */
  tryAcquire(key: string, owner?: string): BulkheadPermit | undefined {
    this.#scope.assertOpen();
    const compartment = this.#compartment(key, owner);
    if (compartment.inUse >= compartment.max || (compartment.queue?.peek() ?? 0) > 0) return undefined;
    return this.#lend(key, compartment);
  }

  /** A permit of `key`, in turn. `owner`: as for `tryAcquire`, and who waits. */
  async acquire(key: string, options: BulkheadAcquireOptions = {}, owner?: string): Promise<BulkheadPermit> {
    checkNames('acquire', options, ACQUIRE_OPTIONS);
    const { signal, acquireTimeoutMs = this.#options.acquireTimeoutMs } = options;
    checkMs('acquireTimeoutMs', acquireTimeoutMs, { infinity: true });
    if (owner !== undefined) checkText('owner', owner);
    signal?.throwIfAborted();
    const permit = this.tryAcquire(key, owner);
    if (permit !== undefined) return permit;
    const compartment = this.#compartment(key, owner);
    compartment.queue ??= this.#queue(key, compartment);
    // The permit is counted for the waiter before it hears of it.
    await compartment.queue.wait({ signal, timeoutMs: acquireTimeoutMs }, owner);
    return this.#permit(key, compartment);
  }

  /** Runs `fn` with a permit of `key`, which comes back however it ends. */
  async run<V>(key: string, fn: () => V | PromiseLike<V>, options?: BulkheadAcquireOptions): Promise<V> {
    const permit = await this.acquire(key, options);
    try {
      return await fn();
    } finally {
      permit.release();
    }
  }

  inspect(): BulkheadInspection {
    let waiting = 0;
    for (const { queue } of this.#compartments.values()) waiting += queue?.size ?? 0;
    const { name } = this.#options;
    return { name, keys: this.#compartments.size, inUse: this.#inUse, waiting, closed: this.#scope.closing };
  }

  /** Refuses waiters and new callers at once, and gives permits that are out `graceMs` to come back. */
  close(options?: CloseOptions): Promise<void> {
    return this.#scope.close(options);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #compartment(key: string, owner: string | undefined): Compartment {
    const known = this.#compartments.get(key);
    if (known !== undefined) return known;
    const { maxKeys, name, maxConcurrent } = this.#options;
    checkText('key', key);
    const whose = owner === undefined ? '' : keyText(checkText('owner', owner));
    if (!this.#shares.mayTake(whose, 1, 0, owner === undefined)) {
      throw new QueueFullError(`${name}: keys in use`, this.#compartments.size, maxKeys);
    }
    const made = { max: this.#perKey.get(key) ?? maxConcurrent, owner: whose, inUse: 0, queue: undefined };
    this.#compartments.set(key, made);
    this.#shares.add(whose, 1);
    return made;
  }

  #queue(key: string, compartment: Compartment): FairQueue<void> {
    const { name, maxQueue, clock } = this.#options;
    return new FairQueue<void>({
      what: `${name} ${key}`,
      maxQueue,
      clock,
      timeoutError: (timeoutMs) => {
        const { max, inUse } = compartment;
        const detail = { live: 0, creating: 0, dying: 0, slots: max, inUse, waiting: compartment.queue?.size ?? 0 };
        return new AcquireTimeoutError(`${name} ${key}`, timeoutMs, detail);
      },
    });
  }

  #lend(key: string, compartment: Compartment): BulkheadPermit {
    compartment.inUse++;
    this.#inUse++;
    return this.#permit(key, compartment);
  }

  #permit(key: string, compartment: Compartment): BulkheadPermit {
    let out = true;
    const release = (): void => {
      if (!out) return;
      out = false;
      this.#giveBack(key, compartment);
    };
    return { key, release, [Symbol.dispose]: release };
  }

  #giveBack(key: string, compartment: Compartment): void {
    const waiter = compartment.queue?.shift();
    if (waiter !== undefined) {
      waiter.resolve();
      return;
    }
    compartment.inUse--;
    this.#inUse--;
    if (compartment.inUse === 0) {
      compartment.queue?.rejectAll(new ClosedError(this.#options.name));
      this.#compartments.delete(key);
      this.#shares.add(compartment.owner, -1);
    }
    if (this.#inUse === 0) this.#drained?.();
  }
}

/** @throws OptionError */
function resolve(given: BulkheadOptions) {
  const options = withDefaults('Bulkhead', given, BULKHEAD_DEFAULTS, {
    maxConcurrent: true,
    perKey: true,
    clock: true,
  });
  checkCount('maxConcurrent', options.maxConcurrent, { min: 1 });
  for (const [key, max] of Object.entries(checkRecord('perKey', options.perKey === undefined ? {} : options.perKey)))
    checkCount(`perKey.${key}`, max, { min: 1 });
  checkCount('maxQueue', options.maxQueue, { infinity: true });
  checkMs('acquireTimeoutMs', options.acquireTimeoutMs, { infinity: true });
  checkCount('maxKeys', options.maxKeys, { min: 1 });
  checkText('name', options.name);
  return { ...options, clock: options.clock ?? systemClock };
}
