import { type CloseOptions, CloseScope } from '../../core/close/CloseScope.js';
import { messageOf } from '../../core/errors.js';
import { Emitter, type Listener } from '../../core/events.js';
import type { Logger } from '../../core/logger.js';
import type {
  LimitedCall,
  Limiter,
  LimiterAcquireOptions,
  LimiterInspection,
  LimiterUsage,
} from '../limiter/Limiter.js';
import { LimiterCore } from '../limiter/LimiterCore.js';
import { ScheduledWork } from '../limiter/ScheduledWork.js';
import { ServerPauses } from '../limiter/ServerPauses.js';
import {
  blockSize,
  type ClusterRateLimiterOptions,
  clusterOptions,
  keyPrefixOf,
  type OnStoreLost,
} from './clusterOptions.js';
import { type BlockMode, PermitBlocks } from './PermitBlocks.js';
import { RedisStore } from './RedisStore.js';

export interface ClusterRateLimiterEvents {
  /** The store does not answer; `onStoreLost` holds from now on. Once per outage. */
  readonly storeLost: { readonly error: unknown };
  /** Permits are leased again. */
  readonly storeRestored: { readonly outageMs: number };
}

export interface ClusterRateLimiterStats {
  /** `connecting` until the store was reached for the first time or could not be. */
  readonly store: 'connecting' | 'up' | 'lost';
  /** Permits here, not used yet. */
  readonly permits: number;
  /** Leases charged to this process. */
  readonly leases: number;
  /** Processes that share the limit, as last seen; undefined before the store was reached. */
  readonly processes: number | undefined;
}

export interface ClusterRateLimiterInspection extends LimiterInspection, ClusterRateLimiterStats {
  /** How long the store has been lost, in ms; 0 while it is not. */
  readonly outageMs: number;
  readonly pausedServers: number;
}

/** A lease takes its time to come; in a window of 100 ms a tenth of it would be gone by then. */
const MIN_PERMIT_LIFE_MS = 100;

const MODES: Readonly<Record<OnStoreLost, Exclude<BlockMode, 'leasing'>>> = {
  'local-share': 'share',
  'fail-closed': 'closed',
  'fail-open': 'open',
};

/**
 * One limit for every process on a Redis or Valkey: the fleet together gets at most `maxRequests` permits in any window
 * of `windowMs`. Permits are leased in blocks through Bottleneck and handed out from this process's memory, first in,
 * first out among its own callers (owners in turns); a lease stays charged until a window after its last use. How exact that is, and what
 * holds while the store is lost: docs/rate-limiting.md.
 *
 * `tryAcquire` answers from the local block, so it may refuse before a lease has come; `acquire` waits for it. `pauseFor`
 * and `usage` are about this process. Its two connections hold the process open until `close()`.
 */
export class ClusterRateLimiter implements Limiter {
  readonly #core: LimiterCore;
  readonly #pauses: ServerPauses;
  readonly #blocks: PermitBlocks;
  readonly #store: RedisStore;
  readonly #scope: CloseScope;
  readonly #work: ScheduledWork;
  readonly #events: Emitter<ClusterRateLimiterEvents>;
  readonly #logger: Logger;
  readonly #options: ReturnType<typeof clusterOptions>;
  #state: ClusterRateLimiterStats['store'] = 'connecting';
  #lostAtMs: number | undefined;
  #resuming: Disposable | undefined;

  constructor(given: ClusterRateLimiterOptions) {
    const options = clusterOptions(given);
    const { redis, name, maxRequests, windowMs, clock, logger } = options;
    this.#options = options;
    this.#logger = logger;
    const permitLifeMs = Math.max(MIN_PERMIT_LIFE_MS, windowMs / options.subWindows);
    this.#store = new RedisStore({
      redis,
      id: `{${keyPrefixOf(redis)}${options.keyPrefix}${options.id}}`,
      max: maxRequests,
      // One more, since the store counts in whole milliseconds.
      leaseMs: Math.ceil(windowMs + permitLifeMs + options.maxClockSkewMs) + 1,
      heartbeatMs: Math.min(5_000, Math.max(100, Math.ceil(windowMs))),
      storeTimeoutMs: options.storeTimeoutMs,
      clock,
      onUp: (forgot) => this.#onUp(forgot),
      onLost: (error) => this.#onLost(error),
    });
    this.#blocks = new PermitBlocks({
      max: maxRequests,
      windowUs: Math.round(windowMs * 1_000),
      permitLifeUs: Math.floor(permitLifeMs * 1_000),
      maxBlock: blockSize(maxRequests, options.subWindows),
      store: this.#store,
      storeTimeoutMs: options.storeTimeoutMs,
      clock,
    });
    this.#core = new LimiterCore({ ...options, source: this.#blocks, clock });
    this.#blocks.attach(this.#core);
    this.#pauses = new ServerPauses(this.#core, options);
    this.#events = new Emitter((error, event) => logger.error({ error, part: name, event }, 'a listener failed'));
    this.#work = new ScheduledWork(clock);
    this.#scope = new CloseScope(name, {
      clock,
      logger,
      onRefuse: () => {
        this.#core.refuse();
        this.#pauses.refuse();
      },
      ...this.#work.hooks,
      onRelease: () => {
        this.#blocks.close();
        return this.#store.close();
      },
    });
    this.#store.open();
  }

  /** How full this process's own window is. `availableInMs` is a lower bound: others may have the permits. */
  get usage(): LimiterUsage {
    return this.#core.usage;
  }

  /** Callers of this process waiting. */
  get blockedCount(): number {
    return this.#core.waiting.size;
  }

  get stats(): ClusterRateLimiterStats {
    const { permits, leases } = this.#blocks;
    return { store: this.#state, permits, leases, processes: this.#store.processes };
  }

  /** Takes `weight` permits that are here already, or none; never ahead of a waiter. @throws ClosedError, OptionError */
  tryAcquire(weight = 1): boolean {
    return this.#core.tryAcquire(weight);
  }

  /**
   * Waits for `weight` permits of the fleet. Rejections: ERR_RATE_LIMITED when `acquireTimeoutMs` is over (`retryAfterMs` only
   * when known: by a pause or by this process's own use), ERR_QUEUE_FULL, ERR_CLOSED, ERR_OPTION, or the signal's reason.
   * A weight of more than a block is leased in one piece, and may wait long while others ask for less.
   */
  acquire(options: LimiterAcquireOptions = {}): Promise<void> {
    return this.#core.acquire(options);
  }

  /** Runs `fn` when it has its permits; as `RateLimiter.schedule`. */
  schedule<T>(fn: () => T | PromiseLike<T>, options: LimiterAcquireOptions = {}): Promise<T> {
    return this.#work.run(this.#scope, this.#core.acquire(options), fn);
  }

  /** This limiter for calls to one server: permits are shared with all, a pause is that server's alone. */
  for(call: LimitedCall): Limiter {
    this.#scope.assertOpen();
    return this.#pauses.for(call);
  }

  inspect(): ClusterRateLimiterInspection {
    const outageMs = this.#lostAtMs === undefined ? 0 : this.#scope.clock.now() - this.#lostAtMs;
    return { ...this.#core.inspect(), ...this.stats, outageMs, pausedServers: this.#pauses.size };
  }

  /** Grants nothing in this process for `ms` from now, at most `maxPauseMs`; a longer pause stays. */
  pauseFor(ms: number): void {
    this.#core.pauseFor(ms);
  }

  on<K extends keyof ClusterRateLimiterEvents>(event: K, listener: Listener<ClusterRateLimiterEvents[K]>): Disposable {
    return this.#events.on(event, listener);
  }

  /** Rejects the waiters at once, awaits scheduled work, then ends its two connections; the client handed in stays. */
  close(options?: CloseOptions): Promise<void> {
    return this.#scope.close(options);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #onLost(error: unknown): void {
    const { onStoreLost, processes } = this.#options;
    this.#resuming?.[Symbol.dispose]();
    if (this.#scope.closing) return;
    const lost = this.#state !== 'lost';
    this.#state = 'lost';
    const count = processes ?? this.#store.processes;
    const mode = onStoreLost === 'local-share' && count === undefined ? 'closed' : MODES[onStoreLost];
    this.#blocks.suspend(mode, Math.max(1, Math.floor(this.#blocks.max / (count ?? 1))));
    this.#core.serve();
    if (!lost) return;
    this.#lostAtMs = this.#scope.clock.now();
    // An error of the client may carry the command that it is about, with a password.
    this.#logger.warn(
      { error: messageOf(error), part: this.#scope.name, onStoreLost },
      'the store of the limit is lost',
    );
    this.#events.emit('storeLost', { error });
  }

  /** A store that forgot would lease what was used just before the loss once more: a window must pass first. */
  #onUp(forgot: boolean): void {
    if (this.#scope.closing) return;
    const nowMs = this.#scope.clock.now();
    const quietMs = forgot && this.#lostAtMs !== undefined ? this.#lostAtMs + this.#options.windowMs - nowMs : 0;
    if (quietMs <= 0) this.#resume();
    else this.#resuming = this.#scope.timer('resume', quietMs, () => this.#resume());
  }

  #resume(): void {
    const lostAtMs = this.#lostAtMs;
    const share = lostAtMs !== undefined && this.#options.onStoreLost === 'local-share';
    this.#state = 'up';
    this.#lostAtMs = undefined;
    this.#blocks.resume(this.#core.nowUs(), share ? this.#blocks.share : undefined);
    this.#core.serve();
    if (lostAtMs === undefined) return;
    const outageMs = this.#scope.clock.now() - lostAtMs;
    this.#logger.info({ part: this.#scope.name, outageMs }, 'the store of the limit is back');
    this.#events.emit('storeRestored', { outageMs });
  }
}
