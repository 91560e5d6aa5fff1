import { StringDecoder } from 'node:string_decoder';
import { createParser, type EventSourceParser } from 'eventsource-parser';
import { skipJson, skipSpace } from '../../channel/codec/skipJson.js';

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
const OPEN_BRACE = 0x7b;
const OPEN_BRACKET = 0x5b;

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
  /** Text since the last blank line, while some stands there. */
  #tail = '';
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
        // Everything else is an unknown field, which the format says to pass over.
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
    this.#tail = '';
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
    this.#feed(text);
    const blank = text.lastIndexOf('\n\n');
    if (blank >= 0) this.#tail = text.slice(blank + 2);
    else if (text === '\n' && this.#tail.endsWith('\n')) this.#tail = '';
    else this.#tail += text;
  }

  /** An event stands there without the blank line that ends it. */
  get open(): boolean {
    return this.#tail !== '' && this.#sink !== undefined;
  }

  /** Characters of the event that stands open. */
  get pending(): number {
    return this.#tail.length;
  }

  /** Ends the event that stands open, if its data is JSON: nothing can be missing of it then. */
  complete(): void {
    if (!this.open) return;
    const data = this.#tail
      .split('\n')
      .filter((line) => line.startsWith('data:'))
      .map((line) => line.slice(5))
      .join('\n');
    if (!isWhole(Buffer.from(data))) return;
    const end = this.#tail.endsWith('\n') ? '\n' : '\n\n';
    this.#tail = '';
    this.#feed(end);
  }

  #feed(text: string): void {
    this.#busy = true;
    try {
      this.#parser.feed(text);
    } finally {
      this.#busy = false;
    }
  }

  /** Hands on nothing more. */
  stop(): void {
    this.#sink = undefined;
  }

  /** The stream is over; whether another may begin, which not from within a call of its own sink. */
  end(): boolean {
    this.#sink = undefined;
    this.#tail = '';
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

/** Whether bytes are an object or an array, whole. */
function isWhole(bytes: Buffer): boolean {
  const start = skipSpace(bytes, 0);
  if (bytes[start] !== OPEN_BRACE && bytes[start] !== OPEN_BRACKET) return false;
  const end = skipJson(bytes, start);
  return end >= 0 && skipSpace(bytes, end) === bytes.length;
}
