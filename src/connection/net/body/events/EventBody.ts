import { Utf8Pieces } from '../../../channel/large/Utf8Pieces.js';
import type { Endpoint } from '../../Endpoint.js';
import type { BodyFlow } from '../BodyFlow.js';
import { SMALL_BYTES } from '../WholeBody.js';
import type { SseReader, SseSink } from './SseReader.js';

const NEWLINE = 0x0a;
const RETURN = 0x0d;

/**
 * The body of an event stream: read in turns of the event loop, as much of each as its connection's budget allows, and
 * paused beyond. An event whose blank line does not come is taken when the stream ends, or is silent behind it, and
 * its data is whole.
 */
export class EventBody {
  readonly #endpoint: Endpoint;
  readonly #reader: SseReader;
  readonly #flow: BodyFlow;
  readonly #resume: () => void;
  readonly #onError: (error: unknown) => void;
  readonly #utf8 = new Utf8Pieces();
  /** Of the newest chunk, what is not read yet. */
  #rest: Buffer | undefined;
  #over = false;

  constructor(endpoint: Endpoint, sink: SseSink, flow: BodyFlow, onError: (error: unknown) => void) {
    this.#endpoint = endpoint;
    this.#reader = endpoint.takeReader(sink);
    const { goOn } = flow;
    this.#resume = goOn;
    // One that is paused goes on with what is left of its newest chunk.
    flow.goOn = () => this.#goOn();
    this.#flow = flow;
    this.#onError = onError;
  }

  /** An event stands there that may be whole but for its blank line. */
  get open(): boolean {
    return this.#rest === undefined && this.#reader.open;
  }

  /** Bytes of the event that stands open. */
  get pending(): number {
    return this.#reader.pending;
  }

  /** False when nothing more is to come before `resume` was called. */
  push(chunk: Buffer): boolean {
    this.#rest = this.#rest === undefined ? chunk : Buffer.concat([this.#rest, chunk]);
    return this.#read();
  }

  /** Takes the event that stands open, if its data is whole; true when one is left that is not small. */
  complete(): boolean {
    this.#reader.complete();
    return this.#reader.pending > SMALL_BYTES;
  }

  /** The stream has ended: reads all that came of it. */
  drain(): void {
    const rest = this.#rest;
    this.#rest = undefined;
    if (rest !== undefined) this.#push(rest);
    this.#reader.complete();
  }

  /** Hands on nothing more. */
  stop(): void {
    this.#reader.stop();
  }

  end(): void {
    if (this.#over) return;
    this.#over = true;
    this.#rest = undefined;
    this.#endpoint.giveReader(this.#reader);
  }

  #read(): boolean {
    const { turns } = this.#endpoint;
    while (this.#rest !== undefined && !this.#over && !turns.spent && !this.#flow.paused) {
      const chunk = this.#rest;
      // An event is two line ends or more.
      const { end, lines } = cut(chunk, turns.messagesLeft * 2);
      this.#rest = end < chunk.length ? chunk.subarray(end) : undefined;
      const startMs = performance.now();
      this.#push(end < chunk.length ? chunk.subarray(0, end) : chunk);
      // A chunk costs what a small message does, also one that ends no event.
      turns.spend(end, Math.max(1, Math.ceil(lines / 2)), startMs);
    }
    if (this.#over) return true;
    if (this.#flow.paused) return false;
    if (this.#rest === undefined) return true;
    turns.inNextTurn(() => this.#goOn());
    return false;
  }

  /** What is no UTF-8 is replaced as it comes: for 60 MB of it at one go a decoder takes a second. */
  #push(chunk: Buffer): void {
    this.#reader.push(this.#utf8.push(chunk));
  }

  #goOn(): void {
    if (this.#over) return;
    try {
      if (this.#read()) this.#resume();
    } catch (error) {
      this.#onError(error);
    }
  }
}

/** The end of the first `maxLines` lines of `chunk`, and how many there are up to it. */
function cut(chunk: Buffer, maxLines: number): { readonly end: number; readonly lines: number } {
  let lines = 0;
  if (!chunk.includes(RETURN)) {
    for (let at = chunk.indexOf(NEWLINE); at >= 0; at = chunk.indexOf(NEWLINE, at + 1)) {
      if (++lines >= maxLines) return { end: at + 1, lines };
    }
    return { end: chunk.length, lines };
  }
  for (let at = 0; at < chunk.length; at++) {
    const byte = chunk[at];
    if ((byte === NEWLINE || byte === RETURN) && ++lines >= maxLines) return { end: at + 1, lines };
  }
  return { end: chunk.length, lines };
}
