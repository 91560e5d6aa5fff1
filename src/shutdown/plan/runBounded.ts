import { CLOSE_DEFAULTS } from '../../core/close/CloseScope.js';
import type { GracePeriod } from '../../core/close/GracePeriod.js';
import { thrown } from '../../core/errors/thrown.js';
import { ShutdownTimeoutError } from '../../core/errors.js';
import type { ShutdownTarget } from './steps.js';

/** How a step ended. `timeout`: it was still running when its time was over, and was abandoned. */
export type ShutdownOutcome = 'ok' | 'failed' | 'timeout';

/** What a part to close is given for its work in flight: so much that its owner's time suffices to end the rest. */
export function graceWithin(ms: number): number {
  return Math.min(CLOSE_DEFAULTS.graceMs, ms / 3);
}

export interface BoundedResult {
  readonly outcome: ShutdownOutcome;
  readonly error?: unknown;
}

export interface BoundedRun {
  readonly name: string;
  readonly target: ShutdownTarget;
  readonly reason: string;
  /** The time the target has; it may be shortened meanwhile. Disposed here. */
  readonly grace: GracePeriod;
  /** What a part to close is given for its work in flight, in ms. */
  readonly graceMs: number;
  /** Hears what an abandoned target did in the end, should it ever settle. */
  readonly onLate: (error?: unknown) => void;
}

/**
 * Runs one target within its grace; never rejects. At the end of the grace the target is told (its signal aborts, a
 * part's deadline is brought to now) and abandoned.
 */
export async function runBounded({ name, target, reason, grace, graceMs, onLate }: BoundedRun): Promise<BoundedResult> {
  const controller = new AbortController();
  const hurry = (error: ShutdownTimeoutError): void => {
    if (typeof target === 'function') controller.abort(error);
    // The first close() has this very promise, so its failure is seen there.
    else target.close({ graceMs: 0 }).catch(() => undefined);
  };
  const late = (): ShutdownTimeoutError => new ShutdownTimeoutError(name, grace.totalMs);
  grace.onShorten(() => hurry(late()));
  try {
    const { signal } = controller;
    const began =
      typeof target === 'function'
        ? target({ reason, timeoutMs: grace.remainingMs, signal })
        : target.close({ graceMs });
    if (!isThenable(began)) return { outcome: 'ok' };
    let abandoned = false;
    const ended = Promise.resolve(began).then(
      (): BoundedResult => {
        if (abandoned) onLate();
        return { outcome: 'ok' };
      },
      (cause: unknown): BoundedResult => {
        const error = thrown(cause);
        if (abandoned) onLate(error);
        return { outcome: 'failed', error };
      },
    );
    const over = grace.over.then((): BoundedResult => {
      abandoned = true;
      const error = late();
      hurry(error);
      return { outcome: 'timeout', error };
    });
    return await Promise.race([ended, over]);
  } catch (error) {
    return { outcome: 'failed', error: thrown(error) };
  } finally {
    grace[Symbol.dispose]();
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
}
