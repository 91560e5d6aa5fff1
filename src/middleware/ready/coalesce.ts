import type { CallResult } from '../../connection/calls/CallResult.js';
import type { Middleware, MiddlewareCall } from '../../connection/calls/Middleware.js';
import { timesOf } from '../../connection/calls/MiddlewareChain.js';
import { systemClock } from '../../core/clock.js';
import { AcquireTimeoutError, RequestTimeoutError } from '../../core/errors.js';
import { checkMs, withDefaults } from '../../core/options.js';
import { withDeadline } from '../../core/time/within.js';
import { SingleFlight } from '../../core/wait/SingleFlight.js';
import { keysOf } from '../keysOf.js';
import { isOnesOwnError, isRead, saidOf, UnderWay } from '../sharing.js';

export interface CoalesceOptions {
  /** Which of the lists, reads and calls of tools may share one answer; others never do. @defaultValue lists, reads, and calls of tools that their caller says may run twice */
  readonly when?: (call: MiddlewareCall) => boolean;
}

export const COALESCE_DEFAULTS = Object.freeze({ when: isRead });

/** Why one that joined a call goes by itself: its server asks the client of the call something. */
const ASKED = new Error('its client is asked something');

/**
 * Sends equal calls that are under way at the same time once: of one principal and server, and session where
 * that is `bound`, with the same params and times.
 * Progress goes to the first of them. A caller that gives up, or whose `deadlineMs` is over, leaves alone; the call ends with the last.
 * Where it took too long, those that came after it was sent have it sent once more. Where its server asks something meanwhile, or what
 * comes is for one client alone, each has its own. @throws OptionError
 */
export function coalesce(given: CoalesceOptions = {}): Middleware {
  const { when } = withDefaults('coalesce', given, COALESCE_DEFAULTS, {});
  const underWay = new UnderWay(() => new SingleFlight());
  return (call, next) => {
    if (call.from === 'server') underWay.asked(call)?.split(ASKED);
    if (call.kind !== 'request' || call.from !== 'client' || !when(call)) return next();
    const { deadlineMs, method, server = 'gateway', signal } = call;
    const keys = deadlineMs === 0 ? undefined : keysOf(call);
    if (keys === undefined) return next();
    const key = `${keys.own} ${timesOf(call)}`;
    // Each caller's own, not one of those who share the call.
    const unbounded = deadlineMs !== undefined && { deadlineMs: Number.POSITIVE_INFINITY };
    const send = (signal: AbortSignal): Promise<CallResult> => next({ signal, ...unbounded });
    /** Undefined: it is to go by itself. */
    const share = (own: AbortSignal, again: boolean): Promise<CallResult | undefined> =>
      underWay.run(call, async (flights) => {
        const joined = flights.has(key);
        try {
          const result = await flights.run(key, send, own);
          return joined && saidOf(result).isOnesOwn ? undefined : result;
        } catch (error) {
          if (!joined || own.aborted) throw error;
          if (error === ASKED || isOnesOwnError(error)) return undefined;
          // It was under way for longer than its caller waited for it; the next one is not.
          if (!again && isLate(error)) return share(own, true);
          throw error;
        }
      });
    const run = async (own: AbortSignal): Promise<CallResult> => (await share(own, false)) ?? send(own);
    if (deadlineMs === undefined) return run(signal);
    checkMs('deadlineMs', deadlineMs, { infinity: true });
    const late = (): Error => new RequestTimeoutError(server, method, deadlineMs);
    return withDeadline({ clock: systemClock, timeoutMs: deadlineMs, late, signal }, run);
  };
}

const isLate = (error: unknown): boolean =>
  error instanceof RequestTimeoutError || error instanceof AcquireTimeoutError;
