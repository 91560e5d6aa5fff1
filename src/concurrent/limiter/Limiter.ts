import type { Closeable } from '../../core/close/CloseScope.js';

export interface LimiterAcquireOptions {
  /** Aborting rejects the wait at once with `signal.reason` and frees the place. @defaultValue none */
  readonly signal?: AbortSignal | undefined;
  /**
   * The longest wait, in ms from 0; 0 does not wait, `Infinity` waits for ever. When the wait is known to be longer, the
   * call is refused at once. @defaultValue the limiter's own `acquireTimeoutMs`
   */
  readonly acquireTimeoutMs?: number | undefined;
  /** How many permits the call takes, from 1 to `maxRequests`. @defaultValue 1 */
  readonly weight?: number | undefined;
  /**
   * Who waits: owners take turns, and one has three quarters of the places in the queue at most. Those of none are one group, which
   * takes all places that are free. @defaultValue of no one in particular
   */
  readonly owner?: string | undefined;
  /** @deprecated the old name of `acquireTimeoutMs` @defaultValue `acquireTimeoutMs` */
  readonly maxWaitMs?: number | undefined;
}

/** How full a limiter is, in one moment. */
export interface LimiterUsage {
  /** Permits granted in the window that ends now. */
  readonly current: number;
  /** Permits a window may have. */
  readonly max: number;
  /** Milliseconds until a call of weight 1 can pass, behind those waiting; 0 when it can now. */
  readonly availableInMs: number;
}

/** What a limiter holds, waits for and has counted; plain data for a debug endpoint. */
export interface LimiterInspection {
  readonly name: string;
  /** Permits a window may have. */
  readonly maxRequests: number;
  /** Permits granted in the window that ends now. */
  readonly current: number;
  /** Milliseconds until a call of weight 1 can pass, behind those waiting. */
  readonly availableInMs: number;
  /** Callers waiting, and the permits they ask for. */
  readonly waiting: number;
  readonly waitingWeight: number;
  /** Milliseconds until the pause of the whole limiter ends; 0 when there is none. */
  readonly pausedForMs: number;
  /** Whether it was closed. */
  readonly closed: boolean;
}

export interface MultiServerRateLimiterInspection {
  readonly name: string;
  /** Servers remembered, and how many may be. */
  readonly size: number;
  readonly maxServers: number;
  /** Callers waiting, over all servers. */
  readonly waiting: number;
  readonly closed: boolean;
  /** The first 100 of them, those with waiters before the others. */
  readonly servers: Readonly<Record<string, LimiterInspection>>;
}

export interface ServerLimiterStats extends LimiterUsage {
  /** Callers waiting. */
  readonly blockedCount: number;
}

/** The call that needs a permit: what a limit may be chosen by. */
export interface LimitedCall {
  readonly server: string;
  /** The protocol method; undefined for the server as a whole. */
  readonly method?: string | undefined;
  /** The tool of a `tools/call`. */
  readonly tool?: string | undefined;
  /** Who asks: a principal, an address where there is none, a session. */
  readonly caller?:
    | {
        readonly subject?: string | undefined;
        readonly principal?: string | undefined;
        readonly origin?: string | undefined;
        readonly key?: string | undefined;
      }
    | undefined;
}

/** What a pool asks: it chooses a limiter by the call. Every limiter of the toolkit is one. */
export interface LimiterSource {
  /**
   * The limiter that this call takes its permit from, and that a 429 of the call pauses; undefined when it has no limit.
   * Asked once for each call, on the hot path: it must be cheap, and the same call must get the same limiter.
   */
  for(call: LimitedCall): Limiter | undefined;
}

/** What every limiter can do. */
export interface Limiter extends LimiterSource, Closeable, AsyncDisposable {
  /**
   * Takes `weight` permits now, or none. Never barges past a waiter. @throws ClosedError, OptionError for a weight that
   * no window could hold.
   */
  tryAcquire(weight?: number): boolean;
  /**
   * Waits for `weight` permits, first in, first out; with several owners these take turns. Rejects with RateLimitedError (ERR_RATE_LIMITED) when the wait is
   * or becomes longer than `acquireTimeoutMs`, QueueFullError (ERR_QUEUE_FULL), ClosedError, OptionError or `signal.reason`.
   */
  acquire(options?: LimiterAcquireOptions): Promise<void>;
  /**
   * Grants nothing for `ms` from now, as after a 429 with `Retry-After`, but never for longer than the limiter's
   * `maxPauseMs`: the number may come from a server. It prolongs a pause, never shortens one.
   */
  pauseFor(ms: number): void;
}
