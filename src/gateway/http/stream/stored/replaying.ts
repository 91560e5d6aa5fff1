import { inTurn } from '../../../../core/time/turns.js';
import { FairSemaphore } from '../../../../core/wait/FairSemaphore.js';

/** In the whole process: what is replayed is read and written anew, 256 KiB, of a store a megabyte and more, each time that a client asks. */
const places = new FairSemaphore<string>(4);

/** Replays what is kept for a client when it is the turn of whose share that is, and of the event loop; not where it is `over` by then. */
export function replaying(owner: string, over: () => boolean, replay: () => unknown): Promise<unknown> {
  return places.run(owner, () => inTurn(() => (over() ? undefined : replay())));
}

/** What ends a replay that no client waits for any more. */
export const OVER = new Error('its client has gone, or came back on another connection');
