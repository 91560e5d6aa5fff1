import { AcquireTimeoutError } from '../core/errors.js';
import type { RoutedOptions, RouterOptions } from './routes.js';
import type { RoutedServer } from './Target.js';

/** One call on its way from target to target. */
export interface Walk {
  /** Targets that were tried, by all attempts of one call together. */
  readonly tried: Set<string>;
  /** Of those the ones that were still starting when others were tried: they are tried again. */
  readonly late: Set<string>;
  /** Clock ms at which the call is over. */
  readonly untilMs: number;
  /** Clock ms at which it has waited as long as it may for a target that takes it. */
  acquireUntilMs: number;
  /** What the call ends with, as far as its attempts went. */
  told: unknown;
}

/** How long a call waits for a target that starts, or replaces its session, before another one is tried, or started, too; that goes on. */
export const OTHER_AFTER_MS = 1_000;

/** What is left of its time for another attempt, which waits for its target no longer than `startMs`. @throws AcquireTimeoutError */
export function leftOf<S extends RoutedServer, O extends RoutedOptions>(
  given: O,
  { untilMs, acquireUntilMs }: Walk,
  { clock, startTimeoutMs, server }: RouterOptions<S>,
  startMs = Number.POSITIVE_INFINITY,
): O {
  const nowMs = clock.now();
  const acquireTimeoutMs = Math.max(0, Math.min(startMs, acquireUntilMs - nowMs));
  // By itself an attempt takes no longer than a start.
  const bounded = given.acquireTimeoutMs !== undefined || acquireTimeoutMs < startTimeoutMs;
  const left = bounded ? { ...given, acquireTimeoutMs } : given;
  if (untilMs === Number.POSITIVE_INFINITY) return left;
  const deadlineMs = untilMs - nowMs;
  if (deadlineMs > 0) return { ...left, deadlineMs };
  const none = { live: 0, creating: 0, dying: 0, slots: 0, inUse: 0, waiting: 0 };
  throw new AcquireTimeoutError(`server ${server}: the call's time`, given.deadlineMs ?? 0, none);
}
