import type { ServerResponse } from 'node:http';
import { waitsItsTurn } from '../../../core/close/endWithSocket.js';
import { TurnEnd } from '../../../core/time/turns.js';
import { ownerOf } from '../../session/origin.js';
import type { HeldBytes } from '../HeldBytes.js';
import { cutWhileStalled } from '../holdAnswer.js';
import { type JsonBody, writeParts } from '../respond.js';
import { type EventFrame, Frame, isFrame } from './Frame.js';
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
/** What Node keeps beside its bytes of an event that is written for itself: chunk heads, callbacks, entries of its queues. */
const WRITE_BYTES = 1_024;

/** A large message that is written at the end of the turn, behind small ones. */
interface Later {
  readonly text: string;
  readonly textBytes: number;
  readonly answers: boolean;
  readonly frame: EventFrame;
  /** What counts as held beside the frame. */
  readonly bytes: number;
}

/**
 * A response of server-sent events, one JSON-RPC message each. What a slow reader does not take is bounded. The messages of
 * one turn of the event loop leave at its end, small ones in one write, the first with the head of the response; where very many streams have some, in the
 * turns that follow. An answer that is large leaves at once. A stream that ends in the turn in which it began is a response of known length. For a reader that is behind, small ones are gathered over turns: each by itself would take
 * several times its bytes.
 */
export class EventStream implements MessageStream {
  readonly #response: ServerResponse;
  readonly #bounds: EventStreamBounds;
  readonly #headers: Readonly<Record<string, string>> | undefined;
  readonly #owner: string;
  /** Large ones that were written, count as held and have not left yet, in order. */
  readonly #frames: EventFrame[] = [];
  /** What counts as held beside those. */
  #heldBytes = 0;
  /** Of it, what was not written yet. */
  #textBytes = 0;
  /** Events to be written at the end of the turn; a character for each byte. */
  #text = '';
  /** An answer is among them. */
  #answers = false;
  /** It is to be flushed at the end of the turn. */
  #waits = false;
  /** Those that stand before what is gathered; so many bytes. */
  #later: Later[] = [];
  #laterBytes = 0;
  /** Writes that have not left. */
  #underWay = 0;
  /** What is gathered is written when this response's turn comes, or a write has left: where that was told once. */
  #toldOfTurn = false;
  #toldOfWrites = false;

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
    this.#owner = ownerOf(response);
    response.on('close', () => {
      this.#closed();
      onClose?.(this);
    });
    // A client that opened a stream in order to listen waits for its head; what belongs to a call begins with a message.
    if (response.req.method === 'GET') this.flush();
    else this.#flushAtEnd();
  }

  /**
   * A message that may be lost: false when the reader is too slow, or too much is held for all, and it was dropped. `again`: it was sent
   * before, and its client is back for it.
   */
  offer(message: string | EventFrame, eventId?: string, again = false): boolean {
    const { writableLength, writableEnded, destroyed } = this.#response;
    const { held, maxStreamBufferBytes } = this.#bounds;
    const waiting = writableLength + this.#gathered;
    if (writableEnded || destroyed || waiting > maxStreamBufferBytes) return false;
    const frame = typeof message === 'string' ? new Frame(message) : message;
    // A small one leaves at once where the reader is not behind.
    const waits = waiting > 0 || frame.latin1 === undefined;
    if (waits && !again && !held.hasRoomForNotice(this.#owner, frame.heldBytes)) return false;
    return this.#add(frame, false, eventId);
  }

  /** A message that may not be lost: an answer. */
  send(message: JsonBody | EventFrame, eventId?: string): void {
    const { writableEnded, destroyed } = this.#response;
    if (writableEnded || destroyed) return;
    this.#add(isFrame(message) ? message : new Frame(message), true, eventId);
  }

  /** An event without data: what a client that loses the stream resumes behind, and when. */
  prime(eventId: string, retryMs: number): void {
    this.#gather(`id: ${eventId}\nretry: ${retryMs}\ndata:\n\n`);
  }

  heartbeat(): void {
    const { writableLength, writableEnded, destroyed } = this.#response;
    if (writableLength + this.#gathered === 0 && !writableEnded && !destroyed) this.#gather(':\n\n');
  }

  /** Writes what is gathered now, the head first: something else is to be written behind it. */
  flush(): void {
    this.#endTurn();
    const response = this.#response;
    if (response.writableEnded || response.destroyed) return;
    this.#begin();
    // Node writes the head with the first of the body.
    if (this.#gathered === 0) response.flushHeaders();
    this.#writeLater();
    if (this.#text !== '') this.#writeText();
  }

  end(): void {
    this.#endTurn();
    const response = this.#response;
    if (response.writableEnded || response.destroyed) return;
    if (this.#later.length > 0) this.flush();
    this.#begin(this.#text.length);
    // What counts as held does so until the response is over.
    response.end(this.#text, 'latin1');
    cutWhileStalled(response, this.#bounds);
    this.#text = '';
  }

  /** Its client has come back on another connection: this one ends, at once where it is behind. */
  replaced(): void {
    if (this.#response.writableLength > 0 && !waitsItsTurn(this.#response)) this.#response.destroy();
    else this.end();
  }

  /** `length`: of a body that is known as a whole. */
  #begin(length?: number): void {
    if (this.#response.headersSent) return;
    const head = length === undefined ? HEAD : { ...HEAD, 'content-length': length };
    this.#response.writeHead(200, this.#headers === undefined ? head : { ...head, ...this.#headers });
  }

  /** False when there is no room for it; an answer is sent all the same. */
  #add(frame: EventFrame, answer: boolean, eventId: string | undefined): boolean {
    const { held } = this.#bounds;
    const line = eventId === undefined ? '' : `id: ${eventId}\n`;
    const { latin1 } = frame;
    const own = latin1 === undefined ? WRITE_BYTES + frame.ownBytes : line.length + latin1.length;
    let holds = held.takeFor(this.#owner, own);
    if (holds && latin1 === undefined && !frame.hold(held, this.#owner)) {
      held.giveBackFor(this.#owner, own);
      holds = false;
    }
    if (!holds && !answer) return false;
    const bytes = holds ? own : 0;
    this.#heldBytes += bytes;
    if (latin1 !== undefined) {
      this.#answers ||= answer;
      this.#textBytes += bytes;
      this.#gather(line + latin1);
      return true;
    }
    // There is no copy of it: what its reader has yet to take is the frame's own bytes.
    this.#text += line;
    if (!answer) {
      const [text, textBytes, answers] = this.#takeText();
      this.#later.push({ text, textBytes, answers, frame, bytes });
      this.#laterBytes += text.length + frame.heldBytes;
      this.#flushAtEnd();
      return true;
    }
    if (this.#gathered > 0) this.flush();
    this.#begin();
    if (holds) this.#frames.push(frame);
    this.#write(frame.parts, bytes, true, holds);
    return true;
  }

  /** Bytes that were not written yet. */
  get #gathered(): number {
    return this.#laterBytes + this.#text.length;
  }

  /** What is gathered leaves within this step, which is timed: of itself Node has the sockets of all take theirs behind the last step. */
  leave(): void {
    const { socket } = this.#response;
    socket?.cork();
    this.flush();
    socket?.uncork();
  }

  #flushAtEnd(): void {
    this.#waits = true;
    turnEnd.add(this);
  }

  #writeLater(): void {
    this.#laterBytes = 0;
    for (const { text, textBytes, answers, frame, bytes } of this.#later.splice(0)) {
      if (text !== '') this.#writeText([text, textBytes, answers]);
      this.#frames.push(frame);
      this.#write(frame.parts, bytes, false, true);
    }
  }

  #gather(text: string): void {
    this.#text += text;
    if (this.#text.length > MAX_GATHERED_BYTES) this.flush();
    else if (this.#waits) return;
    else if (!this.#isBehind()) this.#flushAtEnd();
    // It is written once what is under way has left: a reader that takes nothing of that is cut for it, too.
    else if (this.#answers) cutWhileStalled(this.#response, this.#bounds);
  }

  /** Whether what is gathered is better written later, which comes of itself. */
  #isBehind(): boolean {
    const response = this.#response;
    if (waitsItsTurn(response)) {
      if (!this.#toldOfTurn) response.once('socket', () => this.#text !== '' && this.flush());
      this.#toldOfTurn = true;
      return true;
    }
    return this.#toldOfWrites && this.#underWay > 0 && response.writableLength > 0;
  }

  #takeText(): [text: string, bytes: number, answers: boolean] {
    const { answers, text, bytes } = { answers: this.#answers, text: this.#text, bytes: this.#textBytes };
    this.#text = '';
    this.#textBytes = 0;
    this.#answers = false;
    return [text, bytes, answers];
  }

  #writeText([text, bytes, answers] = this.#takeText()): void {
    // As long as it waits it is to take no more than its bytes.
    const data = this.#response.writableLength > 0 ? [Buffer.from(text, 'latin1')] : text;
    this.#write(data, bytes, answers, false);
  }

  /** `bytes`: of what counts as held; they are given back once it has left, with the oldest frame where it is `framed`. */
  #write(data: string | readonly Buffer[], bytes: number, answers: boolean, framed: boolean): void {
    let taken = (): void => undefined;
    const written = (): void => {
      taken();
      this.#underWay--;
      this.#toldOfWrites = true;
      this.#giveBack(bytes);
      if (framed) this.#frames.shift()?.release(this.#bounds.held);
      if (this.#underWay === 0 && this.#text !== '' && !this.#waits) this.flush();
    };
    this.#underWay++;
    if (typeof data === 'string') this.#response.write(data, 'latin1', written);
    else writeParts(this.#response, data, written);
    if (answers) taken = cutWhileStalled(this.#response, this.#bounds);
  }

  /** What was given back with the response is not given back again. */
  #giveBack(bytes: number): void {
    const given = Math.min(bytes, this.#heldBytes);
    this.#heldBytes -= given;
    this.#bounds.held.giveBackFor(this.#owner, given);
  }

  #endTurn(): void {
    if (this.#waits) turnEnd.delete(this);
    this.#waits = false;
  }

  #closed(): void {
    this.#endTurn();
    for (const frame of this.#frames.splice(0)) frame.release(this.#bounds.held);
    for (const { frame } of this.#later.splice(0)) frame.release(this.#bounds.held);
    this.#laterBytes = 0;
    this.#giveBack(this.#heldBytes);
    this.#text = '';
  }
}

const turnEnd = new TurnEnd((stream: EventStream) => stream.leave());
