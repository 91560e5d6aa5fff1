import type { Clock } from '../core/clock.js';

export interface FirstOfOptions<K, T> {
  readonly clock: Clock;
  /** How long an attempt has to itself, in ms, before the next one begins beside it. */
  readonly patienceMs: number;
  readonly signal: AbortSignal;
  /** Makes one; it obeys its signal, and may succeed too late all the same. */
  readonly attempt: (kind: K, signal: AbortSignal) => Promise<T>;
  /** Whether the next attempt is not worth it after this failure. */
  readonly isFinal: (error: unknown) => boolean;
  /** What a second one brought. It never throws. */
  readonly discard: (late: T) => void;
  /** The error for all that failed. */
  readonly failure: (failures: ReadonlyMap<K, unknown>) => unknown;
}

/**
 * The first attempt that succeeds: each begins when the one before has failed, or has taken `patienceMs`; the others are aborted then.
 * While one is under way no other's failure ends it. @throws what `failure` gives, or the signal's reason, when none is under way
 */
export function firstOf<K, T>(
  kinds: readonly K[],
  options: FirstOfOptions<K, T>,
): Promise<{ readonly kind: K; readonly result: T }> {
  const { clock, patienceMs, signal, attempt, isFinal, discard, failure } = options;
  const left = [...kinds];
  const underWay = new Set<AbortController>();
  const failures = new Map<K, unknown>();
  let timer: { cancel(): void } | undefined;
  let isOver = false;
  return new Promise((resolve, reject) => {
    const begin = (): void => {
      timer?.cancel();
      const kind = left.shift() as K;
      const own = new AbortController();
      underWay.add(own);
      if (left.length > 0) timer = clock.setTimer(begin, patienceMs);
      const made = async (): Promise<T> => attempt(kind, AbortSignal.any([own.signal, signal]));
      made().then(
        (result) => {
          underWay.delete(own);
          if (isOver) return void discard(result);
          isOver = true;
          timer?.cancel();
          for (const each of underWay) each.abort(new Error('another attempt succeeded'));
          resolve({ kind, result });
        },
        (error: unknown) => {
          underWay.delete(own);
          failures.set(kind, error);
          if (isOver || underWay.size > 0) return;
          if (left.length > 0 && !isFinal(error) && !signal.aborted) return void begin();
          timer?.cancel();
          reject(signal.aborted ? signal.reason : failure(failures));
        },
      );
    };
    begin();
  });
}
