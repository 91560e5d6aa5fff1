import type { BalancerPick } from '../concurrent/balance/Balancer.js';
import { hedge } from '../concurrent/balance/hedge.js';
import { LatencyWindow } from '../concurrent/balance/LatencyWindow.js';
import { RetryBudget } from '../concurrent/balance/RetryBudget.js';
import { type Caller, callerName } from '../connection/calls/Caller.js';
import { AcquireTimeoutError, endOf, neverRan, ProtocolError, ServerStoppedError } from '../core/errors.js';
import { type RefusableCall, Refusals } from './Refusals.js';
import { aside, endFailed, failureOf, type RoutedCall, type RoutedOptions, type RouterOptions } from './routes.js';
import { Shadow } from './Shadow.js';
import { SEVERAL, sessionKey } from './Stickiness.js';
import type { RoutedServer, Target } from './Target.js';

/** Retries of one call that may have run already, hedges not counted. */
const MAX_REPEATS = 2;

const SAME_TASK = 'several of its targets gave the same task id, so that whose task is meant cannot be known';

/** What a router has counted. */
export interface RouterCounts {
  /** Attempts on another target after one that failed. */
  readonly retries: number;
  /** Retries and hedges that the budget refused. */
  readonly refusedRetries: number;
  readonly hedges: number;
  /** Hedges that answered first. */
  readonly hedgesWon: number;
}

interface Walk {
  /** Targets that were tried, by all attempts of one call together. */
  readonly tried: Set<string>;
  /** Clock ms at which the call is over. */
  readonly untilMs: number;
  /** Clock ms at which it has waited as long as it may for a target that takes it. */
  acquireUntilMs: number;
  /** What the call ends with, as far as its attempts went. */
  told: unknown;
}

/**
 * Sends each call to one of several targets, and to another where the first fails in a way that allows it: what provably never
 * ran may go anywhere, what may have run only if it may be repeated, and then within a budget. A session's calls stay where its
 * session is.
 */
export class Router<S extends RoutedServer, O extends RoutedOptions> {
  readonly shadow: Shadow<S, O>;
  readonly #options: RouterOptions<S>;
  readonly #latencies: LatencyWindow;
  readonly #refusals: Refusals;
  #budget: RetryBudget;
  #ratio: number | undefined;
  #retries = 0;
  #hedges = 0;
  #hedgesWon = 0;

  constructor(options: RouterOptions<S>) {
    this.#options = options;
    const { clock } = options;
    this.#latencies = new LatencyWindow({ clock });
    this.#budget = new RetryBudget({ clock });
    this.#refusals = new Refusals(clock);
    this.shadow = new Shadow(options, this.#refusals);
    this.update();
  }

  get counts(): RouterCounts {
    const { refused } = this.#budget.inspect();
    return { retries: this.#retries, refusedRetries: refused, hedges: this.#hedges, hedgesWon: this.#hedgesWon };
  }

  /** The config of the targets is another. */
  update(): void {
    const { clock, targets } = this.#options;
    const { retryRatio = 0.2 } = targets.config;
    if (retryRatio === this.#ratio) return;
    this.#ratio = retryRatio;
    this.#budget = new RetryBudget({ clock, retryRatio, ...(retryRatio === 0 && { minRetriesPerSec: 0 }) });
  }

  /** Where a lease, a subscription, a notification or a call of the caller goes. `tried`: where it need not be tried again. */
  choose(
    caller: Caller | undefined,
    tried: ReadonlySet<string>,
    call?: RefusableCall,
  ): { target: Target<S>; pick: BalancerPick<Target<S>> | undefined } | undefined {
    const { sharing, sticky, targets } = this.#options;
    if (sharing === 'bound') {
      const session = sticky.session(caller);
      if (session !== undefined) {
        // Its calls are counted where it is; one that is drained is out of the balance.
        const { target } = session;
        if (tried.has(target.id)) return undefined;
        return { target, pick: targets.balancer.pick({ exclude: (id) => id !== target.id }) };
      }
    }
    const avoids = call && ((id: string): boolean => this.#refusals.avoids(id, call));
    const pick = targets.pick({ key: keyOf(caller), exclude: (id) => tried.has(id), avoids });
    if (pick === undefined) return undefined;
    if (sharing === 'bound') sticky.bind(caller, pick.target);
    return { target: pick.target, pick };
  }

  /** Whether what failed on `target` may be tried on another; a session that never began there is free to go. */
  leaves(error: unknown, target: Target<S>, caller: Caller | undefined): boolean {
    const { sharing, sticky } = this.#options;
    const failure = failureOf(error);
    if (sharing === 'shared') return failure !== 'stands';
    if (sharing === 'leased') return failure === 'unreached';
    const session = sticky.session(caller);
    if (session?.target !== target) return false;
    if (failure === 'unreached' && !session.established) {
      sticky.unbind(caller ?? {}, target);
      return true;
    }
    // It was there: an answer, a timeout and an abort show as much as an outcome that is not known.
    if (failure !== 'unreached' && failure !== 'unsent' && !neverRan(error)) session.established = true;
    // This call is not sent to a session that it was not made for; the next one begins another.
    if ((failure === 'unsent' || failure === 'unreached') && this.#isGone(target)) {
      sticky.unbind(caller ?? {}, target);
      this.#options.onLost(target, caller);
    }
    return false;
  }

  /** Whether it is left alone for its failures while others are not. */
  #isGone(target: Target<S>): boolean {
    const health = this.#options.targets.balancer.inspect();
    const out = new Set(health.filter((each) => each.health?.ejected === true).map(({ id }) => id));
    const gone = (each: Target<S>): boolean => out.has(each.id) || each.server.refuses;
    return gone(target) && this.#options.targets.main.some((each) => each !== target && each.weight > 0 && !gone(each));
  }

  request(call: RoutedCall<S, O>): Promise<unknown> {
    const { targets, sticky, sharing } = this.#options;
    const { options, params } = call;
    const bound = sticky.targetOf(params, options.caller);
    if (bound === SEVERAL) return Promise.reject(new ProtocolError(this.#options.server, SAME_TASK));
    if (bound !== undefined) return this.#pinned(call, bound);
    if (sharing !== 'shared' || !call.repeatable || (targets.mirror ?? targets.canary) === undefined) {
      return this.#send(call, options);
    }
    const run = (signal = options.signal): Promise<unknown> =>
      this.#send(call, signal === options.signal ? options : ({ ...options, signal } as O));
    return this.shadow.request(call, run, () => this.#mainAfterMs());
  }

  /** To the targets, hedged where that is asked for and allowed. */
  #send(call: RoutedCall<S, O>, options: O): Promise<unknown> {
    const { targets, sharing, clock } = this.#options;
    const { hedge: hedged } = targets.config;
    const untilMs = clock.now() + (options.deadlineMs ?? Number.POSITIVE_INFINITY);
    const acquireUntilMs = clock.now() + this.acquireMs(options);
    const walk: Walk = { tried: new Set(), untilMs, acquireUntilMs, told: undefined };
    if (hedged !== undefined && call.repeatable && sharing === 'shared') {
      return this.#hedged(call, options, hedged.after, walk);
    }
    this.#budget.deposit();
    return this.#walk(call, options, walk, undefined);
  }

  /** To where an earlier answer belongs, and nowhere else. */
  async #pinned(call: RoutedCall<S, O>, target: Target<S>): Promise<unknown> {
    const pick = this.#options.targets.balancer.pick({ exclude: (id) => id !== target.id });
    try {
      const result = await call.send(target.server, call.options);
      pick?.succeeded(callerName(call.options.caller));
      return this.#answered(call, result, target);
    } catch (error) {
      endFailed(pick, error, call.options);
      throw error;
    }
  }

  #hedged(call: RoutedCall<S, O>, options: O, after: number | `p${number}`, walk: Walk): Promise<unknown> {
    const { clock, server } = this.#options;
    let winner = 0;
    const attempt = async (signal: AbortSignal, number: number): Promise<unknown> => {
      if (number > 1) this.#hedges++;
      // What a server asks or tells while it runs is heard from the first alone.
      const other = number === 1 ? undefined : aside(server, this.#left(options, walk), signal);
      const own = other?.options ?? { ...options, signal };
      const result = await this.#walk(call, own, walk, () => winner !== 0 && winner !== number);
      other?.taken(result);
      if (winner === 0) winner = number;
      if (winner === number && number > 1) this.#hedgesWon++;
      return result;
    };
    return hedge(attempt, {
      after,
      latencies: this.#latencies,
      budget: this.#budget,
      clock,
      ...(options.signal && { signal: options.signal }),
    }).catch((error: unknown) => {
      // The attempt that failed first may be the one that never ran.
      throw endOf(walk.told, error);
    });
  }

  /** From target to target until one answers, or the failure is one that stands. `outrun`: another attempt has answered. */
  async #walk(call: RoutedCall<S, O>, given: O, walk: Walk, outrun: (() => boolean) | undefined): Promise<unknown> {
    const { server, clock, targets } = this.#options;
    const refusable: RefusableCall = { method: call.method, params: call.params, caller: given.caller };
    for (let repeats = 0; ; ) {
      const chosen = this.choose(given.caller, walk.tried, refusable);
      if (chosen === undefined) throw walk.told ?? new ServerStoppedError(server);
      const { target, pick } = chosen;
      walk.tried.add(target.id);
      const measured = targets.canary !== undefined && outrun === undefined;
      const startedMs = measured ? clock.now() : 0;
      try {
        const result = await call.send(target.server, walk.told === undefined ? given : this.#left(given, walk));
        pick?.succeeded(callerName(given.caller));
        // A hedge records what it waited for by itself.
        if (measured) this.#latencies.record(clock.now() - startedMs);
        return this.#answered(call, result, target);
      } catch (error) {
        const lost = given.signal?.aborted === true && outrun?.() === true;
        if (lost) pick?.outrun();
        const voter = lost ? undefined : endFailed(pick, error, given);
        this.#refusals.failed(target.id, refusable, error, voter);
        walk.told = endOf(walk.told, error);
        if (!this.leaves(error, target, given.caller) || given.signal?.aborted === true || clock.now() >= walk.untilMs)
          throw walk.told;
        const failure = failureOf(error);
        if (failure === 'unknown' && (!call.repeatable || ++repeats > MAX_REPEATS)) throw walk.told;
        if (!this.#hasOther(walk)) throw walk.told;
        // Time in which a target had the call was none of waiting for one.
        if (failure !== 'unreached') walk.acquireUntilMs = clock.now() + this.acquireMs(given);
        else if (clock.now() >= walk.acquireUntilMs) throw walk.told;
        if ((failure === 'unknown' || failure === 'refused') && !this.#budget.tryWithdraw()) throw walk.told;
        this.#retries++;
        call.onRetry(error);
      }
    }
  }

  /** How long a call, lease or subscription may wait for all targets together: after one that is silent there is time for another. */
  acquireMs({ acquireTimeoutMs }: { readonly acquireTimeoutMs?: number | undefined }): number {
    return acquireTimeoutMs ?? 2 * this.#options.startTimeoutMs;
  }

  #hasOther({ tried }: Walk): boolean {
    return this.#options.targets.main.some(({ id, weight }) => weight > 0 && !tried.has(id));
  }

  /** What is left of its time for another attempt. @throws AcquireTimeoutError */
  #left(given: O, { untilMs, acquireUntilMs }: Walk): O {
    const nowMs = this.#options.clock.now();
    const acquireTimeoutMs = Math.max(0, acquireUntilMs - nowMs);
    // By itself an attempt takes no longer than a start.
    const bounded = given.acquireTimeoutMs !== undefined || acquireTimeoutMs < this.#options.startTimeoutMs;
    const left = bounded ? { ...given, acquireTimeoutMs } : given;
    if (untilMs === Number.POSITIVE_INFINITY) return left;
    const deadlineMs = untilMs - nowMs;
    if (deadlineMs > 0) return { ...left, deadlineMs };
    const none = { live: 0, creating: 0, dying: 0, slots: 0, inUse: 0, waiting: 0 };
    throw new AcquireTimeoutError(`server ${this.#options.server}: the call's time`, given.deadlineMs ?? 0, none);
  }

  /** The answer as its caller is to get it. */
  #answered({ method, params, options }: RoutedCall<S, O>, result: unknown, target: Target<S>): unknown {
    const { server, sticky, sharing } = this.#options;
    sticky.answered(method, params, options.caller, result, target);
    if (sharing !== 'bound')
      return method === 'tasks/list' ? sticky.ownTasks(server, options.caller, result, target) : result;
    const session = sticky.session(options.caller);
    if (session?.target === target) session.established = true;
    return result;
  }

  /** When the targets are asked besides a canary that is slow: after what one call in twenty takes with them. */
  #mainAfterMs(): number {
    return this.#latencies.count < 20 ? 1_000 : (this.#latencies.quantile(0.95) ?? 1_000);
  }
}

/** What `hash` goes by. */
function keyOf(caller: Caller | undefined): string | undefined {
  return caller?.key === undefined && caller?.principal === undefined ? undefined : sessionKey(caller);
}
