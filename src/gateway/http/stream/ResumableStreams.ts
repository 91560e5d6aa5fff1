import type { ServerResponse } from 'node:http';
import type { EventStreamBounds } from './EventStream.js';
import { placeOf, Resumable } from './Resumable.js';
import { MAX_ENDED, type SessionStreams } from './SessionStream.js';

/** The streams of one session, kept in memory as they were written. */
export class ResumableStreams implements SessionStreams {
  readonly #bounds: EventStreamBounds;
  readonly #primed: boolean;
  readonly #streams = new Map<string, Resumable>();
  /** Those of which no more will come, the oldest first. */
  readonly #ended = new Set<Resumable>();
  #next = 1;
  #closed = false;

  constructor(bounds: EventStreamBounds, primed: boolean) {
    this.#bounds = bounds;
    this.#primed = primed;
  }

  make(id = `c${(this.#next++).toString(36)}`): Resumable {
    const stream = new Resumable({
      id,
      bounds: this.#bounds,
      primed: this.#primed,
      onEnd: () => {
        if (this.#streams.get(id) === stream) this.#ended.add(stream);
        this.#prune();
      },
    });
    // The session is over: what its calls still say is not kept.
    if (this.#closed) stream.forget();
    else this.#streams.set(id, stream);
    return stream;
  }

  #prune(): void {
    for (const oldest of this.#ended) {
      if (this.#ended.size <= MAX_ENDED) return;
      oldest.forget();
      this.#ended.delete(oldest);
      this.#streams.delete(oldest.id);
    }
  }

  /** False when that stream is not known any more. */
  resume(eventId: string, response: ServerResponse, headers: Readonly<Record<string, string>>): boolean {
    const place = placeOf(eventId);
    const stream = place === undefined ? undefined : this.#streams.get(place.stream);
    if (place === undefined || stream === undefined) return false;
    stream.resume(response, place.seq, headers);
    return true;
  }

  close(): void {
    this.#closed = true;
    for (const stream of this.#streams.values()) stream.forget();
    this.#streams.clear();
    this.#ended.clear();
  }
}
