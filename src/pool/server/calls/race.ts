import type { Clock } from '../../../core/clock.js';

/** `promise`, or a rejection with the signal's reason, or with `late()` after `timeoutMs`; nothing is left armed. */
export function race<T>(
  promise: Promise<T>,
  bounds: {
    readonly clock: Clock;
    readonly timeoutMs: number;
    readonly late: () => unknown;
    readonly signal?: AbortSignal | undefined;
  },
): Promise<T> {
  const { clock, timeoutMs, late, signal } = bounds;
  return new Promise<T>((resolve, reject) => {
    const onAbort = (): void => done(() => reject(signal?.reason));
    const timer = clock.setTimer(() => done(() => reject(late())), timeoutMs, { ref: true });
    const done = (settle: () => void): void => {
      timer.cancel();
      signal?.removeEventListener('abort', onAbort);
      settle();
    };
    if (signal?.aborted === true) onAbort();
    else signal?.addEventListener('abort', onAbort, { once: true });
    promise.then(
      (value) => done(() => resolve(value)),
      (error: unknown) => done(() => reject(error)),
    );
  });
}
