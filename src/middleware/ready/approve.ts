import type { Middleware, MiddlewareCall } from '../../connection/calls/Middleware.js';
import { type Clock, systemClock } from '../../core/clock.js';
import { ForbiddenError } from '../../core/errors.js';
import { checkFunction, checkMs, checkOneOf, withDefaults } from '../../core/options.js';
import { orAbandoned } from '../../core/time/within.js';

export type Decision = 'allow' | 'ask' | 'deny';

export interface ApproveOptions {
  /** What becomes of a call. */
  readonly decide: (call: MiddlewareCall) => Decision | Promise<Decision>;
  /** Asks a person who may decide; anything but `true` is a no. @defaultValue what is to be asked is denied */
  readonly ask?: (call: MiddlewareCall, context: { readonly signal: AbortSignal }) => Promise<boolean>;
  /** Longest wait for an answer, in ms, from 1: then it is a no. @defaultValue 60000 */
  readonly askTimeoutMs?: number;
  /** Which calls. @defaultValue calls of tools */
  readonly when?: (call: MiddlewareCall) => boolean;
  /** Measures time and arms timers; a `FakeClock` in tests. @defaultValue the system's clock */
  readonly clock?: Clock;
}

export const APPROVE_DEFAULTS = Object.freeze({
  ask: (): Promise<boolean> => Promise.resolve(false),
  askTimeoutMs: 60_000,
  when: (call: MiddlewareCall): boolean => call.method === 'tools/call',
});

/** Lets calls go on, refuses them with `ERR_FORBIDDEN`, or asks first. What fails to decide or to ask is a no. @throws OptionError */
export function approve(given: ApproveOptions): Middleware {
  const {
    decide,
    ask,
    askTimeoutMs,
    when,
    clock = systemClock,
  } = withDefaults('approve', given, APPROVE_DEFAULTS, {
    decide: true,
    clock: true,
  });
  checkFunction('decide', decide);
  checkMs('askTimeoutMs', askTimeoutMs, { min: 1 });
  return async (call, next) => {
    if (call.kind !== 'request' || call.from !== 'client' || !when(call)) return next();
    const what = call.tool ?? call.method;
    const decision = checkOneOf('decide', await decide(call), ['allow', 'ask', 'deny']);
    if (decision === 'deny') throw forbidden(call, `${what} is not allowed`);
    if (decision === 'ask') {
      const late = (): Error => forbidden(call, `${what} was not approved within ${askTimeoutMs} ms`);
      const bounds = { clock, timeoutMs: askTimeoutMs, signal: call.signal, late };
      const answer = await orAbandoned(bounds, (signal) => ask(call, { signal }));
      if (answer !== true) throw forbidden(call, `${what} was not approved`);
    }
    return next();
  };
}

const forbidden = (call: MiddlewareCall, why: string): ForbiddenError =>
  new ForbiddenError(call.server ?? 'gateway', { why });
