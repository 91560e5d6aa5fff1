import { type DestroyReason, RESOURCE_POOL_DEFAULTS, type ResourcePoolOptions } from '../options.js';
import type { ResourcePoolEvents } from '../PoolJournal.js';

/** The user's functions, as those of a `ResourcePool`; each is told the key. */
export interface KeyedFactory<K, R> {
  create(context: { readonly key: K; readonly signal: AbortSignal }): R | PromiseLike<R>;
  destroy(
    resource: R,
    context: { readonly key: K; readonly reason: DestroyReason; readonly signal: AbortSignal },
  ): unknown;
  validate?(resource: R, context: { readonly key: K; readonly signal: AbortSignal }): boolean | PromiseLike<boolean>;
  reset?(resource: R, context: { readonly key: K; readonly signal: AbortSignal }): unknown;
}

/** Those of `ResourcePool`, for each key; here is what differs. `maxQueue` bounds the callers of all keys together. */
export interface KeyedPoolOptions extends Omit<ResourcePoolOptions, 'minResources'> {
  /** What errors and logs call the pool. @defaultValue 'KeyedPool' */
  readonly name?: string;
  /** Most callers that may wait, over all keys, from 0; 0: none may, `Infinity`: no bound. @defaultValue 1000 */
  readonly maxQueue?: number;
  /** Most resources over all keys, those being created or destroyed included; from 1 to 1,000,000. @defaultValue 10 */
  readonly maxResources?: number;
  /** Most resources of one key, from 1; `Infinity`: only `maxResources` bounds it. @defaultValue Infinity */
  readonly maxPerKey?: number;
  /**
   * How long a key whose callers wait may keep a resource that a key with fewer needs, ms, from 0 and finite; 0: only
   * until its leases are back. Shorter is fairer, and costs more creations.
   * @defaultValue 1000
   */
  readonly maxHoldMs?: number;
}

const { minResources: _, ...PER_KEY } = RESOURCE_POOL_DEFAULTS;

export const KEYED_POOL_DEFAULTS = Object.freeze({
  ...PER_KEY,
  name: 'KeyedPool',
  maxPerKey: Number.POSITIVE_INFINITY,
  maxHoldMs: 1_000,
} as const);

export interface KeyedPoolStats {
  /** Keys with a resource or a waiting caller. */
  readonly keys: number;
  /** Resources over all keys, those being created or destroyed included. */
  readonly resources: number;
  readonly maxResources: number;
  readonly inUse: number;
  readonly waiting: number;
  /** Keys that wait for a resource of another key to end. */
  readonly starving: number;
  /** Resources that are ending because another key needs their place. */
  readonly evicting: number;
}

/** What `KeyedPool.inspect()` gives: `stats`, and of the keys the first 100, without their names. */
export interface KeyedPoolInspection extends KeyedPoolStats {
  readonly name: string;
  readonly state: 'open' | 'closing' | 'closed';
  readonly pools: readonly { readonly inUse: number; readonly waiting: number; readonly live: number }[];
}

type Keyed<K, E> = { readonly [N in keyof E]: E[N] & { readonly key: K } };
export type KeyedPoolEvents<K, R> = Keyed<K, ResourcePoolEvents<R>>;
