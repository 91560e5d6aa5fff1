import { StringDecoder } from 'node:string_decoder';

/** One event of a stream: the text as it came, with its blank line, and what it says. */
export interface StreamEvent {
  readonly raw: string;
  readonly event: string | undefined;
  readonly data: string | undefined;
}

/** Larger than any event a test sends, and still a bound. */
const MAX_EVENT_CHARS = 256 * 2 ** 20;
/** Of a blank line, at the end of what has come. */
const BROKEN_OFF_CHARS = 3;

/** Cuts an event stream into its events, so that each can be passed on as it came. */
export class EventSplitter {
  readonly #decoder = new StringDecoder('utf8');
  readonly #blankLine = /\r\n\r\n|\n\n|\r\r/g;
  readonly #maxChars: number;
  #rest = '';

  constructor(maxChars = MAX_EVENT_CHARS) {
    this.#maxChars = maxChars;
  }

  /** @throws when an event has more than `maxChars` */
  push(chunk: Buffer): StreamEvent[] {
    const text = this.#rest + this.#decoder.write(chunk);
    const events: StreamEvent[] = [];
    // What was looked through is not looked through again.
    this.#blankLine.lastIndex = Math.max(0, this.#rest.length - BROKEN_OFF_CHARS);
    let from = 0;
    while (this.#blankLine.exec(text) !== null) {
      const until = this.#blankLine.lastIndex;
      events.push(parsed(text.slice(from, until)));
      from = until;
    }
    this.#rest = text.slice(from);
    if (this.#rest.length > this.#maxChars) throw new Error(`an event of more than ${this.#maxChars} characters`);
    return events;
  }

  /** What is left at the end of the stream: an event without its blank line, or a part of one. */
  end(): StreamEvent | undefined {
    const rest = this.#rest + this.#decoder.end();
    this.#rest = '';
    return rest === '' ? undefined : parsed(rest);
  }
}

function parsed(raw: string): StreamEvent {
  let event: string | undefined;
  const data: string[] = [];
  for (const line of raw.split(/\r\n|\n|\r/)) {
    const [, name, value = ''] = /^(event|data):? ?(.*)$/s.exec(line) ?? [];
    if (name === 'event') event = value;
    else if (name === 'data') data.push(value);
  }
  return { raw, event, data: data.length === 0 ? undefined : data.join('\n') };
}
