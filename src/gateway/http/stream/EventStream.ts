import type { ServerResponse } from 'node:http';
import type { HeldBytes } from '../HeldBytes.js';
import { cutWhileStalled } from '../holdAnswer.js';
import type { JsonBody } from '../respond.js';
import { Frame } from './Frame.js';
import type { MessageStream } from './SessionStream.js';

export interface EventStreamBounds {
  /** What may wait for this reader when another message comes. */
  readonly maxStreamBufferBytes: number;
  /** Bytes held over all sessions. */
  readonly held: HeldBytes;
  /** A client that takes nothing of a large answer for so long, in ms, is cut. */
  readonly stallTimeoutMs: number;
}

/** A response of server-sent events, one JSON-RPC message each. What a slow reader does not take is bounded. */
export class EventStream implements MessageStream {
  readonly #response: ServerResponse;
  readonly #bounds: EventStreamBounds;
  /** Frames that were written and have not left yet. */
  readonly #unsent = new Set<{ readonly frame: Frame }>();

  constructor(response: ServerResponse, bounds: EventStreamBounds, headers: Readonly<Record<string, string>> = {}) {
    this.#response = response;
    this.#bounds = bounds;
    response.writeHead(200, {
      'content-type': 'text/event-stream',
      'cache-control': 'no-cache, no-transform',
      // nginx, and others who took the header over, hold a response back otherwise.
      'x-accel-buffering': 'no',
      ...headers,
    });
    response.flushHeaders();
    response.once('close', () => {
      for (const each of this.#unsent) each.frame.release(bounds.held);
      this.#unsent.clear();
    });
  }

  /** A message that may be lost: false when the reader is too slow, or too much is held for all, and it was dropped. */
  offer(message: string | Frame, eventId?: string): boolean {
    const { writableLength, writableEnded, destroyed } = this.#response;
    const { maxStreamBufferBytes, held } = this.#bounds;
    if (writableEnded || destroyed || writableLength > maxStreamBufferBytes) return false;
    const frame = typeof message === 'string' ? new Frame(message) : message;
    if (!frame.hold(held)) return false;
    const entry = { frame };
    this.#unsent.add(entry);
    if (eventId !== undefined) this.#response.write(`id: ${eventId}\n`);
    this.#response.write(frame.bytes, () => {
      if (this.#unsent.delete(entry)) frame.release(held);
    });
    return true;
  }

  /** A message that may not be lost: an answer. */
  send(message: JsonBody | Frame, eventId?: string): void {
    const { writableEnded, destroyed } = this.#response;
    if (writableEnded || destroyed) return;
    const { held, stallTimeoutMs } = this.#bounds;
    const frame = message instanceof Frame ? message : new Frame(message);
    const entry = { frame };
    const counts = frame.hold(held);
    if (counts) this.#unsent.add(entry);
    let taken = (): void => undefined;
    if (eventId !== undefined) this.#response.write(`id: ${eventId}\n`);
    this.#response.write(frame.bytes, () => {
      taken();
      if (this.#unsent.delete(entry)) frame.release(held);
    });
    taken = cutWhileStalled(this.#response, stallTimeoutMs);
  }

  /** An event without data: what a client that loses the stream resumes behind, and when. */
  prime(eventId: string, retryMs: number): void {
    this.#response.write(`id: ${eventId}\nretry: ${retryMs}\ndata:\n\n`);
  }

  heartbeat(): void {
    const { writableLength, writableEnded, destroyed } = this.#response;
    if (writableLength === 0 && !writableEnded && !destroyed) this.#response.write(':\n\n');
  }

  end(): void {
    this.#response.end();
  }
}
