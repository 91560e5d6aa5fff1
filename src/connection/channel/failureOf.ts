import { ClosedError, NotSentError, OutcomeUnknownError } from '../../core/errors.js';
import { inGroups } from '../../core/time/inSlices.js';
import type { Call } from './Call.js';

/** What a call gets, by the phase that it was in. */
export type Failing = (call: Call, phase?: Call['phase']) => Error;

/** What each call of a dead connection gets: those sent may have run, those not sent did not. */
export function failureOf(server: string, why: string, cause: unknown): Failing {
  return (call, phase = call.phase) => {
    if (phase === 'sent') return new OutcomeUnknownError(server, call.method, why, { cause });
    return cause instanceof ClosedError && phase === 'queued' ? cause : new NotSentError(server, why, cause);
  };
}

/** Settles them all at once, so that none is sent any more; the callers of many hear of it in turns of the event loop. */
export function failAll(calls: readonly Call[], failing: Failing, settle: (call: Call) => void): Promise<void> {
  const phases = calls.map(({ phase }) => phase);
  for (const call of calls) settle(call);
  return inGroups(calls, (call, at) => call.reject(failing(call, phases[at])));
}
