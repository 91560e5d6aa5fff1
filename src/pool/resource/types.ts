import type { AcquireTimeoutDetail } from '../../core/errors.js';

/** Why a resource was destroyed; `retire` may give a reason of its own. */
export type DestroyReason = 'idle' | 'lifetime' | 'invalid' | 'late' | 'retired' | 'closed' | (string & {});

/** The user's functions. None is called from inside a call of the pool: each starts in a microtask of its own. */
export interface ResourceFactory<R> {
  /** Makes a resource, distinct from all others. `signal` aborts when nobody waits for it any more. */
  create(context: { readonly signal: AbortSignal }): R | PromiseLike<R>;
  /** Ends it; called exactly once for each resource that `create` gave. `signal` aborts at `destroyTimeoutMs`. */
  destroy(resource: R, context: { readonly reason: DestroyReason; readonly signal: AbortSignal }): unknown;
  /** Whether a parked resource is still good; one that is not, or a rejection, destroys it. */
  validate?(resource: R, context: { readonly signal: AbortSignal }): boolean | PromiseLike<boolean>;
}

export interface AcquireOptions {
  /** Aborting rejects at once with `signal.reason` and frees the place in the queue. @defaultValue none */
  readonly signal?: AbortSignal | undefined;
  /** Longest wait, ms, from 0; 0 takes what is free or fails, `Infinity` waits for ever. @defaultValue `acquireTimeoutMs` */
  readonly timeoutMs?: number | undefined;
}

/** The pool at one moment. Without `parked`, which are alive too, the counts are those of `AcquireTimeoutError.detail`. */
export interface ResourcePoolStats extends AcquireTimeoutDetail {
  /** On the shelf: alive, and taken up again before anything is created. */
  readonly parked: number;
  /** Slots that `tryAcquire` could take now. */
  readonly free: number;
  /** Resources created, since the pool began; late ones are not among them. */
  readonly created: number;
  /** Creations that failed, those that took too long included. */
  readonly createFailed: number;
  /** Resources whose destruction is over. */
  readonly destroyed: number;
  /** Leases reported as leaked. */
  readonly leaked: number;
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
