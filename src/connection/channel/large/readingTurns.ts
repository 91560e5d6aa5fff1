import { FairRoom } from '../../../concurrent/FairRoom.js';
import { Shares, shareOf } from '../../../concurrent/Shares.js';
import { QueueFullError } from '../../../core/errors.js';

/** A shorter answer takes little, whatever it says. */
const SHORT_BYTES = 16 * 1_024;
/** Bytes of long answers that are read, or wait for that, of all servers; one takes three quarters. */
const MAX_WAITING_BYTES = 256 * 1_024 * 1_024;

/** So many long answers of the process have their values in memory at once: those take up to thirty times their text. */
const places = new FairRoom({ max: 2 });
const waiting = new Shares(MAX_WAITING_BYTES);

/**
 * Reads an answer of `server` to `caller`, as bytes or as a value, and does with it what has to be done while its values are there: a long one in its turn. Servers
 * take turns, and a server's callers. Resolves, or rejects, as `read` does. @throws QueueFullError when too much waits already
 */
export async function inReadingTurn<T>(
  server: string,
  caller: Parameters<typeof shareOf>[0],
  answer: unknown,
  read: () => Promise<T>,
): Promise<T> {
  if (!(answer instanceof Uint8Array) || answer.length < SHORT_BYTES) return read();
  const full = (): Error => new QueueFullError('bytes of answers that are to be read', waiting.taken, waiting.max);
  return waiting.during(server, answer.length, full, () => places.run({ group: server, owner: shareOf(caller) }, read));
}
