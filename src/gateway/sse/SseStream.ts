import { randomBytes } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { answersTravelOn } from '../../core/close/isSubscription.js';
import type { EventStreamBounds } from '../http/stream/EventStream.js';
import type { Frame } from '../http/stream/Frame.js';
import { Resumable } from '../http/stream/Resumable.js';

/**
 * The one stream of a client of the HTTP+SSE transport (2024-11-05): the first event of each connection says where to post,
 * all others are messages. A connection that breaks off is followed by another with `last-event-id`, which goes on behind
 * what the client has; ids of events cannot be guessed.
 */
export class SseStream extends Resumable {
  #address = '';
  #calls = 0;
  #cutting = false;

  constructor(bounds: EventStreamBounds, owner: string) {
    const id = BigInt(`0x${randomBytes(12).toString('hex')}`)
      .toString(36)
      .slice(0, 16);
    super(id, {
      bounds,
      owner,
      primed: false,
      onEnd: () => undefined,
      onGiveWay: () => undefined,
    });
  }

  /** A connection of its client, which is told to post to `address`; behind event `seq` where it has been here before. */
  connect(response: ServerResponse, address: string, seq?: number): void | Promise<void> {
    answersTravelOn(response);
    this.#address = address;
    return seq === undefined ? this.attach(response) : this.resume(response, seq, {});
  }

  override attach(response: ServerResponse, headers?: Readonly<Record<string, string>>): void {
    super.attach(response, headers);
    if (!response.destroyed) response.write(`event: endpoint\ndata: ${this.#address}\n\n`);
  }

  /** Whether calls are to be answered on it. */
  get busy(): boolean {
    return this.#calls > 0;
  }

  /** A call is answered on it: until `finish` it is not cut. */
  begin(): void {
    this.#calls++;
  }

  finish(): void {
    this.#calls--;
    if (this.#cutting && this.#calls === 0) super.cut();
  }

  /** What may be lost is not kept for a client that is away: a question is asked again when it is back. */
  override offer(message: string | Frame): boolean {
    return this.open && super.offer(message);
  }

  /** Once the calls in flight are answered: their answers have no other way. */
  override cut(): void {
    this.#cutting = true;
    if (this.#calls === 0) super.cut();
  }
}
