import { type Clock, systemClock } from '../../core/clock.js';
import { OptionError } from '../../core/errors.js';
import { type Logger, silentLogger } from '../../core/logger.js';
import { checkBoolean, checkCount, checkMs, checkOneOf, checkRatio, checkText } from '../../core/options.js';

/** The wait after a failed creation: `initialMs × factor^(failures - 1)`, at most `maxMs`, less a random share. */
export interface BackoffOptions {
  /** ms, from 0; 0: no wait. @defaultValue 100 */
  readonly initialMs?: number;
  /** From 1; 1: always the same. @defaultValue 2 */
  readonly factor?: number;
  /** ms, from 0. @defaultValue 30000 */
  readonly maxMs?: number;
  /** Up to this share of the wait is taken off at random, from 0 to 1. @defaultValue 0.5 */
  readonly jitterRatio?: number;
}

export interface ResourcePoolOptions {
  /** What errors and logs call the pool. @defaultValue 'ResourcePool' */
  readonly name?: string;
  /** Resources kept alive ahead of use, from 0 to `maxResources`; 0: none. They are made as the pool is. @defaultValue 0 */
  readonly minResources?: number;
  /** Resources at the most, those being created or destroyed included; from 1 to 1,000,000. @defaultValue 10 */
  readonly maxResources?: number;
  /** Leases on one resource at a time, from 1 (exclusive) to 65,536. @defaultValue 1 */
  readonly slotsPerResource?: number;
  /** `pack` fills the fullest first, so that spare ones park; `spread` takes the least loaded, in turn. @defaultValue 'pack' */
  readonly placement?: 'pack' | 'spread';
  /** Callers waiting at the most, from 0; 0: nobody may wait, `Infinity`: no bound. @defaultValue 1000 */
  readonly maxWaiters?: number;
  /** Longest wait of `acquire`, ms, from 0; 0: it takes what is free or fails, `Infinity`: for ever. @defaultValue 30000 */
  readonly acquireTimeoutMs?: number;
  /**
   * Longest `create`, ms, from 1; `Infinity`: no bound. One that takes longer fails then, but keeps its place in
   * `maxResources` until it settles; what it made is destroyed.
   * @defaultValue 30000
   */
  readonly createTimeoutMs?: number;
  /** Longest `validate`, ms, from 1; `Infinity`: no bound. Then the resource counts as invalid. @defaultValue 5000 */
  readonly validateTimeoutMs?: number;
  /** Longest `destroy`, ms, from 1, finite. Then it is reported and its place is free. @defaultValue 5000 */
  readonly destroyTimeoutMs?: number;
  /** Creations at a time, from 1; `Infinity`: `maxResources` alone bounds them. @defaultValue 8 */
  readonly maxConcurrentCreates?: number;
  /** The wait between a failed creation and the next. @defaultValue 100 ms, doubling to 30 s */
  readonly createBackoff?: BackoffOptions;
  /**
   * A resource without leases this long leaves the live set for the shelf, ms, from 0; 0: at the next sweep,
   * `Infinity`: never. Sweeps are a quarter of this apart, 1 s at the most.
   * @defaultValue 5000
   */
  readonly parkAfterMs?: number;
  /** A parked resource is destroyed after this long, ms, from 0; 0: at once, `Infinity`: never. @defaultValue 60000 */
  readonly idleTimeoutMs?: number;
  /** A resource this old takes no new leases and is destroyed when the last is back, ms, from 1; `Infinity`: never. @defaultValue Infinity */
  readonly maxLifetimeMs?: number;
  /** Up to this share of its lifetime is taken off each resource, drawn once at its creation; from 0 to 1. @defaultValue 0.1 */
  readonly lifetimeJitterRatio?: number;
  /**
   * A lease out this long is reported once, with the stack that took it, ms, from 0; 0: never, and no stacks are taken.
   * `Infinity`: never, but stacks are taken, for `AcquireTimeoutError`. Taking one costs some microseconds a lease.
   * @defaultValue 0
   */
  readonly leakThresholdMs?: number;
  /** Whether `validate`, if there is one, is asked before a parked resource is used again. @defaultValue true */
  readonly validateParked?: boolean;
  /** Told apart from the machine's own in tests. @defaultValue the machine's own */
  readonly clock?: Clock;
  /** Where the pool logs. @defaultValue nowhere */
  readonly logger?: Logger;
  /** Numbers from 0 to 1, for jitter. @defaultValue Math.random */
  readonly random?: () => number;
}

const BACKOFF_DEFAULTS = Object.freeze({ initialMs: 100, factor: 2, maxMs: 30_000, jitterRatio: 0.5 });

export const RESOURCE_POOL_DEFAULTS = Object.freeze({
  name: 'ResourcePool',
  minResources: 0,
  maxResources: 10,
  slotsPerResource: 1,
  placement: 'pack',
  maxWaiters: 1_000,
  acquireTimeoutMs: 30_000,
  createTimeoutMs: 30_000,
  validateTimeoutMs: 5_000,
  destroyTimeoutMs: 5_000,
  maxConcurrentCreates: 8,
  createBackoff: BACKOFF_DEFAULTS,
  parkAfterMs: 5_000,
  idleTimeoutMs: 60_000,
  maxLifetimeMs: Number.POSITIVE_INFINITY,
  lifetimeJitterRatio: 0.1,
  leakThresholdMs: 0,
  validateParked: true,
} as const);

/** @internal Every option, checked. */
export type Settings = Required<Omit<ResourcePoolOptions, 'createBackoff'>> & {
  readonly createBackoff: Required<BackoffOptions>;
};

/** @internal @throws OptionError */
export function checkOptions(options: ResourcePoolOptions): Settings {
  const all = {
    ...RESOURCE_POOL_DEFAULTS,
    clock: systemClock,
    logger: silentLogger,
    random: Math.random,
    ...options,
    createBackoff: { ...BACKOFF_DEFAULTS, ...options.createBackoff },
  };
  const infinity = true;
  checkText('name', all.name);
  checkCount('maxResources', all.maxResources, { min: 1, max: 1_000_000 });
  checkCount('minResources', all.minResources, { max: all.maxResources });
  checkCount('slotsPerResource', all.slotsPerResource, { min: 1, max: 65_536 });
  checkOneOf('placement', all.placement, ['pack', 'spread']);
  checkCount('maxWaiters', all.maxWaiters, { infinity });
  checkMs('acquireTimeoutMs', all.acquireTimeoutMs, { infinity });
  checkMs('createTimeoutMs', all.createTimeoutMs, { min: 1, infinity });
  checkMs('validateTimeoutMs', all.validateTimeoutMs, { min: 1, infinity });
  checkMs('destroyTimeoutMs', all.destroyTimeoutMs, { min: 1 });
  checkCount('maxConcurrentCreates', all.maxConcurrentCreates, { min: 1, infinity });
  checkMs('createBackoff.initialMs', all.createBackoff.initialMs);
  const { factor } = all.createBackoff;
  if (typeof factor !== 'number' || !(factor >= 1))
    throw new OptionError('createBackoff.factor', factor, 'a number, 1 or more');
  checkMs('createBackoff.maxMs', all.createBackoff.maxMs);
  checkRatio('createBackoff.jitterRatio', all.createBackoff.jitterRatio);
  checkMs('parkAfterMs', all.parkAfterMs, { infinity });
  checkMs('idleTimeoutMs', all.idleTimeoutMs, { infinity });
  checkMs('maxLifetimeMs', all.maxLifetimeMs, { min: 1, infinity });
  checkRatio('lifetimeJitterRatio', all.lifetimeJitterRatio);
  checkMs('leakThresholdMs', all.leakThresholdMs, { infinity });
  checkBoolean('validateParked', all.validateParked);
  return all;
}
