import type { ServerResponse } from 'node:http';
import { type ResultSink, TakenResult } from '../../../connection/channel/large/ResultSink.js';
import { RPC_CODES } from '../../../connection/protocol/rpcCodes.js';
import type { Progress } from '../../../pool/McpPool.js';
import { errorText, type Failure } from '../../rpc/failure.js';
import { progressText, type Told, toldText } from '../../rpc/notices.js';
import { ownerOf } from '../../session/origin.js';
import type { Reply } from '../../session/Reply.js';
import { holdAnswer, isGone, NO_ROOM, type SendOptions, sendHeld } from '../holdAnswer.js';
import { bytesOf, type JsonBody, joined, textOf } from '../respond.js';
import { EventStream, type EventStreamBounds } from './EventStream.js';
import { preparedForEvent } from './Frame.js';
import { LargeAnswer } from './LargeAnswer.js';
import { LostAnswer } from './LostAnswer.js';
import type { MessageStream } from './SessionStream.js';

export interface PostReplyOptions {
  /** How many requests the body holds. */
  readonly requests: number;
  /** The body was an array, so the answer is one too. */
  readonly batch: boolean;
  /** The client takes events; else notifications on the way to the answer are dropped. */
  readonly events: boolean;
  /** What of answers waits for clients that do not read them. */
  readonly bounds: EventStreamBounds;
  readonly onDrop: () => void;
  /** Makes the stream, where it is another than one that ends with its connection. */
  readonly begin?: ((response: ServerResponse, silent: boolean) => MessageStream) | undefined;
}

/**
 * The response to one POST: plain JSON in one write, or, from the first notification that belongs to the call on, a
 * stream of events with the answer as its last. Every request of the body is answered or given up exactly once.
 */
export class PostReply implements Reply {
  readonly #response: ServerResponse;
  readonly #options: PostReplyOptions;
  /** Of an array, until the others are there. Their bytes count as held. */
  #answers: JsonBody[] = [];
  #answersBytes = 0;
  #left: number;
  /** Bytes of answers that count as held. */
  #heldBytes = 0;
  #stream: MessageStream | undefined;
  /** What takes the result in pieces. */
  #large: LargeAnswer | undefined;
  /** What takes it instead, when there is no room. */
  #lost: LostAnswer | undefined;
  /** It was in flight at the last tick. */
  #old = false;

  constructor(response: ServerResponse, options: PostReplyOptions) {
    this.#response = response;
    this.#options = options;
    this.#left = options.requests;
  }

  /** Whether a message can still go ahead of the answer. */
  get open(): boolean {
    return this.#options.events && this.#left > 0 && this.#large === undefined;
  }

  /** Whether its client is there: one that has gone may come back for a stream that can be resumed. */
  get attended(): boolean {
    return !this.#response.destroyed || this.#stream?.open === true;
  }

  /** A request or a notification that goes ahead of the answer; false when it cannot. */
  offer(message: Told): boolean {
    if (!this.open) return false;
    return this.#begin().offer(toldText(message));
  }

  /** Progress of the call, under its client's own token, which is JSON text. */
  progress(tokenText: string, progress: Progress): void {
    if (this.open && !this.#begin().offer(progressText(tokenText, progress))) this.#options.onDrop();
  }

  /** A notification that belongs to the call. */
  notify(method: string, params: unknown): void {
    if (this.open && !this.offer({ method, params })) this.#options.onDrop();
  }

  /** Comes every few seconds: a call that is not answered by its second becomes a stream, which heartbeats keep open. */
  tick(): void {
    if (!this.open || this.#stream !== undefined) return;
    if (this.#old) this.#begin(true);
    this.#old = true;
  }

  /** Keeps what stands between from cutting the stream of a long call. */
  heartbeat(): void {
    if (this.#left > 0 && this.#large === undefined) this.#stream?.heartbeat();
  }

  large(idText: string, onRoom: () => void): ResultSink | undefined {
    const stream = this.#stream;
    const event = stream instanceof EventStream;
    if (this.#large !== undefined || this.#left !== 1 || this.#options.batch) return undefined;
    // A stream that can be resumed keeps an answer whole until it has left.
    if (!event && (stream !== undefined || !LargeAnswer.fits(this.#response))) return undefined;
    const { bounds } = this.#options;
    // Its client has gone: what comes is passed over.
    if (this.#response.destroyed || !LargeAnswer.hasRoom(this.#response, bounds)) {
      this.#lost = new LostAnswer();
      return this.#lost;
    }
    if (event) stream.flush();
    this.#large = new LargeAnswer(this.#response, headOf(idText), event, bounds, onRoom);
    return this.#large;
  }

  /** A large result on its way into a stream, where newlines would end it. */
  prepared(result: unknown): Promise<unknown> | undefined {
    return this.#stream === undefined ? undefined : preparedForEvent(result);
  }

  /** A result: a value, or its JSON as bytes, which are not looked into. The id is JSON text. */
  result(idText: string, result: unknown): void {
    if (this.#large !== undefined) {
      this.#left = 0;
      if (result instanceof TakenResult) this.#large.end();
      else this.#large.cut(idText, SENT_AGAIN);
      return;
    }
    if (this.#lost !== undefined && result instanceof TakenResult) {
      this.#tellLost(idText, this.#lost.bytes);
      return;
    }
    const head = headOf(idText);
    if (result instanceof Uint8Array) {
      if (!this.#holds(idText, result.length)) return;
      if (this.#alone && result.length <= SMALL_BYTES && ASCII.test(idText)) {
        this.#left = 0;
        this.#send(200, `${head}${bufferOf(result).toString('latin1')}}`, LATIN1);
      } else this.#answer(idText, [Buffer.from(head), bufferOf(result), CLOSING_BRACE]);
    } else {
      const json = JSON.stringify(result) ?? '{}';
      if (this.#holds(idText, json.length)) this.#answer(idText, `${head}${json}}`);
    }
  }

  /** `status` and `headers`: of a response that is this failure alone. */
  failure(idText: string, error: Failure, status = 200, headers?: Readonly<Record<string, string>>): void {
    if (this.#large !== undefined) {
      this.#left = 0;
      this.#large.cut(idText, error);
    } else this.#answer(idText, errorText(idText, error), status, headers && { headers });
  }

  /** A request that its client cancelled is not answered. */
  giveUp(): void {
    if (this.#large === undefined) this.#settle();
    else {
      this.#left = 0;
      this.#large.cut('');
    }
  }

  /** Whether the answer is all of the response. */
  get #alone(): boolean {
    return this.#left === 1 && !this.#options.batch && this.#stream === undefined;
  }

  /** Whether there is room for an answer; else its client is told that it is lost. */
  #holds(idText: string, bytes: number): boolean {
    if (this.#options.batch && this.#stream === undefined) return true;
    const holds = holdAnswer(this.#response, bytes, this.#options.bounds);
    this.#heldBytes += holds ?? 0;
    if (holds !== undefined) return true;
    this.#tellLost(idText, bytes);
    return false;
  }

  #tellLost(idText: string, bytes: number): void {
    this.failure(idText, lost(bytes));
  }

  #answer(idText: string, json: JsonBody, status = 200, options: SendOptions = {}): void {
    if (this.#alone) {
      this.#left = 0;
      this.#send(status, json, options);
    } else if (this.#stream === undefined) {
      this.#keep(idText, json);
      this.#settle();
    } else {
      this.#stream.send(json);
      this.#settle();
    }
  }

  /** Nothing is kept for a client that has gone: there is no stream for it to come back for. */
  #keep(idText: string, json: JsonBody): void {
    if (isGone(this.#response)) return;
    const bytes = bytesOf(json);
    if (this.#options.bounds.held.takeFor(ownerOf(this.#response), bytes)) {
      if (this.#answersBytes === 0) this.#response.once('close', () => this.#forget());
      this.#answersBytes += bytes;
      this.#answers.push(bytes <= LARGE_BYTES ? textOf(json) : typeof json === 'string' ? Buffer.from(json) : json);
    } else this.#answers.push(errorText(idText, lost(bytes)));
  }

  /** They have left, or no one is there to take them. */
  #forget(): void {
    this.#answers = [];
    this.#options.bounds.held.giveBackFor(ownerOf(this.#response), this.#answersBytes);
    this.#answersBytes = 0;
  }

  #send(status: number, json: JsonBody, options: SendOptions = {}): void {
    const { headers, encoding } = options;
    const send = { headers, encoding, heldBytes: this.#heldBytes };
    sendHeld(this.#response, status, json, this.#options.bounds, send);
  }

  #settle(): void {
    this.#left--;
    if (this.#left > 0) return;
    if (this.#stream === undefined) {
      if (isGone(this.#response)) return;
      const answers = this.#answers;
      this.#answers = [];
      this.#heldBytes += this.#answersBytes;
      if (answers.length > 0) {
        this.#send(200, joined(answers));
        return;
      }
    }
    this.#begin().end();
  }

  /** `silent`: before there is a message for it. */
  #begin(silent = false): MessageStream {
    if (this.#stream !== undefined) return this.#stream;
    const { begin, bounds } = this.#options;
    const stream = begin?.(this.#response, silent) ?? new EventStream(this.#response, bounds);
    this.#stream = stream;
    for (const each of this.#answers) stream.send(each);
    this.#forget();
    return stream;
  }
}

const headOf = (idText: string): string => `{"jsonrpc":"2.0","id":${idText},"result":`;

const lost = (bytes: number): Failure => ({
  code: RPC_CODES.internalError,
  message: `the answer of ${bytes} bytes is lost: ${NO_ROOM}`,
  data: { code: 'ERR_OUTCOME_UNKNOWN', retryable: false },
});

const SENT_AGAIN: Failure = Object.freeze({
  code: RPC_CODES.internalError,
  message: 'its call was sent again',
  data: { code: 'ERR_OUTCOME_UNKNOWN', retryable: false },
});

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

const LATIN1: SendOptions = Object.freeze({ encoding: 'latin1' });
const CLOSING_BRACE = Buffer.from('}');
/** A result up to this size is quicker written as a string beside its head than as a buffer behind it. */
const SMALL_BYTES = 8 * 1_024;
/** A smaller one is text among others. Larger ones are never joined: a hundred of 1 MB would hold all else up for a quarter of a second. */
const LARGE_BYTES = 16 * 1_024;
const ASCII = /^[ -~]*$/;
