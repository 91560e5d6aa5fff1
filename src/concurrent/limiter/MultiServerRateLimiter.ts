import { LRUCache } from 'lru-cache';
import { type Clock, systemClock } from '../../core/clock.js';
import { type CloseOptions, CloseScope } from '../../core/close/CloseScope.js';
import { ClosedError } from '../../core/errors.js';
import { checkCount, checkMs, checkText } from '../../core/options.js';
import type { AcquireOptions, Limiter, LimiterUsage } from './Limiter.js';
import { LimiterCore } from './LimiterCore.js';
import { LimiterTableFullError } from './LimiterTableFullError.js';
import { RATE_LIMITER_DEFAULTS, type RateLimiterOptions, slidingWindow } from './RateLimiter.js';
import { ServerLimiter } from './ServerLimiter.js';

/** What one server may have of its own. */
export type ServerLimit = Partial<Pick<RateLimiterOptions, 'maxRequests' | 'windowMs' | 'maxWaiters' | 'maxWaitMs'>>;

export interface MultiServerRateLimiterOptions extends RateLimiterOptions {
  /** Limits of servers that differ, by name. */
  readonly perServer?: Readonly<Record<string, ServerLimit>>;
  /** Servers remembered at a time, from 1. @defaultValue 10000 */
  readonly maxServers?: number;
  /** A server unused for so long is forgotten, once nothing of it counts any more; in ms, from 1. @defaultValue 60000 */
  readonly idleMs?: number;
}

export const MULTI_SERVER_RATE_LIMITER_DEFAULTS = Object.freeze({
  ...RATE_LIMITER_DEFAULTS,
  name: 'MultiServerRateLimiter',
  maxServers: 10_000,
  idleMs: 60_000,
});

export interface ServerLimiterStats extends LimiterUsage {
  /** Callers waiting. */
  readonly blockedCount: number;
}

/**
 * A `RateLimiter` for each server name, made on first use. At most `maxServers` are remembered. One whose window is not
 * empty, that is paused or has waiters is never forgotten, so forgetting never grants anything; when all are such, a new
 * name gets `LimiterTableFullError` (ERR_QUEUE_FULL). Otherwise each is served as `RateLimiter` says.
 */
export class MultiServerRateLimiter implements AsyncDisposable {
  readonly #options: Required<Omit<RateLimiterOptions, 'clock'>>;
  readonly #perServer: ReadonlyMap<string, ServerLimit>;
  readonly #maxServers: number;
  readonly #idleMs: number;
  readonly #clock: Clock;
  readonly #table: LRUCache<string, LimiterCore>;
  readonly #scope: CloseScope;
  /** No place can fall free before. */
  #fullUntilMs = Number.NEGATIVE_INFINITY;

  constructor({ clock = systemClock, perServer = {}, ...given }: MultiServerRateLimiterOptions) {
    const { maxServers, idleMs, ...options } = { ...MULTI_SERVER_RATE_LIMITER_DEFAULTS, ...given };
    this.#options = options;
    this.#perServer = new Map(Object.entries(perServer));
    this.#maxServers = checkCount('maxServers', maxServers, { min: 1, max: 10_000_000 });
    this.#idleMs = checkMs('idleMs', idleMs, { min: 1 });
    this.#clock = clock;
    this.#table = new LRUCache({ max: maxServers });
    checkText('name', options.name);
    for (const server of ['', ...this.#perServer.keys()]) this.#make(server);
    this.#scope = new CloseScope(options.name, {
      clock,
      onRefuse: () => {
        for (const core of this.#table.values()) core.refuse();
        this.#table.clear();
      },
    });
    this.#scope.every('sweep', this.#idleMs, () => this.#forget(clock.now(), clock.now() - this.#idleMs));
  }

  /** Servers remembered. */
  get size(): number {
    return this.#table.size;
  }

  /** Takes `weight` permits of `server` now, or none. @throws LimiterTableFullError, ClosedError, OptionError */
  tryAcquire(server: string, weight = 1): boolean {
    return this.#core(server).tryAcquire(weight);
  }

  /** Waits for permits of `server`; rejects as `RateLimiter.acquire`, or with LimiterTableFullError. */
  acquire(server: string, options: AcquireOptions = {}): Promise<void> {
    try {
      return this.#core(server).acquire(options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Grants nothing to `server` for `ms` from now. */
  pauseFor(server: string, ms: number): void {
    this.#core(server).pauseFor(ms);
  }

  /** One server's limiter, for a pool or a client. Closing it refuses its own callers and nothing else. */
  limiter(server: string): Limiter {
    this.#scope.assertOpen();
    return new ServerLimiter(this, server);
  }

  /** How full one server is; undefined when nothing is remembered of it. */
  stats(server: string): ServerLimiterStats | undefined {
    const core = this.#table.peek(server);
    return core === undefined ? undefined : { ...core.usage, blockedCount: core.waiting.size };
  }

  /** Forgets the grants and the pause of one server, and serves who waits there. */
  reset(server: string): void {
    this.#table.peek(server)?.reset();
    this.#fullUntilMs = Number.NEGATIVE_INFINITY;
  }

  resetAll(): void {
    for (const core of this.#table.values()) core.reset();
    this.#fullUntilMs = Number.NEGATIVE_INFINITY;
  }

  /** Rejects every waiter at once; no timer is left. */
  close(options?: CloseOptions): Promise<void> {
    return this.#scope.close(options);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #core(server: string): LimiterCore {
    // Not `get`: moving each to the front costs more than the limiter itself, and who was used when, the limiters know.
    const known = this.#table.peek(server);
    if (known !== undefined) return known;
    if (this.#scope.closing) throw new ClosedError(this.#options.name);
    if (this.#table.size >= this.#maxServers) this.#makeRoom(server);
    const core = this.#make(checkText('server', server));
    this.#table.set(server, core);
    return core;
  }

  #make(server: string): LimiterCore {
    const { maxRequests, windowMs, maxWaiters, maxWaitMs, name } = { ...this.#options, ...this.#perServer.get(server) };
    return new LimiterCore({
      name: server === '' ? name : `${name} ${server}`,
      source: slidingWindow({ maxRequests, windowMs }),
      clock: this.#clock,
      maxWaiters,
      maxWaitMs,
    });
  }

  /** Everything that is idle goes at once, so that the scan is paid for by the names that came. */
  #makeRoom(server: string): void {
    const nowMs = this.#clock.now();
    if (nowMs >= this.#fullUntilMs) this.#forget(nowMs, nowMs);
    if (this.#table.size < this.#maxServers) return;
    if (nowMs >= this.#fullUntilMs) {
      this.#fullUntilMs = Number.POSITIVE_INFINITY;
      for (const { idleFromMs } of this.#table.values()) this.#fullUntilMs = Math.min(this.#fullUntilMs, idleFromMs);
    }
    throw new LimiterTableFullError(this.#options.name, server, this.#maxServers);
  }

  /** Drops what is idle and was last used by `usedByMs`. */
  #forget(nowMs: number, usedByMs: number): void {
    const idle: string[] = [];
    this.#table.forEach((core, server) => {
      if (core.usedMs > usedByMs || core.waiting.size > 0 || nowMs < core.idleFromMs) return;
      core.refuse();
      idle.push(server);
    });
    for (const server of idle) this.#table.delete(server);
  }
}
