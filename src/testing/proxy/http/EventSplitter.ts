import { StringDecoder } from 'node:string_decoder';

/** One event of a stream: the text as it came, with its blank line, and what it says. */
export interface StreamEvent {
  readonly raw: string;
  readonly event: string | undefined;
  readonly data: string | undefined;
}

const BLANK_LINE = /\r\n\r\n|\n\n|\r\r/;

/** Cuts an event stream into its events, so that each can be passed on as it came. */
export class EventSplitter {
  readonly #decoder = new StringDecoder('utf8');
  #rest = '';

  push(chunk: Buffer): StreamEvent[] {
    this.#rest += this.#decoder.write(chunk);
    const events: StreamEvent[] = [];
    for (let blank = BLANK_LINE.exec(this.#rest); blank !== null; blank = BLANK_LINE.exec(this.#rest)) {
      const until = blank.index + blank[0].length;
      events.push(parsed(this.#rest.slice(0, until)));
      this.#rest = this.#rest.slice(until);
    }
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
