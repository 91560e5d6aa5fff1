import type { ServerResponse } from 'node:http';
import { LONG_BYTES } from '../../../connection/channel/large/LongMessage.js';
import type { ResultSink } from '../../../connection/channel/large/ResultSink.js';
import { errorText, type Failure } from '../../rpc/failure.js';
import { ownerOf } from '../../session/origin.js';
import { endedWith } from '../../stdio/calls/toldFailure.js';
import { cutWhenStalled, cutWhileStalled, NO_ROOM } from '../holdAnswer.js';
import { JSON_TYPE } from '../respond.js';
import type { EventStreamBounds } from './EventStream.js';
import { EVENT_BEGIN, onOneLine } from './Frame.js';

/** Room that the beginning of an answer takes: it comes at once, and is more than what makes a message long by no more than one read. */
const FIRST_BYTES = LONG_BYTES + 64 * 1_024;
const CLOSING_BRACE = Buffer.from('}');
const EVENT_END = Buffer.from('}\n\n');

/**
 * The response to one call whose result is large: it leaves piece by piece as its client takes them, and no more than
 * `maxStreamBufferBytes` is asked for beyond. What has left cannot become an error any more: a result that breaks off
 * breaks the response off too, so that no client takes a part of it for the whole. A stream of events has room for the error behind the event
 * that is none, and a bridge of ours reads it behind its end.
 */
export class LargeAnswer implements ResultSink {
  readonly #response: ServerResponse;
  readonly #bounds: EventStreamBounds;
  readonly #onRoom: () => void;
  #full = false;
  /** It is the last event of a stream. */
  readonly #event: boolean;
  /** Bytes that count as held, those among them that its beginning has not needed yet. */
  #held = FIRST_BYTES;
  #spare = FIRST_BYTES;

  /**
   * `head`: what of the message stands before its result. `event`: the response is a stream of events already. There must have been
   * room for it, see `hasRoom`.
   */
  constructor(response: ServerResponse, head: string, event: boolean, bounds: EventStreamBounds, onRoom: () => void) {
    this.#response = response;
    this.#event = event;
    this.#bounds = bounds;
    this.#onRoom = onRoom;
    if (event) response.write(`${EVENT_BEGIN}${head}`);
    else {
      response.writeHead(200, { 'content-type': JSON_TYPE });
      response.write(head);
    }
    // What comes for a client that has gone is passed over.
    response.once('close', () => {
      this.#giveBack(this.#held);
      this.#hasRoom();
    });
  }

  /** Whether a response can break off such that its client sees it: one of HTTP/1.0 ends with its connection, whole or not. */
  static fits({ headersSent, destroyed, writableEnded, req }: ServerResponse): boolean {
    const old = req.httpVersionMajor === 1 && req.httpVersionMinor === 0;
    return !headersSent && !destroyed && !writableEnded && !old;
  }

  /** Takes the room for the beginning of one. Without it nothing may leave: as long as nothing has, its client can be told. */
  static hasRoom(response: ServerResponse, { held }: EventStreamBounds): boolean {
    return held.takeFor(ownerOf(response), FIRST_BYTES);
  }

  write(piece: Buffer): boolean {
    const response = this.#response;
    const { held, maxStreamBufferBytes } = this.#bounds;
    if (response.destroyed) return true;
    const bytes = piece.length;
    const spared = Math.min(bytes, this.#spare);
    if (!held.takeFor(ownerOf(response), bytes - spared, this.#held)) {
      held.cuts.cut(response, 'no_room', NO_ROOM);
      return true;
    }
    this.#spare -= spared;
    this.#held += bytes - spared;
    let taken = (): void => undefined;
    // Not called for what still waits when its connection breaks off: that is given back with the response.
    response.write(this.#event ? onOneLine(piece) : piece, () => {
      this.#giveBack(bytes);
      taken();
      if (response.writableLength <= maxStreamBufferBytes / 2) this.#hasRoom();
    });
    taken = cutWhileStalled(response, this.#bounds);
    this.#full = response.writableLength > maxStreamBufferBytes;
    return !this.#full;
  }

  /** The result is whole. */
  end(): void {
    this.#response.end(this.#event ? EVENT_END : CLOSING_BRACE);
    // A middleware in front that compresses keeps all of it, and what waits there cannot be seen.
    if (!this.#response.destroyed) cutWhenStalled(this.#response, this.#bounds);
  }

  /** It broke off; `failure`: why, of the call of that id, unless its client wanted no more of it. */
  cut(idText: string, failure?: Failure): void {
    const response = this.#response;
    if (failure === undefined) {
      response.destroy();
      return;
    }
    const told = (): boolean => {
      if (this.#event) response.end(`\n\n${EVENT_BEGIN}${errorText(idText, failure)}\n\n`);
      else if (!endedWith(response, failure)) return false;
      cutWhenStalled(response, this.#bounds);
      return true;
    };
    this.#bounds.held.cuts.cut(response, 'failed', failure.message, told);
  }

  #giveBack(bytes: number): void {
    const given = Math.min(bytes, this.#held);
    this.#held -= given;
    this.#bounds.held.giveBackFor(ownerOf(this.#response), given);
  }

  #hasRoom(): void {
    if (!this.#full) return;
    this.#full = false;
    this.#onRoom();
  }
}
