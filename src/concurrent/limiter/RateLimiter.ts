import { systemClock } from '../../core/clock.js';
import { type CloseOptions, CloseScope } from '../../core/close/CloseScope.js';
import { withDefaults } from '../../core/options.js';
import type { LimitedCall, Limiter, LimiterAcquireOptions, LimiterInspection, LimiterUsage } from './Limiter.js';
import { LimiterCore } from './LimiterCore.js';
import {
  checkLimiter,
  LIMITER_OTHERS,
  RATE_LIMITER_DEFAULTS,
  type RateLimiterOptions,
  renamed,
  slidingWindow,
} from './limiterOptions.js';
import { ScheduledWork } from './ScheduledWork.js';
import { ServerPauses } from './ServerPauses.js';

/**
 * An exact sliding window: never more than `maxRequests` permits in *any* window of `windowMs` (half-open: a permit
 * granted at `t` counts until just before `t + windowMs`), and no refusal that the window does not demand, except while
 * a caller waits or the limiter is paused. First in, first out; owners, where callers name them, in turns. Time is the monotonic clock in whole
 * microseconds: steps of the wall clock change nothing, after a suspend it may grant late, never more.
 *
 * ```ts
 * import { RateLimiter } from 'mcp-poolkit/concurrent';
 *
 * const limiter = new RateLimiter({ maxRequests: 100, windowMs: 1_000 });
 * if (limiter.tryAcquire()) console.log('now or not at all');
 * await limiter.schedule(() => fetch('https://search.example/'), { acquireTimeoutMs: 2_000 });
 * ```
 */
export class RateLimiter implements Limiter {
  readonly #core: LimiterCore;
  readonly #pauses: ServerPauses;
  readonly #scope: CloseScope;
  readonly #work: ScheduledWork;

  constructor(options: RateLimiterOptions) {
    const all = checkLimiter(withDefaults('RateLimiter', renamed(options), RATE_LIMITER_DEFAULTS, LIMITER_OTHERS));
    const { name, clock = systemClock } = all;
    this.#core = new LimiterCore({ ...all, clock, source: slidingWindow(all) });
    this.#pauses = new ServerPauses(this.#core, { ...all, clock });
    this.#work = new ScheduledWork(clock);
    this.#scope = new CloseScope(name, {
      clock,
      onRefuse: () => {
        this.#core.refuse();
        this.#pauses.refuse();
      },
      ...this.#work.hooks,
    });
  }

  /** How full it is. */
  get usage(): LimiterUsage {
    return this.#core.usage;
  }

  /** Callers waiting. */
  get blockedCount(): number {
    return this.#core.waiting.size;
  }

  /** Takes `weight` permits now, or none; never ahead of a waiter. @throws ClosedError, OptionError */
  tryAcquire(weight = 1): boolean {
    return this.#core.tryAcquire(weight);
  }

  /**
   * Waits for `weight` permits. Rejections: ERR_RATE_LIMITED, at once when the wait is known to exceed `acquireTimeoutMs`, with
   * the exact `retryAfterMs`; ERR_QUEUE_FULL, ERR_CLOSED, ERR_OPTION, or the signal's own reason.
   */
  acquire(options: LimiterAcquireOptions = {}): Promise<void> {
    return this.#core.acquire(options);
  }

  /**
   * Runs `fn` when it has its permits, and settles as it does. A close awaits it; one that still runs at the deadline is
   * abandoned: this rejects with `ShutdownTimeoutError`, and so does the close.
   */
  schedule<T>(fn: () => T | PromiseLike<T>, options: LimiterAcquireOptions = {}): Promise<T> {
    return this.#work.run(this.#scope, this.#core.acquire(options), fn);
  }

  /** This limiter for calls to one server: permits are shared with all, a pause is that server's alone. */
  for(call: LimitedCall): Limiter {
    this.#scope.assertOpen();
    return this.#pauses.for(call);
  }

  /** Grants nothing for `ms` from now, at most `maxPauseMs`; a longer pause stays. Waiters keep their places. */
  pauseFor(ms: number): void {
    this.#core.pauseFor(ms);
  }

  /** Forgets every grant and every pause, and serves the waiters. */
  reset(): void {
    this.#core.reset();
    this.#pauses.reset();
  }

  inspect(): LimiterInspection & { readonly pausedServers: number } {
    return { ...this.#core.inspect(), pausedServers: this.#pauses.size };
  }

  /** Rejects the waiters at once, awaits scheduled work for `graceMs`; its timers are gone after it. */
  close(options?: CloseOptions): Promise<void> {
    return this.#scope.close(options);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
