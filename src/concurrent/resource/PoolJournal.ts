import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';
import type { AcquireTimeoutDetail } from '../../core/errors.js';
import { Emitter } from '../../core/events.js';
import type { Lease } from './Lease.js';
import type { DestroyReason, Settings } from './options.js';

/** How long callers waited who were served out of the queue, ms; 0 while none was. One served at once does not count. */
export interface WaitTimes {
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly max: number;
}

/** The pool at one moment. Without `parked`, which are alive too, the counts are those of `AcquireTimeoutError.detail`. */
export interface ResourcePoolStats extends AcquireTimeoutDetail {
  /** On the shelf: alive, and taken up again before anything is created. */
  readonly parked: number;
  /** Slots that `tryAcquire` could take now, or after a `resume`. */
  readonly free: number;
  readonly maxResources: number;
  readonly suspended: boolean;
  /** Resources created, since the pool began; late ones are not among them. */
  readonly created: number;
  /** Creations that failed, those that took too long included. */
  readonly createFailed: number;
  /** Resources whose destruction is over. */
  readonly destroyed: number;
  /** The same by reason; beyond 32 reasons all others count as `other`. */
  readonly endsByReason: Readonly<Record<string, number>>;
  /** Leases reported as leaked. */
  readonly leaked: number;
  /** Callers that had to wait. */
  readonly waited: number;
  /** Callers refused with ERR_ACQUIRE_TIMEOUT. */
  readonly timedOut: number;
  readonly waitMs: WaitTimes;
}

/** One resource at one moment. */
export interface ResourceInfo {
  /** `arriving`: being validated or reset, or made and not lent yet; `retiring`: it takes no new leases. */
  readonly state: 'arriving' | 'live' | 'retiring' | 'parked';
  readonly leases: number;
  readonly ageMs: number;
}

/** What `ResourcePool.inspect()` gives: `stats` and more, fit for JSON. */
export interface ResourcePoolInspection extends ResourcePoolStats {
  readonly name: string;
  readonly state: 'open' | 'closing' | 'closed';
  readonly minResources: number;
  readonly slotsPerResource: number;
  readonly lastCreateError: string | undefined;
  readonly resources: readonly ResourceInfo[];
}

export interface ResourcePoolEvents<R> {
  readonly created: { readonly resource: R; readonly createMs: number };
  /** `failures` in a row; no creation starts for `retryInMs`. */
  readonly createFailed: { readonly error: Error; readonly failures: number; readonly retryInMs: number };
  readonly parked: { readonly resource: R };
  /** Its destruction is over: well, or with the error it ended in. */
  readonly destroyed: {
    readonly resource: R;
    readonly reason: DestroyReason;
    readonly ageMs: number;
    readonly error: unknown;
  };
  /** A lease has been out for `leakThresholdMs`; told once for each. */
  readonly leaked: { readonly resource: R; readonly heldMs: number; readonly stack: string | undefined };
  /** A caller has to wait and no place for another resource is left; told once until the queue is empty again. */
  readonly exhausted: { readonly waiting: number; readonly inUse: number; readonly maxResources: number };
}

/** What the pools of a `KeyedPool` share. */
export interface Shared<R> {
  /** False when there is none; `grow` is called when there may be one again. */
  takePermit(): boolean;
  permitBack(): void;
  /** A resource has no leases and no caller waits for it. */
  idled(): void;
  /** Hears of events beside the pool's own listeners; true when it has listeners itself. */
  tell<N extends keyof ResourcePoolEvents<R>>(event: N, payload: ResourcePoolEvents<R>[N]): boolean;
}

const DONE = Promise.resolve();
const MAX_REASONS = 32;
/** Waits are measured in units of 0.1 ms, as 32-bit numbers that wrap: those are stored without an allocation. */
const PER_MS = 10;
const MAX_WAIT = 10 * 3_600_000;

/**
 * Counts what happens in a pool and tells it to its listeners; what no listener hears goes to the logger. For all waits
 * that begin or end in one turn the clock is read once.
 */
export class PoolJournal<R> {
  readonly events: Emitter<ResourcePoolEvents<R>>;
  readonly #settings: Settings;
  readonly #shared: Shared<R> | undefined;
  readonly #counts = { created: 0, createFailed: 0, destroyed: 0, leaked: 0, waited: 0, timedOut: 0 };
  readonly #ends = new Map<string, number>();
  /** Some kilobytes: made when a wait ends. */
  #waits: RecordableHistogram | undefined;
  #stamp = 0;
  #stamped = false;
  readonly #endTurn = (): void => {
    this.#stamped = false;
  };

  constructor(settings: Settings, shared?: Shared<R>) {
    this.#settings = settings;
    this.#shared = shared;
    const { logger, name } = settings;
    this.events = new Emitter((error, event) => logger.error({ error, pool: name, event }, 'a listener threw'));
  }

  get stamp(): number {
    if (!this.#stamped) {
      this.#stamp = Math.round(this.#settings.clock.now() * PER_MS) | 0;
      this.#stamped = true;
      // Not `queueMicrotask`, which makes an async resource each time.
      void DONE.then(this.#endTurn);
    }
    return this.#stamp;
  }

  waitEnded(since: number): void {
    this.#waits ??= createHistogram({ lowest: 1, highest: MAX_WAIT, figures: 2 });
    this.#waits.record(Math.min(Math.max(1, (this.stamp - since) | 0), MAX_WAIT));
  }

  /** True when a listener heard it. */
  tell<N extends keyof ResourcePoolEvents<R>>(event: N, payload: ResourcePoolEvents<R>[N]): boolean {
    const heard = this.events.emit(event, payload);
    return this.#shared?.tell(event, payload) || heard;
  }

  waited(): void {
    this.#counts.waited++;
  }

  timedOut(): void {
    this.#counts.timedOut++;
  }

  created(resource: R, createMs: number): void {
    this.#counts.created++;
    this.tell('created', { resource, createMs });
  }

  createFailed(error: Error, failures: number, retryInMs: number): void {
    this.#counts.createFailed++;
    const report = { error, failures, retryInMs };
    if (this.tell('createFailed', report)) return;
    this.#settings.logger.warn({ pool: this.#settings.name, ...report }, 'a creation failed');
  }

  leaked(lease: Lease<R>, heldMs: number): void {
    this.#counts.leaked++;
    const report = { resource: lease.resource, heldMs, stack: lease.stack };
    if (this.tell('leaked', report)) return;
    this.#settings.logger.warn({ pool: this.#settings.name, ...report }, 'a lease has been out for too long');
  }

  destroyed(resource: R, reason: DestroyReason, ageMs: number, error: unknown): void {
    this.#counts.destroyed++;
    const counted = this.#ends.size < MAX_REASONS || this.#ends.has(reason) ? reason : 'other';
    this.#ends.set(counted, (this.#ends.get(counted) ?? 0) + 1);
    if (this.tell('destroyed', { resource, reason, ageMs, error }) || error === undefined) return;
    this.#settings.logger.error({ pool: this.#settings.name, reason, error }, 'a destroy failed');
  }

  get counts() {
    const at = (percent: number): number => (this.#waits?.percentile(percent) ?? 0) / PER_MS;
    const waitMs: WaitTimes = { p50: at(50), p90: at(90), p99: at(99), max: at(100) };
    return { ...this.#counts, endsByReason: Object.fromEntries(this.#ends), waitMs };
  }
}
