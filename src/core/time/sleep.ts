import type { Clock } from '../clock.js';

export interface SleepOptions {
  readonly signal?: AbortSignal | undefined;
  /** Whether the timer holds the process open, as one that is awaited must. @defaultValue true */
  readonly ref?: boolean;
}

/** Resolves after `ms` on that clock, never early; rejects with the signal's reason as soon as it aborts. */
export function sleep(clock: Clock, ms: number, { signal, ref = true }: SleepOptions = {}): Promise<void> {
  return new Promise((resolve, reject) => {
    const dueMs = clock.now() + ms;
    const onAbort = (): void => {
      timer.cancel();
      reject(signal?.reason);
    };
    // A timer may fire up to 1 ms early: then it is armed again for the rest.
    const onTimer = (): void => {
      const restMs = dueMs - clock.now();
      if (restMs > 0) {
        timer = clock.setTimer(onTimer, restMs, { ref });
        return;
      }
      signal?.removeEventListener('abort', onAbort);
      resolve();
    };
    let timer = clock.setTimer(onTimer, ms, { ref });
    if (signal?.aborted === true) onAbort();
    else signal?.addEventListener('abort', onAbort, { once: true });
  });
}
