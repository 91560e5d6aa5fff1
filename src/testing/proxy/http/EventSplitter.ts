import { StringDecoder } from 'node:string_decoder';
import { IncomingBytes } from '../../../connection/net/body/IncomingBytes.js';
import { isCostly } from '../../wire/messages.js';

/** One event of a stream: the text as it came, with its blank line, and what it says. */
export interface StreamEvent {
  readonly raw: string;
  readonly event: string | undefined;
  readonly data: string | undefined;
  /** It says something, and costs too much to be read. */
  readonly unread?: true;
}

/** Larger than any event a test sends, and still a bound. */
const MAX_EVENT_CHARS = 256 * 2 ** 20;
/** Of a blank line, at the end of what has come. */
const BROKEN_OFF_CHARS = 3;
const JOINED_PARTS = 1_024;
/** Of one event that is read, as in a client. */
const MAX_LINES = 65_536;

/** Cuts an event stream into its events, so that each can be passed on as it came. What has come of one counts to `held` until `stop`. */
export class EventSplitter {
  readonly #decoder = new StringDecoder('utf8');
  readonly #blankLine = /\r\n\r\n|\n\n|\r\r/g;
  readonly #maxChars: number;
  /** What has come of the event that stands open, in parts: to put them together with each chunk would take the longer the larger it is. */
  #parts: string[] = [];
  /** Its last characters: of a blank line, perhaps. */
  #tail = '';
  #chars = 0;
  /** Parts at the end that are short, and may be joined. */
  #loose = 0;
  readonly #held: IncomingBytes;
  /** Of those. */
  #bytes = 0;

  constructor(maxChars = MAX_EVENT_CHARS, held = new IncomingBytes(Number.POSITIVE_INFINITY)) {
    this.#maxChars = maxChars;
    this.#held = held;
  }

  /** @throws when an event has more than `maxChars`, or all that have not ended more than may be held */
  push(chunk: Buffer): StreamEvent[] {
    const text = this.#tail + this.#decoder.write(chunk);
    const events: StreamEvent[] = [];
    this.#blankLine.lastIndex = 0;
    let from = 0;
    while (this.#blankLine.exec(text) !== null) {
      const until = this.#blankLine.lastIndex;
      events.push(parsed(this.#taken() + text.slice(from, until)));
      from = until;
    }
    this.#hold(text.slice(from));
    if (this.#chars + this.#tail.length > this.#maxChars)
      throw new Error(`an event of more than ${this.#maxChars} characters`);
    const bytes = from > 0 ? Math.min(chunk.length, 4 * (text.length - from)) : this.#bytes + chunk.length;
    const full = this.#held.change(bytes - this.#bytes);
    this.#bytes = bytes;
    if (full !== undefined) throw new Error(`events that have not ended: ${full.message}`);
    return events;
  }

  /** Nothing more is held. */
  stop(): void {
    this.#taken();
    this.#held.change(-this.#bytes);
    this.#bytes = 0;
  }

  /** What is left at the end of the stream: an event without its blank line, or a part of one. */
  end(): StreamEvent | undefined {
    const rest = this.#taken() + this.#tail + this.#decoder.end();
    this.#tail = '';
    return rest === '' ? undefined : parsed(rest);
  }

  #hold(text: string): void {
    const part = text.slice(0, -BROKEN_OFF_CHARS);
    this.#tail = text.slice(-BROKEN_OFF_CHARS);
    if (part === '') return;
    this.#parts.push(part);
    this.#chars += part.length;
    if (++this.#loose < JOINED_PARTS) return;
    this.#loose = 0;
    this.#parts.push(this.#parts.splice(-JOINED_PARTS).join(''));
  }

  /** All but the tail, which is held no longer. */
  #taken(): string {
    const text = this.#parts.join('');
    this.#parts = [];
    this.#chars = 0;
    this.#loose = 0;
    return text;
  }
}

function parsed(raw: string): StreamEvent {
  let event: string | undefined;
  const data: string[] = [];
  const lines = raw.split(/\r\n|\n|\r/, MAX_LINES + 1);
  const unread = { raw, event, data: undefined, unread: true as const };
  if (lines.length > MAX_LINES) return unread;
  for (const line of lines) {
    const [, name, value = ''] = /^(event|data):? ?(.*)$/s.exec(line) ?? [];
    if (name === 'event') event = value;
    else if (name === 'data') data.push(value);
  }
  const said = data.length === 0 ? undefined : data.join('\n');
  return said !== undefined && isCostly(said) ? { ...unread, event } : { raw, event, data: said };
}
