import { CircuitOpenError, keptError, messageOf } from '../../core/errors.js';
import { tellListener } from '../../core/events.js';
import { checkAtOnce } from '../../core/options.js';
import { backoffMs } from '../../core/time/backoff.js';
import { defaultVerdict, type Verdict } from './breakerFailures.js';
import { type BreakerState, breakerOptions, type CircuitBreakerOptions } from './breakerOptions.js';
import { type BreakerEvent, type BreakerPhase, type BreakerRules, CLOSED, next, refusedForMs } from './breakerState.js';
import { CallWindow } from './CallWindow.js';
import { Votes } from './Votes.js';

declare const TICKET: unique symbol;

/** What `enter` gives: hand it to `succeeded`, `failed` or `abandoned`, once. A number while nothing is to be remembered. */
export type BreakerTicket = (number | Entry) & { readonly [TICKET]?: never };

/** A call whose start or end must be known: a probe, or any call while slow ones are counted. */
interface Entry {
  readonly period: number;
  readonly startedMs: number;
  readonly caller: string | undefined;
  settled: boolean;
}

/** What a breaker holds and has counted; plain data for a debug endpoint. */
export interface BreakerInspection {
  readonly name: string;
  readonly state: BreakerState;
  /** Whether `forceOpen` or `forceClosed` holds it there. */
  readonly forced: boolean;
  /** Milliseconds until a call is let in for certain; 0 when one is let in now, `Infinity` while forced open. */
  readonly retryAfterMs: number;
  /** Failures since the last success, of one caller's votes those that count. */
  readonly failuresInRow: number;
  /** Probes running now. */
  readonly probing: number;
  /** Counts of the sliding window; undefined unless `failureRatio` or `slowCallMs` is set. */
  readonly window: { readonly calls: number; readonly failures: number; readonly slow: number } | undefined;
  /** How often it opened by itself, failed probes included. */
  readonly opened: number;
  /** Calls refused. */
  readonly refused: number;
  /** The message of the last failure. */
  readonly lastFailure: string | undefined;
}

/**
 * A breaker in front of calls that keep failing. It opens on failures in a row, on a share of failures or on a share of
 * slow calls; open, it refuses with `ERR_CIRCUIT_OPEN`; after `resetMs` a few calls may try, whose ends decide:
 * docs/circuit-breaker.md. The states are a pure function, `next` in breakerState.ts.
 *
 * `enter` and what ends it are synchronous: a call through a closed breaker costs two comparisons, and neither a promise
 * nor an object, unless a share is watched. A call that ends in another period than it began in counts for nothing.
 *
 * ```ts
 * import { CircuitBreaker } from 'mcp-poolkit/concurrent';
 *
 * const breaker = new CircuitBreaker({ name: 'search', threshold: 5, resetMs: 2_000 });
 * const answer = await breaker.call(() => fetch('https://search.example/'));
 * ```
 */
export class CircuitBreaker {
  readonly #options: ReturnType<typeof breakerOptions>;
  readonly #rules: BreakerRules;
  readonly #window: CallWindow | undefined;
  readonly #timed: boolean;
  #phase: BreakerPhase = CLOSED;
  /** Tells the calls of one state from those of an earlier one. */
  #period = 0;
  #failuresInRow = 0;
  /** Of the failures in a row; of a run that is over, until the next failure. While half-open: since it opened. */
  readonly #votes = new Votes();
  /** Whose probes run. */
  readonly #probing = new Set<string | undefined>();
  #lastError: unknown;
  #opened = 0;
  #refused = 0;

  constructor(options: CircuitBreakerOptions = {}) {
    const all = breakerOptions(options);
    this.#options = all;
    this.#timed = all.slowCallMs !== Number.POSITIVE_INFINITY;
    const watched = this.#timed || all.failureRatio !== Number.POSITIVE_INFINITY;
    this.#window = watched ? new CallWindow(all.windowMs) : undefined;
    const pause = { initialMs: all.resetMs, maxMs: all.maxResetMs, jitterRatio: 0 };
    this.#rules = { halfOpenProbes: all.halfOpenProbes, resetMs: (round) => backoffMs(round, pause) };
  }

  get state(): BreakerState {
    const { tag } = this.#phase;
    if (tag === 'forced-open') return 'open';
    return tag === 'forced-closed' ? 'closed' : tag;
  }

  /** Milliseconds until a call is let in for certain; 0 when one is let in now, `Infinity` while forced open. */
  get retryAfterMs(): number {
    return this.#phase.tag === 'closed' ? 0 : refusedForMs(this.#phase, this.#options.clock.now(), this.#rules);
  }

  /**
   * Lets a call in, which must end by `succeeded`, `failed` or `abandoned`. `caller`: whose it is; while half-open one whose probe has not
   * ended leaves the next place to others for `resetMs`, so that calls which hang take none of theirs.
   * @throws CircuitOpenError (ERR_CIRCUIT_OPEN) with `retryAfterMs` and the last failure as its cause
   */
  enter(caller?: string): BreakerTicket {
    if (this.#phase === CLOSED && !this.#timed) return this.#period;
    return this.#enter(caller);
  }

  /** The call had its answer. */
  succeeded(ticket: BreakerTicket): void {
    if (this.#failuresInRow === 0 && this.#window === undefined && typeof ticket === 'number') return;
    this.#end(ticket, 'answer');
  }

  /**
   * The call ended with `error`, which counts as a failure, as an answer or not at all, as the options say. `voter`: the caller that may
   * have brought a failure about by itself. Of failures in a row those of one voter count for half of `threshold` at most, none opens it
   * again while it is half-open unless another voter's did, too, and they are no part of `failureRatio`.
   */
  failed(ticket: BreakerTicket, error: unknown, voter?: string): void {
    const verdict = this.#judge(error);
    if (verdict === 'failure' && this.#isCurrent(ticket)) this.#lastError = keptError(error);
    this.#end(ticket, verdict, voter);
  }

  /** The call ended without telling anything of what it called: it was aborted, or refused elsewhere. */
  abandoned(ticket: BreakerTicket): void {
    this.#end(ticket, 'nothing');
  }

  /** Runs `fn` unless open, and settles as it does. @throws CircuitOpenError as `enter` */
  async call<T>(fn: () => T | PromiseLike<T>): Promise<T> {
    const ticket = this.enter();
    try {
      const result = await fn();
      this.succeeded(ticket);
      return result;
    } catch (error) {
      this.failed(ticket, error);
      throw error;
    }
  }

  /** Closes it, forced or not, and forgets what failed. */
  reset(): void {
    this.#forget();
    this.#period++;
    this.#move('reset');
  }

  /** Refuses every call until `reset()`; `retryAfterMs` in its errors is `resetMs` then. */
  forceOpen(): void {
    this.#move('forceOpen');
  }

  /** Lets every call in, whatever fails, until `reset()`. */
  forceClosed(): void {
    this.#move('forceClosed');
  }

  inspect(): BreakerInspection {
    const { tag } = this.#phase;
    const nowMs = this.#options.clock.now();
    this.#window?.advance(nowMs);
    const window = this.#window;
    return {
      name: this.#options.name,
      state: this.state,
      forced: tag === 'forced-open' || tag === 'forced-closed',
      retryAfterMs: this.retryAfterMs,
      failuresInRow: this.#failuresInRow,
      probing: this.#phase.tag === 'half-open' ? this.#phase.trying : 0,
      window: window && { calls: window.calls, failures: window.failures, slow: window.slow },
      opened: this.#opened,
      refused: this.#refused,
      lastFailure: this.#lastError === undefined ? undefined : messageOf(this.#lastError),
    };
  }

  #enter(caller: string | undefined): BreakerTicket {
    const nowMs = this.#options.clock.now();
    const phase = this.#phase;
    let waitMs = refusedForMs(phase, nowMs, this.#rules);
    if (phase.tag === 'half-open' && caller !== undefined && this.#probing.has(caller)) {
      waitMs = Math.max(0, phase.untilMs + this.#rules.resetMs(phase.round) - nowMs);
    }
    if (waitMs > 0) {
      this.#refused++;
      // A caller that is told `Infinity` would never come back, though a reset may follow soon.
      const retryAfterMs = waitMs === Number.POSITIVE_INFINITY ? this.#options.resetMs : waitMs;
      throw new CircuitOpenError(this.#options.name, retryAfterMs, this.#lastError);
    }
    this.#move('enter', nowMs);
    if (caller !== undefined && this.#phase.tag === 'half-open') this.#probing.add(caller);
    return { period: this.#period, startedMs: nowMs, caller, settled: false };
  }

  #isCurrent(ticket: BreakerTicket): boolean {
    return typeof ticket === 'number' ? ticket === this.#period : !ticket.settled && ticket.period === this.#period;
  }

  #end(ticket: BreakerTicket, verdict: Verdict, voter?: string): void {
    if (!this.#isCurrent(ticket)) return;
    if (typeof ticket !== 'number') {
      ticket.settled = true;
      this.#probing.delete(ticket.caller);
    }
    if (this.#phase.tag === 'closed') {
      if (verdict === 'failure' && voter !== undefined) this.#vote(voter);
      else if (verdict !== 'nothing') this.#count(ticket, verdict === 'failure');
    } else if (this.#phase.tag === 'half-open') {
      const alone = verdict === 'failure' && voter !== undefined && this.#isAlone(voter);
      if (verdict === 'nothing' || alone) this.#move('abandoned');
      else
        this.#move(verdict === 'answer' && !this.#isSlow(ticket, this.#options.clock.now()) ? 'succeeded' : 'failed');
    }
  }

  #vote(voter: string): void {
    const { threshold } = this.#options;
    if (this.#failuresInRow === 0) this.#votes.clear();
    if (!this.#votes.add(voter, threshold)) return;
    this.#failuresInRow++;
    if (this.#failuresInRow >= threshold && this.#votes.only(this.#failuresInRow) === undefined) this.#move('tripped');
  }

  /** Whether no other voter's probe failed since it opened. */
  #isAlone(voter: string): boolean {
    this.#votes.add(voter, Number.POSITIVE_INFINITY);
    return this.#votes.voters === 1;
  }

  #count(ticket: BreakerTicket, failed: boolean): void {
    const { threshold, failureRatio, slowCallRatio, minCalls, clock } = this.#options;
    if (failed && this.#failuresInRow === 0) this.#votes.clear();
    this.#failuresInRow = failed ? this.#failuresInRow + 1 : 0;
    let tripped = this.#failuresInRow >= threshold;
    const window = this.#window;
    if (window !== undefined) {
      const nowMs = clock.now();
      window.add(nowMs, failed, this.#isSlow(ticket, nowMs));
      const enough = window.calls >= minCalls;
      tripped ||= enough && window.failures / window.calls >= failureRatio;
      tripped ||= enough && this.#timed && window.slow / window.calls >= slowCallRatio;
    }
    if (tripped) this.#move('tripped');
  }

  #isSlow(ticket: BreakerTicket, nowMs: number): boolean {
    return this.#timed && typeof ticket !== 'number' && nowMs - ticket.startedMs >= this.#options.slowCallMs;
  }

  #judge(error: unknown): Verdict {
    const { isFailure, isAnswer, countTimeouts, logger, name } = this.#options;
    try {
      const verdict = isFailure === undefined ? defaultVerdict(error, countTimeouts) : undefined;
      if (verdict === 'failure' || checkAtOnce('isFailure', isFailure?.(error))) return 'failure';
      if (isAnswer !== undefined) return checkAtOnce('isAnswer', isAnswer(error)) ? 'answer' : 'nothing';
      return verdict ?? 'answer';
    } catch (thrown) {
      logger.error({ error: thrown, part: name }, 'isFailure or isAnswer of a circuit breaker failed');
      return 'nothing';
    }
  }

  #forget(): void {
    this.#failuresInRow = 0;
    this.#window?.clear();
  }

  #move(event: BreakerEvent, nowMs = this.#options.clock.now()): void {
    const before = this.#phase;
    const stateBefore = this.state;
    this.#phase = next(before, event, nowMs, this.#rules);
    if (this.#phase.tag === before.tag) return;
    this.#period++;
    this.#probing.clear();
    if (this.#phase.tag === 'closed') this.#forget();
    if (event === 'tripped' || event === 'failed') {
      this.#opened++;
      this.#votes.clear();
    }
    const { onChange, logger, name } = this.#options;
    if (this.state === stateBefore) return;
    if (onChange === undefined) return;
    tellListener(onChange, this.state, (error) =>
      logger.error({ error, part: name }, 'onChange of a circuit breaker failed'),
    );
  }
}
