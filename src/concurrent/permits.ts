import type { Clock } from '../core/clock.js';
import { RateLimitedError } from '../core/errors.js';
import { tellListener } from '../core/events.js';
import { checkAtOnce } from '../core/options.js';
import { type WaitBounds, within } from '../core/time/within.js';
import { underAll } from '../core/wait/underAll.js';
import type { LimitedCall, Limiter, LimiterAcquireOptions } from './limiter/Limiter.js';
import { shareOf } from './Shares.js';

/** What a caller asks of a limiter, which may be a user's own: one that throws, rejects or hangs fails a call at most. */

/** Time that a call may still spend. */
interface TimeLeft {
  within(what: string, ms: number, nowMs: number): number;
  spent(what: string): Error;
}

/** @throws OptionError for a limiter whose answer is a promise: that would count as a permit, and its refusal as none. */
const granted = (limiter: Limiter): boolean => checkAtOnce('limiter.tryAcquire', limiter.tryAcquire());

/**
 * Has a limiter grant the call, now or after a wait within its time; undefined when nothing has to be waited for. The
 * wait ends with the call's own signal, and with `stopped`: a server that is ended keeps no caller waiting.
 */
export function permit(
  limiter: Limiter | undefined,
  server: string,
  signal: AbortSignal | undefined,
  stopped: AbortSignal,
  left: TimeLeft | undefined,
  clock: Clock,
  caller?: LimitedCall['caller'],
): Promise<void> | undefined {
  if (limiter === undefined || granted(limiter)) return undefined;
  const acquireTimeoutMs = left?.within(server, Number.POSITIVE_INFINITY, clock.now());
  const bounds = { clock, timeoutMs: acquireTimeoutMs ?? Number.POSITIVE_INFINITY, late: () => left?.spent(server) };
  const wanted = { acquireTimeoutMs, owner: shareOf(caller) };
  return waitForPermit(limiter, [signal, stopped], wanted, bounds);
}

/** For a call that may be left out. @throws RateLimitedError */
export function freePermit(limiter: Limiter, server: string): void {
  if (!granted(limiter)) throw new RateLimitedError(`server ${server}`, 'local', undefined);
}

/** A limiter is not waited for that does not obey its signal. */
function waitForPermit(
  limiter: Limiter,
  signals: readonly (AbortSignal | undefined)[],
  wanted: LimiterAcquireOptions,
  bounds: WaitBounds,
): Promise<void> {
  return underAll(signals, (signal) =>
    within(Promise.resolve(limiter.acquire({ ...wanted, signal })), { ...bounds, signal }),
  );
}

/**
 * An upstream that says how long it wants to be left alone is left alone by all its callers. A limiter that cannot be paused
 * changes nothing of how the call failed: `onFailure` is told.
 */
export function pauseAfter(
  error: unknown,
  limiter: () => Limiter | undefined,
  onFailure: (error: unknown, what: string) => void,
): void {
  if (!(error instanceof RateLimitedError) || error.source !== 'upstream' || error.retryAfterMs === undefined) return;
  tellListener(
    (ms) => limiter()?.pauseFor(ms),
    error.retryAfterMs,
    (failure) => onFailure(failure, 'limiter.pauseFor'),
  );
}
