import { FairRoom } from '../../../../concurrent/FairRoom.js';
import { inTurn, inTurnOrNow } from '../../../../core/time/turns.js';
import { type WaitBounds, within } from '../../../../core/time/within.js';
import type { EventStore, ReplayReader } from './EventStore.js';

/** In the whole process: what is replayed, 256 KiB, of a store a megabyte and more, is written anew each time that a client asks. */
const places = new FairRoom({ max: 4 });

/** Replays what is kept for a client when it is the turn of whose share that is, and of the event loop; not where it is `over` by then. */
export function replaying(owner: string, over: () => boolean, replay: () => unknown): Promise<unknown> {
  return places.run({ group: owner }, () => inTurn(() => (over() ? undefined : replay())));
}

/** What ends a replay that no client waits for any more. */
export const OVER = new Error('its client has gone, or came back on another connection');

/** Stored behind the last event of a call whose answer the store does not have: it ended without one, or the store did not take it. No client is sent it. */
export const ENDED = { over: 'ended' };
export const UNSTORED = { over: 'unstored' };
const MARKS: ReadonlySet<string> = new Set([ENDED, UNSTORED].map((mark) => JSON.stringify(mark)));

/** Whether the text of an event says that no answer follows. */
export const isMark = (text: string): boolean => MARKS.has(text);
export const isUnstored = (text: string): boolean => text === JSON.stringify(UNSTORED);

/** What an event's id may be: it stands on a line of its own. */
export const EVENT_ID = /^[^\0\r\n]{1,1024}$/;

/**
 * Has a store hand over what it has behind an event, each message as JSON text in a turn of the event loop whose share is not used up. Once it
 * has ended, or rejected by its bounds, nothing more is written.
 */
export async function replayTexts(
  store: EventStore,
  lastEventId: string,
  bounds: WaitBounds,
  write: (eventId: string, text: string) => void,
): Promise<void> {
  let ended = false;
  const inItsTurn = async (eventId: string, text: () => string): Promise<void> =>
    inTurnOrNow(() => {
      if (ended) throw OVER;
      if (EVENT_ID.test(eventId)) write(eventId, text());
    });
  const send = (eventId: string, message: unknown): Promise<void> => inItsTurn(eventId, () => JSON.stringify(message));
  const sendText = (eventId: string, text: string): Promise<void> => inItsTurn(eventId, () => text);
  const asked = async (): Promise<unknown> => store.replayEventsAfter(lastEventId, { send, sendText });
  try {
    await within(asked(), bounds);
  } finally {
    ended = true;
  }
}

/** Hands over an event of a store that keeps texts; one of '{}' has no message. */
export async function handOver({ send, sendText }: ReplayReader, eventId: string, text: string): Promise<void> {
  if (text === '{}') return;
  if (sendText !== undefined) await sendText(eventId, text);
  else await inTurnOrNow(() => send(eventId, JSON.parse(text)));
}
