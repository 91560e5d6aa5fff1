import { StringDecoder } from 'node:string_decoder';
import { createParser, type EventSourceParser } from 'eventsource-parser';

/** One event. `data` may be empty: that is no garbage, but how servers hand out an id. */
export interface SseEvent {
  readonly id?: string | undefined;
  readonly event?: string | undefined;
  readonly data: string;
}

export interface SseSink {
  onEvent(event: SseEvent): void;
  /** The server says how long to wait before connecting again, in ms. */
  onRetry(delayMs: number): void;
  /** An event over the cap; nothing more is read. */
  onOversized(): void;
}

const BYTE_ORDER_MARK = 0xfeff;

/**
 * Turns the bytes of an event stream into events, however they are cut: within a character, a line or a line's end.
 * An event that never got its blank line is none. An unfinished one is bounded by `maxEventBytes` (in UTF-16 units,
 * which are never more than its bytes). One reader serves one stream after the other.
 */
export class SseReader {
  readonly #decoder = new StringDecoder('utf8');
  readonly #parser: EventSourceParser;
  /** Whose stream it reads; undefined when nothing more is handed on. */
  #sink: SseSink | undefined;
  #first = true;
  /** The last text ended in a carriage return, taken for a whole line's end. */
  #afterReturn = false;
  /** The sink is being called: the parser still stands in its loop. */
  #busy = false;

  constructor(maxEventBytes: number) {
    this.#parser = createParser({
      onEvent: (event) => {
        if (event.data.length > maxEventBytes) this.#oversized();
        else this.#sink?.onEvent(event);
      },
      onRetry: (delayMs) => this.#sink?.onRetry(delayMs),
      onError: (error) => {
        // Everything else is a field nobody knows, which the format says to pass over.
        if (error.type === 'max-buffer-size-exceeded') this.#oversized();
      },
      maxBufferSize: maxEventBytes,
    });
  }

  /** A stream begins. */
  begin(sink: SseSink): void {
    this.#sink = sink;
    this.#first = true;
    this.#afterReturn = false;
  }

  push(chunk: Buffer): void {
    if (this.#sink === undefined) return;
    let text = this.#decoder.write(chunk);
    if (text === '') return;
    if (this.#first) {
      this.#first = false;
      if (text.charCodeAt(0) === BYTE_ORDER_MARK) text = text.slice(1);
    }
    if (this.#afterReturn) {
      this.#afterReturn = false;
      if (text.charCodeAt(0) === 0x0a) text = text.slice(1);
    }
    // The parser waits with a final CR for the LF that may follow: an event must not wait for the next one.
    if (text.includes('\r')) {
      this.#afterReturn = text.endsWith('\r');
      text = text.replace(/\r\n?/g, '\n');
    }
    this.#busy = true;
    this.#parser.feed(text);
    this.#busy = false;
  }

  /** Hands on nothing more. */
  stop(): void {
    this.#sink = undefined;
  }

  /** The stream is over; whether another may begin, which not from within a call of its own sink. */
  end(): boolean {
    this.#sink = undefined;
    if (this.#busy) return false;
    this.#decoder.end();
    this.#parser.reset();
    return true;
  }

  #oversized(): void {
    const sink = this.#sink;
    this.#sink = undefined;
    sink?.onOversized();
  }
}
