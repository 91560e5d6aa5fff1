import { LRUCache } from 'lru-cache';
import { type Clock, systemClock } from '../../core/clock.js';
import { type CloseOptions, CloseScope } from '../../core/close/CloseScope.js';
import { ClosedError } from '../../core/errors.js';
import {
  checkAtOnce,
  checkCount,
  checkFunction,
  checkMs,
  checkNames,
  checkRecord,
  checkText,
  type Names,
  withDefaults,
} from '../../core/options.js';
import { keyText } from '../../core/text/ownText.js';
import { Shares, shareOf } from '../Shares.js';
import type {
  LimitedCall,
  Limiter,
  LimiterAcquireOptions,
  LimiterSource,
  MultiServerRateLimiterInspection,
  ServerLimiterStats,
} from './Limiter.js';
import { LimiterCore } from './LimiterCore.js';
import { LimiterTableFullError } from './LimiterTableFullError.js';
import {
  checkLimiter,
  LIMITER_OTHERS,
  RATE_LIMITER_DEFAULTS,
  type RateLimiterOptions,
  renamed,
  slidingWindow,
} from './limiterOptions.js';
import { ServerLimiter } from './ServerLimiter.js';

/** So many of the oldest are looked at for each new name while there is no room, and all of them once in so many ms. */
const LOOKS = 8;
const LOOK_MS = 50;

/** What one server may have of its own. */
export type ServerLimit = Partial<
  Pick<RateLimiterOptions, 'maxRequests' | 'windowMs' | 'maxQueue' | 'acquireTimeoutMs' | 'maxPauseMs'>
>;

export interface MultiServerRateLimiterOptions extends RateLimiterOptions {
  /** Limits that differ, by server name (or by what `keyOf` gives). @defaultValue every server has the same limits */
  readonly perServer?: Readonly<Record<string, ServerLimit>>;
  /** Servers remembered at a time: a whole number from 1 to 10,000,000. @defaultValue 10000 */
  readonly maxServers?: number;
  /** A server unused for so long is forgotten, once nothing of it counts any more; in ms from 1. @defaultValue 60000 */
  readonly idleMs?: number;
  /**
   * What a call is limited by, for `for(call)`: its tool, its principal, any text. `undefined` or `''`: no limit.
   * @defaultValue the server's name
   */
  readonly keyOf?: (call: LimitedCall) => string | undefined;
}

export const MULTI_SERVER_RATE_LIMITER_DEFAULTS = Object.freeze({
  ...RATE_LIMITER_DEFAULTS,
  name: 'MultiServerRateLimiter',
  maxServers: 10_000,
  idleMs: 60_000,
});

/**
 * A `RateLimiter` for each server name, made on first use. At most `maxServers` are remembered. One whose window is not
 * empty, that is paused or has waiters is never forgotten, so forgetting never grants anything; when all are such, a new
 * name gets `LimiterTableFullError` (ERR_QUEUE_FULL). Of one owner, for those who name one, it gets that from three quarters of
 * `maxServers` on (with several that have many, sooner), so that names which one client makes up leave room for those of others.
 * Otherwise each is served as `RateLimiter` says.
 */
export class MultiServerRateLimiter implements LimiterSource, AsyncDisposable {
  readonly #options: ReturnType<typeof resolve>;
  readonly #perServer: ReadonlyMap<string, ServerLimit>;
  readonly #clock: Clock;
  readonly #table = new Map<string, LimiterCore>();
  /** Views hold no state but their own waiters, so any may be forgotten. */
  readonly #views = new LRUCache<string, Limiter>({ max: 1_000 });
  readonly #scope: CloseScope;
  /** Whose names they are. Those of no owner take what is free. */
  readonly #shares: Shares;
  /** All are not looked at before. */
  #nextLookMs = Number.NEGATIVE_INFINITY;

  constructor(given: MultiServerRateLimiterOptions) {
    const options = resolve(given);
    const { name, maxServers, idleMs, clock = systemClock } = options;
    this.#options = options;
    this.#perServer = new Map(
      Object.entries(options.perServer ?? {}).map(([server, limit]) => [keyText(server), limit]),
    );
    this.#clock = clock;
    this.#shares = new Shares(maxServers);
    for (const server of ['', ...this.#perServer.keys()]) this.#make(server);
    this.#scope = new CloseScope(name, {
      clock,
      onRefuse: () => {
        for (const core of this.#table.values()) core.refuse();
        this.#table.clear();
        this.#views.clear();
      },
    });
    this.#scope.every('sweep', idleMs, () => this.#forget(clock.now(), clock.now() - idleMs));
  }

  /** Servers remembered. */
  get size(): number {
    return this.#table.size;
  }

  /**
   * Takes `weight` permits of `server` now, or none. `owner`: who asks, where that one chooses the name; a name that is new counts to its
   * share of the table. @throws LimiterTableFullError, ClosedError, OptionError
   */
  tryAcquire(server: string, weight = 1, owner?: string): boolean {
    return this.#core(server, owner).tryAcquire(weight);
  }

  /**
   * Waits for permits of `server`; rejects as `RateLimiter.acquire`, or with LimiterTableFullError. `owner`: as for `tryAcquire`, and who waits
   * where the options do not say.
   */
  acquire(server: string, options: LimiterAcquireOptions = {}, owner?: string): Promise<void> {
    try {
      return this.#core(server, owner).acquire(options, owner);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Grants nothing to `server` for `ms` from now. `owner`: as for `tryAcquire`. */
  pauseFor(server: string, ms: number, owner?: string): void {
    this.#core(server, owner).pauseFor(ms);
  }

  /** One server's limiter, for a pool or a client. Closing it refuses its own callers and nothing else. */
  limiter(server: string): Limiter {
    this.#scope.assertOpen();
    return new ServerLimiter(this, server);
  }

  /** The limiter of that call, by `keyOf`; undefined when it has no limit. What `keyOf` throws is thrown. */
  for(call: LimitedCall): Limiter | undefined {
    const { keyOf } = this.#options;
    const key = keyOf === undefined ? call.server : checkAtOnce('keyOf', keyOf(call));
    if (key === undefined || key === '') return undefined;
    let view = this.#views.get(key);
    // A name that is not in the table comes with the call, and is its caller's.
    if (view === undefined || (keyOf !== undefined && !this.#table.has(key))) {
      this.#scope.assertOpen();
      const short = keyText(checkText('keyOf', key));
      view = new ServerLimiter(this, short, keyOf && shareOf(call.caller));
      if (short === key) this.#views.set(key, view);
    }
    return view;
  }

  inspect(): MultiServerRateLimiterInspection {
    const all = [...this.#table.entries()];
    const shown = all
      .sort(([, one], [, other]) => other.waiting.size - one.waiting.size)
      .slice(0, 100)
      .map(([server, core]) => [server, core.inspect()] as const);
    return {
      name: this.#options.name,
      size: this.#table.size,
      maxServers: this.#options.maxServers,
      waiting: all.reduce((sum, [, core]) => sum + core.waiting.size, 0),
      closed: this.#scope.closing,
      servers: Object.fromEntries(shown),
    };
  }

  /** How full one server is; undefined when nothing is remembered of it. */
  stats(server: string): ServerLimiterStats | undefined {
    const core = this.#table.get(keyText(server));
    return core === undefined ? undefined : { ...core.usage, blockedCount: core.waiting.size };
  }

  /** Forgets the grants and the pause of one server, and serves its waiters. */
  reset(server: string): void {
    this.#table.get(keyText(server))?.reset();
    this.#nextLookMs = Number.NEGATIVE_INFINITY;
  }

  resetAll(): void {
    for (const core of this.#table.values()) core.reset();
    this.#nextLookMs = Number.NEGATIVE_INFINITY;
  }

  /** Rejects every waiter at once; no timer is left. */
  close(options?: CloseOptions): Promise<void> {
    return this.#scope.close(options);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #core(server: string, owner?: string): LimiterCore {
    // It is not moved to the end: that costs more than the limiter itself, and the limiters know when they were last used.
    const known = this.#table.get(server);
    if (known !== undefined) return known;
    if (this.#scope.closing) throw new ClosedError(this.#options.name);
    const key = keyText(checkText('server', server));
    if (key !== server) return this.#core(key, owner);
    const whose = owner === undefined ? undefined : keyText(checkText('owner', owner));
    if (!this.#hasRoom(whose)) this.#makeRoom(server, whose);
    const core = this.#make(server, whose);
    this.#table.set(server, core);
    this.#shares.add(whose ?? '', 1);
    return core;
  }

  #hasRoom(owner: string | undefined): boolean {
    return this.#shares.mayTake(owner ?? '', 1, 0, owner === undefined);
  }

  #make(server: string, owner?: string): LimiterCore {
    const all = { ...this.#options, ...this.#perServer.get(server) };
    return new LimiterCore({
      ...checkLimiter(all),
      name: server === '' ? all.name : `${all.name} ${server}`,
      source: slidingWindow(all),
      clock: this.#clock,
      owner,
    });
  }

  /** What is idle goes: of the oldest, a few for each name that comes; where none of them is, of all, now and then. */
  #makeRoom(server: string, owner: string | undefined): void {
    const nowMs = this.#clock.now();
    this.#forget(nowMs, nowMs, LOOKS);
    if (this.#hasRoom(owner)) return;
    if (nowMs >= this.#nextLookMs) {
      this.#nextLookMs = nowMs + LOOK_MS;
      this.#forget(nowMs, nowMs);
      if (this.#hasRoom(owner)) return;
    }
    throw new LimiterTableFullError(this.#options.name, server, this.#options.maxServers, this.#table.size);
  }

  /** Drops what is idle and was last used by `usedByMs`, of the first `looks`. Names that come once are idle in the order in which they came. */
  #forget(nowMs: number, usedByMs: number, looks = Number.POSITIVE_INFINITY): void {
    const before: [string, LimiterCore][] = [];
    let looked = 0;
    let found = false;
    for (const [server, core] of this.#table) {
      if (looked++ === looks) break;
      if (core.usedMs > usedByMs || core.waiting.size > 0 || nowMs < core.idleFromMs) {
        if (!found) before.push([server, core]);
        continue;
      }
      found = true;
      core.refuse();
      this.#shares.add(core.owner ?? '', -1);
      this.#table.delete(server);
    }
    if (!found) return;
    // They are used on: the next one that is idle is not looked for behind them.
    for (const [server, core] of before) {
      this.#table.delete(server);
      this.#table.set(server, core);
    }
  }
}

const SERVER_LIMIT: Names<ServerLimit> = {
  maxRequests: true,
  windowMs: true,
  maxQueue: true,
  acquireTimeoutMs: true,
  maxPauseMs: true,
};

/** The options, checked, with their defaults. @throws OptionError */
function resolve(given: MultiServerRateLimiterOptions) {
  const options = checkLimiter(
    withDefaults('MultiServerRateLimiter', renamed(given), MULTI_SERVER_RATE_LIMITER_DEFAULTS, {
      ...LIMITER_OTHERS,
      perServer: true,
      keyOf: true,
    }),
  );
  checkCount('maxServers', options.maxServers, { min: 1, max: 10_000_000 });
  checkMs('idleMs', options.idleMs, { min: 1 });
  if (options.keyOf !== undefined) checkFunction('keyOf', options.keyOf);
  if (options.perServer !== undefined) {
    for (const [server, limit] of Object.entries(checkRecord('perServer', options.perServer))) {
      checkNames(`perServer.${server}`, checkRecord(`perServer.${server}`, limit), SERVER_LIMIT);
    }
  }
  return options;
}
