import { type Clock, systemClock } from '../clock.js';
import { thrown } from '../errors/thrown.js';
import { RequestTimeoutError } from '../errors.js';
import { AbortHub, type AbortWatch } from '../wait/AbortHub.js';

/** Many wait under one signal: Node takes eleven listeners of one for a leak. */
const waits = new AbortHub();

/** The bounds of a wait. */
export interface WaitBounds {
  readonly clock: Clock;
  /** Longest wait in ms; `Infinity`, the default, sets no timer. */
  readonly timeoutMs?: number;
  /** The error of a wait that took too long. */
  readonly late?: () => unknown;
  readonly signal?: AbortSignal | undefined;
  /** Whether the timer holds the process open, as one that is awaited must. @defaultValue true */
  readonly ref?: boolean;
}

/**
 * Settles as `promise` does, or rejects with the signal's reason, or with `late()` after `timeoutMs`, whichever comes
 * first. Afterwards no timer is armed and no listener is left. A promise that loses may still reject: nothing is unhandled.
 */
export function within<T>(promise: PromiseLike<T>, bounds: WaitBounds): Promise<T> {
  const { clock, timeoutMs = Number.POSITIVE_INFINITY, late, signal, ref = true } = bounds;
  return new Promise<T>((resolve, reject) => {
    const onAbort = (reason: unknown): void => {
      release();
      reject(reason);
    };
    const timer =
      timeoutMs === Number.POSITIVE_INFINITY
        ? undefined
        : clock.setTimer(
            () => {
              release();
              reject(late?.());
            },
            timeoutMs,
            { ref },
          );
    const release = (): void => {
      timer?.cancel();
      watch?.[Symbol.dispose]();
    };
    let watch: AbortWatch | undefined;
    if (signal?.aborted === true) onAbort(thrown(signal.reason));
    else if (signal !== undefined) watch = waits.watch(signal, onAbort);
    const onError = (error: unknown): void => {
      release();
      reject(error);
    };
    try {
      promise.then((value) => {
        release();
        resolve(value);
      }, onError);
    } catch (error) {
      // One of a user's own making.
      onError(error);
    }
  });
}

/**
 * Runs `work` with a signal that aborts with `late()` after `timeoutMs`, or with the outer signal's reason, and settles
 * as `work` does: for work that obeys its signal. Afterwards no timer is armed and no listener is left.
 */
export async function withDeadline<T>(bounds: WaitBounds, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const { clock, timeoutMs = Number.POSITIVE_INFINITY, late, signal, ref = true } = bounds;
  const controller = new AbortController();
  const onAbort = (reason: unknown): void => controller.abort(reason);
  let watch: AbortWatch | undefined;
  if (signal?.aborted === true) onAbort(thrown(signal.reason));
  else if (signal !== undefined) watch = waits.watch(signal, onAbort);
  const timer = clock.setTimer(() => controller.abort(late?.()), timeoutMs, { ref });
  try {
    return await work(controller.signal);
  } finally {
    timer.cancel();
    watch?.[Symbol.dispose]();
  }
}

/** The same for a user's function, which need not obey its signal: it is abandoned, and what it still settles with is no one's. */
export function orAbandoned<T>(bounds: WaitBounds, work: (signal: AbortSignal) => PromiseLike<T> | T): Promise<T> {
  return withDeadline(bounds, (signal) => {
    const own = async (): Promise<T> => work(signal);
    return within(own(), { clock: bounds.clock, signal });
  });
}

/**
 * The same with the system's clock, and the error of `AbortSignal.timeout`, which must not stand in an `AbortSignal.any`: Node 20 may
 * collect such a signal as garbage before it aborts, so that the wait has no end.
 */
export function withTimeoutSignal<T>(
  timeoutMs: number,
  signal: AbortSignal | undefined,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const late = (): unknown => new DOMException('The operation was aborted due to timeout', 'TimeoutError');
  return withDeadline({ clock: systemClock, timeoutMs, signal, late }, work);
}

/** The longest that a part which a program lent is waited for where no option says so, in ms. */
const LENT_MS = 5_000;

type Method = (...given: unknown[]) => unknown;

/**
 * Methods of a part that a program lent (a store, a link), each with an end: one that has not answered in time, or throws, rejects. What is
 * asked of it next is asked all the same.
 */
export function lent<T extends object, K extends keyof T>(
  what: string,
  part: T,
  methods: readonly K[],
  { clock, timeoutMs = LENT_MS, signal }: Pick<WaitBounds, 'clock' | 'timeoutMs' | 'signal'>,
): Pick<T, K> {
  const bounded = (name: K): Method => {
    const late = (): Error => new RequestTimeoutError(what, String(name), timeoutMs);
    const ask = async (given: unknown[]): Promise<unknown> => Reflect.apply(part[name] as Method, part, given);
    return (...given) => within(ask(given), { clock, timeoutMs, late, signal });
  };
  return Object.fromEntries(methods.map((name) => [name, bounded(name)])) as unknown as Pick<T, K>;
}
