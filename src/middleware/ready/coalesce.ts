import type { Middleware, MiddlewareCall } from '../../connection/calls/Middleware.js';
import { withDefaults } from '../../core/options.js';
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
 * Sends equal calls that are under way at the same time once: of one principal, session and server, with the same params. Progress
 * goes to the first of them. A caller that gives up leaves alone; the call ends with the last. @throws OptionError
 */
export function coalesce(given: CoalesceOptions = {}): Middleware {
  const { when } = withDefaults('coalesce', given, COALESCE_DEFAULTS, {});
  const flights = new SingleFlight();
  return (call, next) => {
    if (call.kind !== 'request' || call.from !== 'client' || !when(call)) return next();
    const key = keyOf(call);
    return key === undefined ? next() : flights.run(key, (signal) => next({ signal }), call.signal);
  };
}
