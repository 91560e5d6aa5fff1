import type { Clock } from '../core/clock.js';
import { NotSentError, OutcomeUnknownError, RequestTimeoutError } from '../core/errors.js';
import { within } from '../core/time/within.js';
import type { Connection } from './Connection.js';

/** Longest that the end of a subscription waits for what its server says to that, in ms. It is asked all the same. */
const GIVE_BACK_MS = 1_000;

/** Tells a legacy server that updates of a URI are not wanted any more. Rejects with what it answers, not for one that is silent or gone. */
export async function unsubscribe(
  connection: Connection,
  uri: string,
  bounds: { readonly clock: Clock; readonly timeoutMs: number },
): Promise<void> {
  const late = (): Error => new RequestTimeoutError(connection.server, 'resources/unsubscribe', GIVE_BACK_MS);
  try {
    const given = connection.request('resources/unsubscribe', { uri }, { timeoutMs: bounds.timeoutMs });
    await within(given, { clock: bounds.clock, timeoutMs: GIVE_BACK_MS, late });
  } catch (error) {
    const quiet = [NotSentError, OutcomeUnknownError, RequestTimeoutError].some((each) => error instanceof each);
    if (!quiet) throw error;
  }
}
