import type { Clock } from '../../core/clock.js';
import { RequestTimeoutError } from '../../core/errors.js';

export interface WithinOptions {
  readonly clock: Clock;
  readonly timeoutMs: number;
  /** Aborts it sooner. */
  readonly signal?: AbortSignal;
}

/** Runs `work` with a signal that aborts after `timeoutMs`; the timer is gone when it ends. */
export async function within<T>(
  server: string,
  method: string,
  { clock, timeoutMs, signal }: WithinOptions,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  const onAbort = (): void => controller.abort(signal?.reason);
  const onTimeout = (): void => controller.abort(new RequestTimeoutError(server, method, timeoutMs));
  if (signal?.aborted === true) onAbort();
  signal?.addEventListener('abort', onAbort);
  const timer = clock.setTimer(onTimeout, timeoutMs, { ref: true });
  try {
    return await work(controller.signal);
  } finally {
    timer.cancel();
    signal?.removeEventListener('abort', onAbort);
  }
}
