import type { ServerResponse } from 'node:http';
import { messageOf, RequestTimeoutError } from '../../../../core/errors.js';
import { within } from '../../../../core/time/within.js';
import { ownerOf } from '../../../session/origin.js';
import { EventStream } from '../EventStream.js';
import { MAX_ENDED, type SessionStream, type SessionStreams } from '../SessionStream.js';
import { callStreamId, OWN_STREAM, type StreamPlace, streamPlaceOf } from '../streamIds.js';
import { followStream, tellLost } from './followStream.js';
import { OVER, replaying, replayTexts } from './replaying.js';
import { STORE_TIMEOUT_MS, StoredStream, type StoredStreamOptions } from './StoredStream.js';

export interface StoredStreamsOptions extends Omit<StoredStreamOptions, 'id' | 'storedAs'> {
  /** Begins the ids of all streams of the session, and of no other. */
  readonly key: string;
  /** Names this process in the ids of streams. */
  readonly replica: string;
  /** Whether another process is there. */
  readonly isAlive: (replica: string) => Promise<boolean>;
}

/** The streams of one session, whose events a store keeps: also those that this process has forgotten. */
export class StoredStreams implements SessionStreams {
  readonly #options: StoredStreamsOptions;
  readonly #streams = new Map<string, StoredStream>();
  /** Those of other processes that are read here, by their ids: a client that comes back ends its older reading. */
  readonly #followed = new Map<string, AbortController>();
  readonly #closed = new AbortController();
  #next = 1;

  constructor(options: StoredStreamsOptions) {
    this.#options = options;
  }

  /** One for all processes that have the session. */
  own(): StoredStream {
    return this.#known(OWN_STREAM);
  }

  call(callId?: string): StoredStream {
    return this.#known(callStreamId(this.#next++, this.#options.replica, callId));
  }

  #known(id: string): StoredStream {
    const stream = this.#make(id);
    this.#streams.set(id, stream);
    const ended = [...this.#streams.values()].filter((each) => each.ended);
    for (const oldest of ended.slice(0, Math.max(0, ended.length - MAX_ENDED))) {
      oldest.forget();
      this.#streams.delete(oldest.id);
    }
    return stream;
  }

  async resume(
    eventId: string,
    response: ServerResponse,
    headers: Readonly<Record<string, string>>,
    ownStream: () => SessionStream,
  ): Promise<boolean> {
    const own = `${this.#options.key}/`;
    const found = await this.#streamOf(eventId);
    // A store that is away, or has lost its events, does not tell of calls that run: what the id says of its stream has to do.
    const storedAs = found ?? namedIn(eventId, own);
    if (storedAs === undefined || !storedAs.startsWith(own)) return false;
    const id = storedAs.slice(own.length);
    if (id === OWN_STREAM) ownStream();
    const known = this.#streams.get(id);
    const place = streamPlaceOf(id);
    const elsewhere = place !== undefined && place.replica !== this.#options.replica;
    if (known === undefined && typeof found !== 'string' && !elsewhere) return false;
    if (known === undefined && found === undefined) return this.#lost(place, response, headers);
    if (known === undefined && elsewhere) {
      this.#followed.get(id)?.abort();
      const reading = new AbortController();
      this.#followed.set(id, reading);
      void this.#follow(place, eventId, response, headers, reading.signal).finally(() => {
        if (this.#followed.get(id) === reading) this.#followed.delete(id);
      });
      return true;
    }
    const stream = known ?? this.#make(id);
    stream.resume(response, eventId, headers);
    // A call that is over long since.
    if (known === undefined) stream.end();
    return true;
  }

  /** Tells the client of a call in another process that the store knows it no more; false where that cannot be told. */
  #lost(place: StreamPlace | undefined, response: ServerResponse, headers: Readonly<Record<string, string>>): boolean {
    if (place?.callId === undefined) return false;
    const { bounds, logger } = this.#options;
    const stream = new EventStream(response, bounds, headers);
    tellLost(stream, { place, logger }, 'its stream is not in the event store any more');
    stream.end();
    return true;
  }

  /** Runs in another process. */
  #follow(
    place: StreamPlace,
    eventId: string,
    response: ServerResponse,
    headers: Readonly<Record<string, string>>,
    replaced: AbortSignal,
  ): Promise<void> {
    const { bounds, logger, isAlive, clock, store } = this.#options;
    let last = eventId;
    const signal = AbortSignal.any([this.#closed.signal, replaced]);
    const over = (): boolean => response.destroyed || signal.aborted;
    const late = (): Error => new RequestTimeoutError('event store', 'replay', STORE_TIMEOUT_MS);
    const waits = { clock, timeoutMs: STORE_TIMEOUT_MS, late };
    const replay = async (write: (id: string, text: string) => void): Promise<void> => {
      const written = (id: string, text: string): void => {
        if (over()) throw OVER;
        last = id;
        write(id, text);
      };
      try {
        await replaying(ownerOf(response), over, () => replayTexts(store, last, waits, written));
      } catch (error) {
        if (error !== OVER) logger.warn({ error: messageOf(error) }, 'the event store did not replay');
      }
    };
    return followStream({ place, response, headers, bounds, logger, clock, signal, isAlive, replay });
  }

  close(): void {
    this.#closed.abort();
    for (const stream of this.#streams.values()) stream.forget();
    this.#streams.clear();
  }

  #make(id: string): StoredStream {
    return new StoredStream({ ...this.#options, id, storedAs: `${this.#options.key}/${id}` });
  }

  /** Null when the store cannot tell. */
  async #streamOf(eventId: string): Promise<string | undefined | null> {
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
      return null;
    }
  }
}

/** The stream of a session that the id of an event names, as those of a `RedisEventStore` do. */
function namedIn(eventId: string, own: string): string | undefined {
  const at = eventId.indexOf(`:${own}`);
  return at < 0 ? undefined : eventId.slice(at + 1);
}
