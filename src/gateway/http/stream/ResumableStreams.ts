import type { ServerResponse } from 'node:http';
import type { Logger } from '../../../core/logger.js';
import { EventStream, type EventStreamBounds } from './EventStream.js';
import { placeOf, Resumable, type ResumableOptions } from './Resumable.js';
import { MAX_ENDED, type SessionStream, type SessionStreams } from './SessionStream.js';
import { tellLost } from './stored/followStream.js';
import { callStreamId, ownStreamId, streamPlaceOf } from './streamIds.js';

export interface ResumableStreamsBounds extends EventStreamBounds {
  /** Names this process in the ids of streams. */
  readonly replica: string;
  readonly logger: Logger;
}

/** The streams of one session, kept in memory as they were written. */
export class ResumableStreams implements SessionStreams {
  readonly #bounds: ResumableStreamsBounds;
  readonly #options: ResumableOptions;
  /** Oldest first. No Map or Set, here and below: see `IdTable`. */
  readonly #streams: Resumable[] = [];
  /** Those of which no more will come, the oldest first. */
  readonly #ended: Resumable[] = [];
  #next = 1;
  #closed = false;

  /** `owner`: whose share it counts to what is kept. */
  constructor(bounds: ResumableStreamsBounds, owner: string, primed: boolean) {
    this.#bounds = bounds;
    this.#options = {
      bounds,
      owner,
      primed,
      onEnd: (stream) => this.#onEnd(stream),
      onGiveWay: (stream) => this.#drop(stream),
    };
  }

  own(): Resumable {
    return this.#make(ownStreamId(this.#bounds.replica));
  }

  call(callId?: string): Resumable {
    return this.#make(callStreamId(this.#next++, this.#bounds.replica, callId));
  }

  #make(id: string): Resumable {
    const stream = new Resumable(id, this.#options);
    // The session is over: what its calls still say is not kept.
    if (this.#closed) stream.forget();
    else this.#streams.push(stream);
    return stream;
  }

  #onEnd(stream: Resumable): void {
    if (!this.#streams.includes(stream) || this.#ended.includes(stream)) return;
    stream.spare();
    this.#ended.push(stream);
    const [oldest] = this.#ended;
    if (this.#ended.length > MAX_ENDED && oldest !== undefined) this.#drop(oldest);
  }

  #drop(stream: Resumable): void {
    stream.forget();
    for (const streams of [this.#ended, this.#streams]) {
      const at = streams.indexOf(stream);
      if (at >= 0) streams.splice(at, 1);
    }
  }

  /** False when that stream is not known any more. */
  resume(
    eventId: string,
    response: ServerResponse,
    headers: Readonly<Record<string, string>>,
    own: () => SessionStream,
  ): boolean | Promise<boolean> {
    const place = placeOf(eventId);
    const stream = this.#streams.find(({ id }) => id === place?.stream);
    if (place === undefined || stream === undefined)
      return this.#fromElsewhere(place?.stream ?? '', response, headers, own);
    return stream.resume(response, place.seq, headers)?.then(() => true) ?? true;
  }

  /** What another process kept is not here: the session's own stream goes on from now, and a call is told to be lost. */
  #fromElsewhere(
    id: string,
    response: ServerResponse,
    headers: Readonly<Record<string, string>>,
    own: () => SessionStream,
  ): boolean {
    const place = streamPlaceOf(id);
    if (place === undefined || place.replica === this.#bounds.replica) return false;
    if (!place.own && place.callId === undefined) return false;
    if (place.own) own().attach(response, headers);
    else {
      const stream = new EventStream(response, this.#bounds, headers);
      tellLost(stream, { place, logger: this.#bounds.logger });
      stream.end();
    }
    return true;
  }

  close(): void {
    this.#closed = true;
    for (const stream of [...this.#streams]) this.#drop(stream);
  }
}
