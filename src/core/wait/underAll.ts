import { thrown } from '../errors/thrown.js';
import { AbortHub } from './AbortHub.js';

const waits = new AbortHub();

/**
 * Runs `work` with a signal that aborts as the first of `signals` does, and settles as it does. Afterwards no listener is left, and nothing of it is
 * kept: `AbortSignal.any` leaves something of each wait with a signal that lives as long as its server.
 */
export async function underAll<T>(
  signals: readonly (AbortSignal | undefined)[],
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const wait = new AbortController();
  const given = signals.filter((each) => each !== undefined);
  for (const each of given) if (each.aborted) throw thrown(each.reason);
  const watched = given.map((each) => waits.watch(each, (reason) => wait.abort(reason)));
  try {
    return await work(wait.signal);
  } finally {
    for (const each of watched) each[Symbol.dispose]();
  }
}
