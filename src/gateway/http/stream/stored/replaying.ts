import { inTurn } from '../../../../core/time/turns.js';
import { FairSemaphore } from '../../../../core/wait/FairSemaphore.js';

/** In the whole process: what is replayed is read, parsed and written anew, a megabyte and more each time that a client asks. */
const places = new FairSemaphore<string>(4);

/** Reads what a store has for a client, when it is the turn of whose share that is; not where it is `over` by then. */
export function replaying(owner: string, over: () => boolean, replay: () => Promise<unknown>): Promise<unknown> {
  return places.run(owner, async () => {
    await inTurn(() => undefined);
    return over() ? undefined : replay();
  });
}

/** What ends a replay that no client waits for any more. */
export const OVER = new Error('its client has gone, or came back on another connection');
