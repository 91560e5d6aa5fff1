import type { CallResult } from '../../connection/calls/CallResult.js';
import type { Middleware, MiddlewareCall } from '../../connection/calls/Middleware.js';
import { timesOf } from '../../connection/calls/MiddlewareChain.js';
import { systemClock } from '../../core/clock.js';
import { AcquireTimeoutError, RequestTimeoutError } from '../../core/errors.js';
import { checkMs, withDefaults } from '../../core/options.js';
import { withDeadline } from '../../core/time/within.js';
import { SingleFlight } from '../../core/wait/SingleFlight.js';
import { keyOf } from '../keyOf.js';

export interface CoalesceOptions {
  /** Which calls may share one answer. @defaultValue lists, reads, and what its caller says may run twice */
  readonly when?: (call: MiddlewareCall) => boolean;
}

const READS: ReadonlySet<string> = new Set([
  'server/discover',
  'tools/list',
  'prompts/list',
  'prompts/get',
  'resources/list',
  'resources/templates/list',
  'resources/read',
  'completion/complete',
]);

/** Whether a call changes nothing, by its method or its caller's word. */
export const isRead = (call: MiddlewareCall): boolean => READS.has(call.method) || call.idempotent;

export const COALESCE_DEFAULTS = Object.freeze({ when: isRead });

/**
 * Sends equal calls that are under way at the same time once: of one principal, session and server, with the same params and times.
 * Progress goes to the first of them. A caller that gives up, or whose `deadlineMs` is over, leaves alone; the call ends with the last.
 * Where it took too long, those that came after it was sent have it sent once more. @throws OptionError
 */
export function coalesce(given: CoalesceOptions = {}): Middleware {
  const { when } = withDefaults('coalesce', given, COALESCE_DEFAULTS, {});
  const flights = new SingleFlight();
  return (call, next) => {
    if (call.kind !== 'request' || call.from !== 'client' || !when(call)) return next();
    const { deadlineMs, method, server = 'gateway', signal } = call;
    const params = deadlineMs === 0 ? undefined : keyOf(call);
    if (params === undefined) return next();
    const key = `${params} ${timesOf(call)}`;
    // Each caller's own, not one of those who share the call.
    const unbounded = deadlineMs !== undefined && { deadlineMs: Number.POSITIVE_INFINITY };
    const send = (signal: AbortSignal): Promise<CallResult> => next({ signal, ...unbounded });
    const share = async (own: AbortSignal): Promise<CallResult> => {
      const joined = flights.has(key);
      try {
        return await flights.run(key, send, own);
      } catch (error) {
        // It was under way for longer than its caller waited for it; the next one is not.
        if (joined && isLate(error) && !own.aborted) return flights.run(key, send, own);
        throw error;
      }
    };
    if (deadlineMs === undefined) return share(signal);
    checkMs('deadlineMs', deadlineMs, { infinity: true });
    const late = (): Error => new RequestTimeoutError(server, method, deadlineMs);
    return withDeadline({ clock: systemClock, timeoutMs: deadlineMs, late, signal }, share);
  };
}

const isLate = (error: unknown): boolean =>
  error instanceof RequestTimeoutError || error instanceof AcquireTimeoutError;
