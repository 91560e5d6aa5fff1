import { hedge } from '../concurrent/balance/hedge.js';
import { LatencyWindow } from '../concurrent/balance/LatencyWindow.js';
import type { BalancerPick } from '../concurrent/balance/pick/BalancerPick.js';
import { RetryBudget } from '../concurrent/balance/RetryBudget.js';
import { type Caller, callerName } from '../connection/calls/Caller.js';
import { endOf, neverRan, ProtocolError, ServerStoppedError } from '../core/errors.js';
import { type RefusableCall, Refusals } from './Refusals.js';
import {
  aside,
  checkResult,
  endAnswered,
  endFailed,
  failureOf,
  isLate,
  type RoutedCall,
  type RoutedOptions,
  type RouterCounts,
  type RouterOptions,
} from './routes.js';
import { Shadow } from './Shadow.js';
import { hashKey, SEVERAL } from './Stickiness.js';
import type { RoutedServer, Target } from './Target.js';
import { leftOf, OTHER_AFTER_MS, type Walk } from './walk.js';

/** Retries of one call that may have run already, hedges not counted. */
const MAX_REPEATS = 2;

const SAME_TASK = 'several of its targets gave the same task id, so that whose task is meant cannot be known';

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

  /**
   * Where a lease, a subscription, a notification or a call of the caller goes. `tried`: where it need not be tried again. `starts`: it may have to
   * wait for a start there.
   */
  choose(
    caller: Caller | undefined,
    tried: ReadonlySet<string>,
    call?: RefusableCall,
  ): { target: Target<S>; pick: BalancerPick<Target<S>> | undefined; starts: boolean } | undefined {
    const { sharing, sticky, targets } = this.#options;
    if (sharing === 'bound') {
      const session = sticky.session(caller);
      if (session !== undefined) {
        // Its calls are counted where it is; one that is drained is out of the balance.
        const { target } = session;
        if (tried.has(target.id)) return undefined;
        return { target, pick: targets.balancer.pick({ exclude: (id) => id !== target.id }), starts: false };
      }
    }
    const avoids = call && this.#avoider(call);
    const wanted = { key: hashKey(caller), exclude: (id: string): boolean => tried.has(id), avoids };
    const pick = targets.pick(wanted);
    if (pick === undefined) return undefined;
    const { target } = pick;
    const seen = this.#options.plain(caller);
    const state = target.server.stateFor(seen);
    // Nothing waits for a start while another target is up: it goes on beside, and is begun again after a failure. A session begins with its own.
    const comes = sharing === 'bound' ? state === 'starting' : state !== 'ready' && state !== 'idle';
    const other = comes ? targets.pickUp(wanted, seen) : undefined;
    if (other === undefined) {
      if (sharing === 'bound') sticky.bind(caller, target);
      return { target, pick, starts: sharing !== 'bound' && state !== 'ready' };
    }
    pick.withdrawn();
    if (sharing === 'bound') sticky.bind(caller, other.target);
    else target.server.begin(seen);
    return { target: other.target, pick: other, starts: false };
  }

  /** Whether what failed on `target` may be tried on another; a session that never began there is free to go. */
  leaves(error: unknown, target: Target<S>, caller: Caller | undefined): boolean {
    const { sharing, sticky, targets } = this.#options;
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
    if ((failure === 'unsent' || failure === 'unreached') && targets.isGone(target)) {
      sticky.unbind(caller ?? {}, target);
      this.#options.onLost(target, caller);
    }
    return false;
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
    const walk: Walk = { tried: new Set(), late: new Set(), untilMs, acquireUntilMs, told: undefined };
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
      return this.#answered(call, await call.send(target.server, call.options), target, pick);
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
      const other = number === 1 ? undefined : aside(server, leftOf(options, walk, this.#options), signal);
      const own = other?.options ?? { ...options, signal };
      const result = await this.#walk(call, own, walk, () => winner !== 0 && winner !== number);
      other?.taken(result);
      if (winner === 0) winner = number;
      if (winner === number && number > 1) this.#hedgesWon++;
      return result;
    };
    const budget = this.#budget;
    return hedge(attempt, {
      after,
      latencies: this.#latencies,
      budget: { deposit: () => budget.deposit(), tryWithdraw: () => budget.tryWithdraw(callerName(options.caller)) },
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
    let again = walk.told !== undefined;
    const refusable: RefusableCall = { method: call.method, params: call.params, caller: given.caller };
    const caller = callerName(given.caller);
    for (let repeats = 0; ; ) {
      const chosen = this.choose(given.caller, walk.tried, refusable);
      if (chosen === undefined) {
        if (walk.late.size === 0) throw walk.told ?? new ServerStoppedError(server);
        for (const id of walk.late) walk.tried.delete(id);
        walk.late.clear();
        continue;
      }
      const { target, pick } = chosen;
      walk.tried.add(target.id);
      const elsewhere = walk.late.size > 0 || targets.hasWell(walk.tried, this.#avoider(refusable));
      const yields = chosen.starts && elsewhere;
      const measured = targets.canary !== undefined && outrun === undefined;
      const startedMs = measured ? clock.now() : 0;
      try {
        const left = yields || again ? leftOf(given, walk, this.#options, yields ? OTHER_AFTER_MS : undefined) : given;
        const own = elsewhere ? { ...left, sessionWaitMs: OTHER_AFTER_MS } : left;
        const answer = await this.#answered(call, await call.send(target.server, own), target, pick);
        // A hedge records what it waited for by itself.
        if (measured) this.#latencies.record(clock.now() - startedMs);
        return answer;
      } catch (error) {
        again = true;
        const nowMs = clock.now();
        if (isLate(error, yields) && nowMs < walk.untilMs && nowMs < walk.acquireUntilMs) {
          pick?.withdrawn();
          walk.late.add(target.id);
          // The next of its kind would wait as long.
          if (!yields) this.#refusals.failed(target.id, refusable, error, { lateMs: OTHER_AFTER_MS });
          continue;
        }
        const lost = given.signal?.aborted === true && outrun?.() === true;
        if (lost) pick?.outrun();
        else this.failed(target, pick, error, given, refusable);
        walk.told = endOf(walk.told, error);
        if (!this.leaves(error, target, given.caller) || given.signal?.aborted === true || nowMs >= walk.untilMs)
          throw walk.told;
        const failure = failureOf(error);
        if (failure === 'unknown' && (!call.repeatable || ++repeats > MAX_REPEATS)) throw walk.told;
        if (!this.#hasOther(walk)) throw walk.told;
        // Time in which a target had the call was none of waiting for one.
        if (failure !== 'unreached') walk.acquireUntilMs = nowMs + this.acquireMs(given);
        else if (nowMs >= walk.acquireUntilMs) throw walk.told;
        if ((failure === 'unknown' || failure === 'refused') && !this.#budget.tryWithdraw(caller)) throw walk.told;
        this.#retries++;
        call.onRetry(error);
      }
    }
  }

  /** What went to a target failed there. */
  failed(
    { id }: Target<S>,
    pick: BalancerPick<Target<S>> | undefined,
    error: unknown,
    options: RoutedOptions,
    call: RefusableCall,
  ): void {
    this.#refusals.failed(id, call, error, endFailed(pick, error, options));
  }

  /** How long a call, lease or subscription may wait for all targets together: after one that is silent there is time for another. */
  acquireMs({ acquireTimeoutMs }: { readonly acquireTimeoutMs?: number | undefined }): number {
    return acquireTimeoutMs ?? 2 * this.#options.startTimeoutMs;
  }

  #avoider(call: RefusableCall): (id: string) => boolean {
    return (id) => this.#refusals.avoids(id, call);
  }

  #hasOther({ tried, late }: Walk): boolean {
    return late.size > 0 || this.#options.targets.main.some(({ id, weight }) => weight > 0 && !tried.has(id));
  }

  /** The answer as its caller is to get it. @throws ProtocolError for one that is none */
  #answered(
    { method, params, options }: RoutedCall<S, O>,
    result: unknown,
    target: Target<S>,
    pick: BalancerPick<Target<S>> | undefined,
  ): unknown {
    const { server, sticky, sharing } = this.#options;
    checkResult(server, method, result);
    endAnswered(pick, method, result, options);
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
