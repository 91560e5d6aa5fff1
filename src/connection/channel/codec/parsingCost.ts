import { MessageTooLargeError, ProtocolError } from '../../../core/errors.js';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_BRACE = 0x7b;
const OPEN_BRACKET = 0x5b;

/** A shorter text costs too little to be looked at. */
export const FREE_BYTES = 64 * 1_024;
/** What parsing costs, in units of about 40 ns (Node 20): a value, a container, a name, and a name not seen yet. */
const VALUE = 1;
const CONTAINER = 4;
const NAME = 2;
const NEW_NAME = 75;

/** The most that one message may cost which its receiver did not ask for: about 40 ms in which nothing else runs. */
export const MAX_UNASKED_COST = 1_000_000;
/** The same for the answer to a call. */
export const MAX_ANSWER_COST = 4_000_000;

/** Whether parsing a text would cost more than `max` units; a short one never does. */
export const costsMore = (text: Buffer | string, max: number): boolean =>
  text.length >= FREE_BYTES && costOf(text, max) > max;

/** What parsing a text costs, or something beyond `max`. It sees how the text is built, not whether it is JSON. */
export const costOf = (text: Buffer | string, max: number): number => new ParsingCost().of(text, max);

/** The same for the parts of one text, cut between two values: a name that was seen in one is not new in the next. */
export class ParsingCost {
  readonly #names = new NameCache();

  of(text: Buffer | string, max: number): number {
    const bytes = bytesOf(text);
    let cost = 0;
    let string = 0;
    let stringEnd = 0;
    for (let at = 0; at < bytes.length && cost <= max; at++) {
      const byte = bytes[at];
      if (byte === QUOTE) {
        string = at;
        stringEnd = at = endOfString(bytes, at);
      } else if (byte === COMMA) cost += VALUE;
      else if (byte === OPEN_BRACKET || byte === OPEN_BRACE) cost += CONTAINER;
      else if (byte === COLON) cost += this.#names.has(bytes, string, stringEnd) ? NAME : NEW_NAME;
    }
    return cost;
  }
}

export const bytesOf = (data: Buffer | string): Buffer => (typeof data === 'string' ? Buffer.from(data) : data);

/**
 * The most bytes of an answer that is read as values on its way to another: a list that is filtered, what a server asks a client. That cannot be done in
 * turns, and takes up to a tenth of a second for so many, whatever they say. It is what a whole list may have. All else passes as bytes, up to `maxMessageBytes`.
 */
export const MAX_READ_BYTES = 8 * 1_024 * 1_024;

/** @throws MessageTooLargeError for an answer of `server`, bytes or text, that is too large to be read as values */
export function checkReadable(server: string, { length }: { readonly length: number }): void {
  if (length > MAX_READ_BYTES) throw new MessageTooLargeError(server, 'incoming', length, MAX_READ_BYTES);
}

/** What a message of `FREE_BYTES` or more says; `answers` tells of its bytes whether a call waits for it. @throws Error when it costs too much. */
export function parseMessage(data: Buffer | string, answers: (bytes: Buffer) => boolean): unknown {
  const bytes = bytesOf(data);
  if (costsMore(bytes, answers(bytes) ? MAX_ANSWER_COST : MAX_UNASKED_COST)) {
    throw new Error('has too many values to be parsed at once');
  }
  return JSON.parse(typeof data === 'string' ? data : data.toString('utf8'));
}

/** What an answer of `server` says. @throws ProtocolError when it has too many values to be read at once */
export function parsedAnswer(server: string, text: string): unknown {
  if (!costsMore(text, MAX_ANSWER_COST)) return JSON.parse(text);
  throw new ProtocolError(server, 'its answer has too many values to be read');
}

/** Of a name, so many bytes are looked at. */
const NAME_BYTES = 32;

/** The names that were seen last: each that is not among them costs the parser a new shape of its objects. */
class NameCache {
  readonly #seen = new Int32Array(4_096);

  /** Whether the name was seen lately; it is from now on. */
  has(bytes: Buffer, start: number, end: number): boolean {
    let hash = end - start;
    for (let at = Math.max(start, end - NAME_BYTES); at < end; at++) hash = (hash * 31 + (bytes[at] as number)) | 0;
    const place = (hash ^ (hash >>> 12)) & 4_095;
    if (this.#seen[place] === hash) return true;
    this.#seen[place] = hash;
    return false;
  }
}

/** So many bytes are looked at one by one before the next quote is searched for: escapes often stand close. */
const SHORT_BYTES = 64;

/** The offset of a string's closing quote, or behind the last byte where there is none. */
export function endOfString(bytes: Buffer, from: number): number {
  let at = from + 1;
  for (;;) {
    for (const near = Math.min(at + SHORT_BYTES, bytes.length); at < near; at++) {
      if (bytes[at] === QUOTE) return at;
      if (bytes[at] === BACKSLASH) at++;
    }
    const quote = bytes.indexOf(QUOTE, at);
    if (quote < 0) return bytes.length;
    let first = quote;
    while (first > at && bytes[first - 1] === BACKSLASH) first--;
    if ((quote - first) % 2 === 0) return quote;
    at = quote + 1;
  }
}
