import type { ServerResponse } from 'node:http';
import { messageOf, RequestTimeoutError } from '../../../core/errors.js';
import { within } from '../../../core/time/within.js';
import { MAX_ENDED, type SessionStreams } from './SessionStream.js';
import { STORE_TIMEOUT_MS, StoredStream, type StoredStreamOptions } from './StoredStream.js';

export interface StoredStreamsOptions extends Omit<StoredStreamOptions, 'id' | 'storedAs'> {
  /** Begins the ids of all streams of the session, and of no other. */
  readonly key: string;
}

/** The streams of one session, whose events a store keeps: also those that this process has forgotten. */
export class StoredStreams implements SessionStreams {
  readonly #options: StoredStreamsOptions;
  readonly #streams = new Map<string, StoredStream>();
  #next = 1;

  constructor(options: StoredStreamsOptions) {
    this.#options = options;
  }

  make(id = `c${(this.#next++).toString(36)}`): StoredStream {
    const stream = this.#make(id);
    this.#streams.set(id, stream);
    const ended = [...this.#streams.values()].filter((each) => each.ended);
    for (const oldest of ended.slice(0, Math.max(0, ended.length - MAX_ENDED))) {
      oldest.forget();
      this.#streams.delete(oldest.id);
    }
    return stream;
  }

  async resume(eventId: string, response: ServerResponse, headers: Readonly<Record<string, string>>): Promise<boolean> {
    const storedAs = await this.#streamOf(eventId);
    const own = `${this.#options.key}/`;
    if (storedAs === undefined || !storedAs.startsWith(own)) return false;
    const id = storedAs.slice(own.length);
    const known = this.#streams.get(id);
    const stream = known ?? this.#make(id);
    stream.resume(response, eventId, headers);
    // A call that is over long since.
    if (known === undefined) stream.end();
    return true;
  }

  close(): void {
    for (const stream of this.#streams.values()) stream.forget();
    this.#streams.clear();
  }

  #make(id: string): StoredStream {
    return new StoredStream({ ...this.#options, id, storedAs: `${this.#options.key}/${id}` });
  }

  /** Undefined also when the store cannot tell. */
  async #streamOf(eventId: string): Promise<string | undefined> {
    const { store, clock, logger } = this.#options;
    const late = (): Error => new RequestTimeoutError('event store', 'find a stream', STORE_TIMEOUT_MS);
    const ask = async (): Promise<string | undefined> =>
      store.getStreamIdForEventId === undefined
        ? store.replayEventsAfter(eventId, { send: async () => undefined })
        : store.getStreamIdForEventId(eventId);
    try {
      const stream = await within(ask(), { clock, timeoutMs: STORE_TIMEOUT_MS, late });
      return typeof stream === 'string' ? stream : undefined;
    } catch (error) {
      logger.warn({ error: messageOf(error) }, 'the event store did not find a stream');
      return undefined;
    }
  }
}
