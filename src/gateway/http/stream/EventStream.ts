import type { ServerResponse } from 'node:http';
import { ownerOf } from '../../session/origin.js';
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

const HEAD = Object.freeze({
  'content-type': 'text/event-stream',
  'cache-control': 'no-cache, no-transform',
  // nginx, and others who took the header over, hold a response back otherwise.
  'x-accel-buffering': 'no',
});
/** So much is gathered for one write; then it is written before the turn is over. */
const MAX_GATHERED_BYTES = 16 * 1_024;

/**
 * A response of server-sent events, one JSON-RPC message each. What a slow reader does not take is bounded. The small messages of
 * one turn of the event loop leave in one write, the first with the head of the response; a stream that ends in the turn in which
 * it began is a response of known length.
 */
export class EventStream implements MessageStream {
  readonly #response: ServerResponse;
  readonly #bounds: EventStreamBounds;
  readonly #headers: Readonly<Record<string, string>> | undefined;
  /** Frames that count as held, in order: those that are gathered, behind those that were written and have not left yet. */
  readonly #unsent: Frame[] = [];
  /** Frames of `#unsent` that are gathered. */
  #gathered = 0;
  /** Events to be written at the end of the turn; a character for each byte. */
  #text = '';
  /** An answer is among them. */
  #answers = false;
  #turn: NodeJS.Immediate | undefined;

  /** `onClose`: told when its connection is over. */
  constructor(
    response: ServerResponse,
    bounds: EventStreamBounds,
    headers?: Readonly<Record<string, string>>,
    onClose?: (stream: EventStream) => void,
  ) {
    this.#response = response;
    this.#bounds = bounds;
    this.#headers = headers;
    response.on('close', () => {
      this.#closed();
      onClose?.(this);
    });
    // A client that opened a stream in order to listen waits for its head; what belongs to a call begins with a message.
    if (response.req.method === 'GET') this.flush();
    else this.#turn = setImmediate(flush, this);
  }

  /** A message that may be lost: false when the reader is too slow, or too much is held for all, and it was dropped. */
  offer(message: string | Frame, eventId?: string): boolean {
    const { writableLength, writableEnded, destroyed } = this.#response;
    const { maxStreamBufferBytes, held } = this.#bounds;
    if (writableEnded || destroyed || writableLength + this.#text.length > maxStreamBufferBytes) return false;
    const frame = typeof message === 'string' ? new Frame(message) : message;
    if (!frame.hold(held, ownerOf(this.#response))) return false;
    this.#add(frame, true, false, eventId);
    return true;
  }

  /** A message that may not be lost: an answer. */
  send(message: JsonBody | Frame, eventId?: string): void {
    const { writableEnded, destroyed } = this.#response;
    if (writableEnded || destroyed) return;
    const frame = message instanceof Frame ? message : new Frame(message);
    this.#add(frame, frame.hold(this.#bounds.held, ownerOf(this.#response)), true, eventId);
  }

  /** An event without data: what a client that loses the stream resumes behind, and when. */
  prime(eventId: string, retryMs: number): void {
    this.#gather(`id: ${eventId}\nretry: ${retryMs}\ndata:\n\n`);
  }

  heartbeat(): void {
    const { writableLength, writableEnded, destroyed } = this.#response;
    if (writableLength + this.#text.length === 0 && !writableEnded && !destroyed) this.#gather(':\n\n');
  }

  /** Writes what is gathered now, the head first: something else is to be written behind it. */
  flush(): void {
    this.#endTurn();
    const response = this.#response;
    if (response.writableEnded || response.destroyed) return;
    this.#begin();
    // Node writes the head with the first of the body.
    if (this.#text === '') response.flushHeaders();
    else this.#write(this.#text);
  }

  end(): void {
    this.#endTurn();
    const response = this.#response;
    if (response.writableEnded || response.destroyed) return;
    this.#begin(this.#text.length);
    // What counts as held does so until the response is over.
    response.end(this.#text, 'latin1');
    cutWhileStalled(response, this.#bounds);
    this.#text = '';
  }

  /** `length`: of a body that is known as a whole. */
  #begin(length?: number): void {
    if (this.#response.headersSent) return;
    const head = length === undefined ? HEAD : { ...HEAD, 'content-length': length };
    this.#response.writeHead(200, this.#headers === undefined ? head : { ...head, ...this.#headers });
  }

  /** `held`: it counts as held. */
  #add(frame: Frame, held: boolean, answer: boolean, eventId: string | undefined): void {
    const line = eventId === undefined ? '' : `id: ${eventId}\n`;
    const { latin1 } = frame;
    // For a reader that is behind there is no copy: what it has yet to take is the frame's own bytes.
    if (latin1 !== undefined && this.#response.writableLength === 0) {
      this.#hold(frame, held, answer);
      this.#gather(line + latin1);
      return;
    }
    this.#text += line;
    if (this.#text !== '') this.flush();
    this.#begin();
    this.#hold(frame, held, answer);
    this.#write(frame.parts());
  }

  #hold(frame: Frame, held: boolean, answer: boolean): void {
    if (answer) this.#answers = true;
    if (!held) return;
    this.#unsent.push(frame);
    this.#gathered++;
  }

  #gather(text: string): void {
    this.#text += text;
    if (this.#text.length > MAX_GATHERED_BYTES) this.flush();
    else this.#turn ??= setImmediate(flush, this);
  }

  #write(data: string | readonly Buffer[]): void {
    const { held } = this.#bounds;
    const frames = this.#gathered;
    const answers = this.#answers;
    this.#text = '';
    this.#gathered = 0;
    this.#answers = false;
    let taken = (): void => undefined;
    const written = (): void => {
      taken();
      for (const frame of this.#unsent.splice(0, frames)) frame.release(held);
    };
    if (typeof data === 'string') this.#response.write(data, 'latin1', written);
    else writeParts(this.#response, data, written);
    if (answers) taken = cutWhileStalled(this.#response, this.#bounds);
  }

  #endTurn(): void {
    clearImmediate(this.#turn);
    this.#turn = undefined;
  }

  #closed(): void {
    this.#endTurn();
    for (const frame of this.#unsent.splice(0)) frame.release(this.#bounds.held);
    this.#text = '';
  }
}

/** In one go; `written`: when the last has left. */
function writeParts(response: ServerResponse, parts: readonly Buffer[], written: () => void): void {
  if (parts.length > 1) response.cork();
  parts.forEach((part, i) => void (i < parts.length - 1 ? response.write(part) : response.write(part, written)));
  if (parts.length > 1) response.uncork();
}

const flush = (stream: EventStream): void => stream.flush();
