import { ClosedError, NotSentError, OutcomeUnknownError } from '../../core/errors.js';
import type { Call } from './Call.js';

/** What each call of a dead connection gets: those sent may have run, those not sent did not. */
export function failureOf(server: string, why: string, cause: unknown): (call: Call) => Error {
  return (call) => {
    if (call.phase === 'sent') return new OutcomeUnknownError(server, call.method, why, { cause });
    return cause instanceof ClosedError && call.phase === 'queued' ? cause : new NotSentError(server, why, cause);
  };
}
