import { type Clock, systemClock, type Timer } from '../../core/clock.js';
import { OptionError } from '../../core/errors.js';
import { checkAtOnce, checkCount, checkFunction, checkMs, checkPart, withDefaults } from '../../core/options.js';
import type { LatencyWindow } from './LatencyWindow.js';
import type { RetryBudget } from './RetryBudget.js';

export interface HedgeOptions {
  /**
   * When another attempt is started while none has answered: after so many ms from 0 (0: at once, `Infinity`: never), or
   * after a quantile of `latencies`, from `'p50'` to `'p99.9'`. @defaultValue 'p95'
   */
  readonly after?: number | `p${number}`;
  /** Attempts side by side: a whole number from 1 (no hedging) to 10. @defaultValue 2 */
  readonly maxAttempts?: number;
  /** Latencies by which a quantile is told; the winner's is added. Needed for a quantile. @defaultValue none */
  readonly latencies?: LatencyWindow;
  /** Latencies without which a quantile means nothing and no hedge is made: a whole number from 1. @defaultValue 20 */
  readonly minLatencies?: number;
  /** Pays for each attempt after the first; without one every call may be hedged. @defaultValue none */
  readonly budget?: Pick<RetryBudget, 'deposit' | 'tryWithdraw'>;
  /** Aborts every attempt, and rejects with its reason. @defaultValue none */
  readonly signal?: AbortSignal | undefined;
  /** Measures time and arms timers; a `FakeClock` in tests. @defaultValue the system's clock */
  readonly clock?: Clock;
}

export const HEDGE_DEFAULTS = Object.freeze({ after: 'p95', maxAttempts: 2, minLatencies: 20 });

/**
 * Runs `fn`, and runs it again beside the first when that is slow; the first that succeeds is the answer, and the signals
 * of the others are aborted. **For idempotent work only: it may run more than once, also to its end.** An attempt that
 * fails ends the call with its error unless another is still running; when all fail, it ends with the first error.
 * Nothing is left armed, and what losers do is ignored. (J. Dean, L. A. Barroso: The tail at scale.)
 */
export function hedge<T>(
  fn: (signal: AbortSignal, attempt: number) => T | PromiseLike<T>,
  options: HedgeOptions = {},
): Promise<T> {
  try {
    return race(checkFunction('fn', fn), options);
  } catch (error) {
    return Promise.reject(error);
  }
}

/** @throws OptionError */
function race<T>(fn: (signal: AbortSignal, attempt: number) => T | PromiseLike<T>, options: HedgeOptions): Promise<T> {
  const all = withDefaults('hedge', options, HEDGE_DEFAULTS, {
    latencies: true,
    budget: true,
    signal: true,
    clock: true,
  });
  checkCount('maxAttempts', all.maxAttempts, { min: 1, max: 10 });
  checkCount('minLatencies', all.minLatencies, { min: 1 });
  if (all.latencies !== undefined) checkPart('latencies', all.latencies, ['record', 'quantile'], 'a LatencyWindow');
  if (all.budget !== undefined) checkPart('budget', all.budget, ['deposit', 'tryWithdraw'], 'a RetryBudget');
  const { latencies, budget, signal, clock = systemClock, maxAttempts } = all;
  const afterMs = delayMs(all.after, latencies, all.minLatencies);
  checkAtOnce('budget.deposit', budget?.deposit());
  return new Promise<T>((resolve, reject) => {
    const controllers: AbortController[] = [];
    let running = 0;
    let over = false;
    let timer: Timer | undefined;
    let failed: { readonly error: unknown } | undefined;
    const finish = (settle: () => void, why: unknown, winner?: AbortController): void => {
      if (over) return;
      over = true;
      timer?.cancel();
      signal?.removeEventListener('abort', onAbort);
      settle();
      for (const each of controllers) if (each !== winner) each.abort(why);
    };
    /** Parts of a user's own: what they throw is how the call ends. */
    const atOwnRisk = (run: () => void): void => {
      try {
        run();
      } catch (error) {
        finish(() => reject(error), error);
      }
    };
    const onAbort = (): void => finish(() => reject(signal?.reason), signal?.reason);
    const start = (): void => {
      const controller = new AbortController();
      controllers.push(controller);
      running++;
      const startMs = clock.now();
      const ended = (error: unknown): void => {
        running--;
        failed ??= { error };
        const { error: first } = failed;
        if (running === 0) finish(() => reject(first), first);
      };
      const answered = (value: T): void => {
        if (over) return;
        atOwnRisk(() => {
          checkAtOnce('latencies.record', latencies?.record(clock.now() - startMs));
          finish(() => resolve(value), new Error('another attempt answered first'), controller);
        });
      };
      try {
        Promise.resolve(fn(controller.signal, controllers.length)).then(answered, ended);
      } catch (error) {
        ended(error);
      }
      if (!over && controllers.length < maxAttempts) arm();
    };
    const arm = (): void => {
      if (afterMs === Number.POSITIVE_INFINITY) return;
      timer = clock.setTimer(
        () => {
          if (over) return;
          atOwnRisk(() => {
            if (budget === undefined || checkAtOnce('budget.tryWithdraw', budget.tryWithdraw())) start();
          });
        },
        afterMs,
        { ref: true },
      );
    };
    if (signal?.aborted === true) {
      onAbort();
      return;
    }
    signal?.addEventListener('abort', onAbort, { once: true });
    start();
  });
}

function delayMs(after: number | string, latencies: LatencyWindow | undefined, minLatencies: number): number {
  if (typeof after === 'number') return checkMs('after', after, { infinity: true });
  const percent = /^p(\d{2}(?:\.\d+)?)$/.exec(typeof after === 'string' ? after : '')?.[1];
  if (percent === undefined || Number(percent) < 50) {
    throw new OptionError('after', after, "milliseconds, or a quantile from 'p50' to 'p99.9'");
  }
  if (latencies === undefined) throw new OptionError('latencies', latencies, 'a LatencyWindow, for a quantile');
  if (latencies.count < minLatencies) return Number.POSITIVE_INFINITY;
  return checkAtOnce('latencies.quantile', latencies.quantile(Number(percent) / 100)) ?? Number.POSITIVE_INFINITY;
}
