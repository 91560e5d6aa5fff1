/**
 * Keeps the events of streams, so that a client whose stream was cut reads on where it was. It has the shape of the SDK's, so that
 * a store written for one serves the other. What it throws, or does not answer within five seconds, costs its event the id, never the
 * client its message.
 */
export interface EventStore {
  /** Keeps a message, and resolves to the id of its event, which no other event of any stream has. An empty object stands for an event without a message; one with `over` alone for the end of a call whose answer is not stored. */
  storeEvent(streamId: string, message: unknown): Promise<string>;
  /** The same of a message as JSON text: a gateway has it so, and parses it for a store without this method, unless that takes more than about 40 ms. */
  storeText?(streamId: string, text: string): Promise<string>;
  /** The stream an event belongs to; undefined when it is not known. Without this method `replayEventsAfter` is asked. */
  getStreamIdForEventId?(eventId: string): Promise<string | undefined>;
  /** Hands over what the event's stream has after it, in order, without what has no message; resolves to the stream's id. */
  replayEventsAfter(lastEventId: string, to: ReplayReader): Promise<string>;
}

/** Who takes what a store replays. */
export interface ReplayReader {
  readonly send: (eventId: string, message: unknown) => Promise<void>;
  /** The same of a message as JSON text, from a store that has it so: the gateway sends that as it is. The SDK's servers have no such method. */
  readonly sendText?: (eventId: string, text: string) => Promise<void>;
}
