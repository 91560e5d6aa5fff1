import { type Clock, systemClock } from '../../core/clock.js';
import { OptionError } from '../../core/errors.js';
import { type Logger, silentLogger } from '../../core/logger.js';
import {
  checkBoolean,
  checkCount,
  checkFunction,
  checkMs,
  checkNames,
  checkOneOf,
  checkPart,
  checkRatio,
  checkText,
  type Names,
  withDefaults,
} from '../../core/options.js';
import type { BackoffOptions } from '../../core/time/backoff.js';

/** Why a resource was destroyed; `retire` may give a reason of its own. */
export type DestroyReason =
  | 'idle'
  | 'lifetime'
  | 'invalid'
  | 'resetFailed'
  | 'resized'
  | 'late'
  | 'retired'
  | 'closed'
  | (string & {});

/** The user's functions. None is called from inside a call of the pool: each starts in a microtask of its own. */
export interface ResourceFactory<R> {
  /** Makes a resource, distinct from all others. `signal` aborts when no caller waits for it any more. */
  create(context: { readonly signal: AbortSignal }): R | PromiseLike<R>;
  /** Ends it; called exactly once for each resource that `create` gave. `signal` aborts at `destroyTimeoutMs`. */
  destroy(resource: R, context: { readonly reason: DestroyReason; readonly signal: AbortSignal }): unknown;
  /** Whether an idle resource is still good; one that is not, or a rejection, destroys it. */
  validate?(resource: R, context: { readonly signal: AbortSignal }): boolean | PromiseLike<boolean>;
  /**
   * Makes a resource fit for its next lease; called when its last lease is back, and until it resolves the resource is
   * lent to no one. If it throws, rejects or takes longer than `resetTimeoutMs`, the resource is destroyed.
   */
  reset?(resource: R, context: { readonly signal: AbortSignal }): unknown;
}

export interface AcquireOptions {
  /** Aborting rejects at once with `signal.reason` and frees the place in the queue. @defaultValue none */
  readonly signal?: AbortSignal | undefined;
  /** Longest wait, ms, from 0; 0: it takes what is free or fails, `Infinity`: no bound. @defaultValue `acquireTimeoutMs` of the pool */
  readonly acquireTimeoutMs?: number | undefined;
}

/** What `resize` changes; what is left out stays. */
export interface ResizeOptions {
  /** As `ResourcePoolOptions.maxResources`. @defaultValue as it is */
  readonly maxResources?: number;
  /** As `ResourcePoolOptions.minResources`. @defaultValue as it is */
  readonly minResources?: number;
}

export interface ResourcePoolOptions {
  /** What errors and logs call the pool. @defaultValue 'ResourcePool' */
  readonly name?: string;
  /** Resources kept alive ahead of use, from 0 to `maxResources`; 0: none. They are made as the pool is. @defaultValue 0 */
  readonly minResources?: number;
  /** Most resources, those being created or destroyed included; from 1 to 1,000,000. @defaultValue 10 */
  readonly maxResources?: number;
  /** Leases on one resource at a time, from 1 (exclusive) to 65,536. @defaultValue 1 */
  readonly slotsPerResource?: number;
  /** `pack` fills the fullest first, so that spare ones park; `spread` takes the least loaded, in turn. @defaultValue 'pack' */
  readonly placement?: 'pack' | 'spread';
  /** Most callers that may wait, from 0; 0: none may, `Infinity`: no bound. @defaultValue 1000 */
  readonly maxQueue?: number;
  /** Longest wait of `acquire`, ms, from 0; 0: it takes what is free or fails, `Infinity`: no bound. @defaultValue 30000 */
  readonly acquireTimeoutMs?: number;
  /**
   * Longest `create`, ms, from 1; `Infinity`: no bound. One that takes longer fails then, but keeps its place in
   * `maxResources` until it settles; what it made is destroyed.
   * @defaultValue 30000
   */
  readonly createTimeoutMs?: number;
  /** Longest `validate`, ms, from 1; `Infinity`: no bound. Then the resource counts as invalid. @defaultValue 5000 */
  readonly validateTimeoutMs?: number;
  /** Longest `reset`, ms, from 1; `Infinity`: no bound. Then the resource is destroyed. @defaultValue 5000 */
  readonly resetTimeoutMs?: number;
  /** Longest `destroy`, ms, from 1, finite. Then it is reported and its place is free. @defaultValue 5000 */
  readonly destroyTimeoutMs?: number;
  /** Creations at a time, from 1; `Infinity`: `maxResources` alone bounds them. @defaultValue 8 */
  readonly maxConcurrentCreates?: number;
  /**
   * The wait between a failed creation and the next: `initialMs`, doubling with each failure in a row up to `maxMs`, less
   * a random share of up to `jitterRatio`. `initialMs: 0`: no wait, the next caller tries again.
   * @defaultValue 100 ms, up to 30 s, less up to half
   */
  readonly createBackoff?: Partial<BackoffOptions>;
  /**
   * A resource without leases this long leaves the live set for the shelf, ms, from 0; 0: at the next sweep,
   * `Infinity`: never. Sweeps are a quarter of the shortest of the pool's times apart, but never more than 1 s.
   * @defaultValue 5000
   */
  readonly parkAfterMs?: number;
  /** A parked resource is destroyed after this long, ms, from 0; 0: at once, `Infinity`: never. @defaultValue 60000 */
  readonly idleTimeoutMs?: number;
  /**
   * An idle or parked resource is asked `validate` this often, ms, from 0, so that one cut off meanwhile is found before
   * a caller gets it; 0 or `Infinity`: off. Needs a factory with `validate`.
   * @defaultValue 0
   */
  readonly keepaliveMs?: number;
  /** A resource this old takes no new leases and is destroyed when the last is back, ms, from 1; `Infinity`: never. @defaultValue Infinity */
  readonly maxLifetimeMs?: number;
  /** Up to this share of its lifetime is taken off each resource, drawn once at its creation; from 0 to 1. @defaultValue 0.1 */
  readonly lifetimeJitterRatio?: number;
  /**
   * A lease held longer than this is reported once, with the stack that took it, ms, from 0; 0: off, and no stacks are
   * taken. `Infinity`: no reports, but stacks are taken, for `AcquireTimeoutError`. One costs some microseconds a lease.
   * @defaultValue 0
   */
  readonly leakThresholdMs?: number;
  /** Whether `validate`, if there is one, is asked before a parked resource is used again. @defaultValue true */
  readonly validateParked?: boolean;
  /** Measures time and arms timers; a `FakeClock` in tests. @defaultValue the system's clock */
  readonly clock?: Clock;
  /** Where the pool logs. @defaultValue nowhere */
  readonly logger?: Logger;
  /** Numbers from 0 to 1, for jitter. @defaultValue Math.random */
  readonly random?: () => number;
}

const BACKOFF_DEFAULTS = Object.freeze({ initialMs: 100, maxMs: 30_000, jitterRatio: 0.5 });

export const RESOURCE_POOL_DEFAULTS = Object.freeze({
  name: 'ResourcePool',
  minResources: 0,
  maxResources: 10,
  slotsPerResource: 1,
  placement: 'pack',
  maxQueue: 1_000,
  acquireTimeoutMs: 30_000,
  createTimeoutMs: 30_000,
  validateTimeoutMs: 5_000,
  resetTimeoutMs: 5_000,
  destroyTimeoutMs: 5_000,
  maxConcurrentCreates: 8,
  createBackoff: BACKOFF_DEFAULTS,
  parkAfterMs: 5_000,
  idleTimeoutMs: 60_000,
  keepaliveMs: 0,
  maxLifetimeMs: Number.POSITIVE_INFINITY,
  lifetimeJitterRatio: 0.1,
  leakThresholdMs: 0,
  validateParked: true,
} as const);

/** Every option, checked. `resize` changes the bounds. */
export type Settings = Required<Omit<ResourcePoolOptions, 'createBackoff' | 'maxResources' | 'minResources'>> & {
  readonly createBackoff: BackoffOptions;
  maxResources: number;
  minResources: number;
};

/** @internal @throws OptionError */
export function checkOptions<R>(factory: ResourceFactory<R>, options: ResourcePoolOptions): Settings {
  checkPart('factory', factory, [], 'an object with create() and destroy()');
  checkFunction('create', factory.create);
  checkFunction('destroy', factory.destroy);
  if (factory.validate !== undefined) checkFunction('validate', factory.validate);
  if (factory.reset !== undefined) checkFunction('reset', factory.reset);
  const others = { clock: true, logger: true, random: true } as const;
  const { clock, logger, random, ...all } = withDefaults('ResourcePool', options, RESOURCE_POOL_DEFAULTS, others);
  const createBackoff = withDefaults('createBackoff', all.createBackoff, BACKOFF_DEFAULTS, {});
  const infinity = true;
  checkText('name', all.name);
  checkBounds(all.minResources, all.maxResources);
  checkCount('slotsPerResource', all.slotsPerResource, { min: 1, max: 65_536 });
  checkOneOf('placement', all.placement, ['pack', 'spread']);
  checkCount('maxQueue', all.maxQueue, { infinity });
  checkMs('acquireTimeoutMs', all.acquireTimeoutMs, { infinity });
  for (const phase of ['createTimeoutMs', 'validateTimeoutMs', 'resetTimeoutMs'] as const)
    checkMs(phase, all[phase], { min: 1, infinity });
  checkMs('destroyTimeoutMs', all.destroyTimeoutMs, { min: 1 });
  checkCount('maxConcurrentCreates', all.maxConcurrentCreates, { min: 1, infinity });
  checkMs('createBackoff.initialMs', createBackoff.initialMs);
  checkMs('createBackoff.maxMs', createBackoff.maxMs);
  checkRatio('createBackoff.jitterRatio', createBackoff.jitterRatio);
  checkMs('parkAfterMs', all.parkAfterMs, { infinity });
  checkMs('idleTimeoutMs', all.idleTimeoutMs, { infinity });
  checkMs('keepaliveMs', all.keepaliveMs, { infinity });
  if (all.keepaliveMs > 0 && factory.validate === undefined)
    throw new OptionError('keepaliveMs', all.keepaliveMs, '0, or a factory with a validate');
  checkMs('maxLifetimeMs', all.maxLifetimeMs, { min: 1, infinity });
  checkRatio('lifetimeJitterRatio', all.lifetimeJitterRatio);
  checkMs('leakThresholdMs', all.leakThresholdMs, { infinity });
  checkBoolean('validateParked', all.validateParked);
  if (random !== undefined) checkFunction('random', random);
  return {
    ...all,
    createBackoff,
    clock: clock ?? systemClock,
    logger: logger ?? silentLogger,
    random: random ?? Math.random,
  };
}

/** @internal @throws OptionError */
export function checkBounds(minResources: number, maxResources: number): void {
  checkCount('maxResources', maxResources, { min: 1, max: 1_000_000 });
  checkCount('minResources', minResources, { max: maxResources });
}

const ACQUIRE_OPTIONS: Names<AcquireOptions> = { signal: true, acquireTimeoutMs: true };

/** @internal Why `acquire` with these options is refused before it begins, if it is. */
export function refusal(options: AcquireOptions): Promise<never> | undefined {
  const { acquireTimeoutMs, signal } = options;
  try {
    checkNames('acquire', options, ACQUIRE_OPTIONS);
    if (acquireTimeoutMs !== undefined) checkMs('acquireTimeoutMs', acquireTimeoutMs, { infinity: true });
  } catch (error) {
    return Promise.reject(error);
  }
  return signal?.aborted ? Promise.reject(signal.reason) : undefined;
}
