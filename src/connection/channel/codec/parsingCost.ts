import { randomInt } from 'node:crypto';
import { MessageTooLargeError, ProtocolError } from '../../../core/errors.js';
import { utf8Text } from '../../../core/text/utf8Text.js';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_BRACE = 0x7b;
const OPEN_BRACKET = 0x5b;

/** A shorter text costs too little to be looked at. */
export const FREE_BYTES = 64 * 1_024;
/**
 * What a text costs, parsed and gone through by the readers here, in units of about 2 ns (Node 20,
 * docs/decisions/320-what-a-message-costs-is-measured.md): each byte outside of strings, a digit, and beside their bytes
 * a value, a container, a string, a short one not seen yet, a name, and a name not seen yet.
 */
const BYTE = 5;
const DIGIT = 8;
const VALUE = 10;
const CONTAINER = 80;
const STRING = 40;
const NEW_STRING = 140;
const NAME = 40;
const NEW_NAME = 1_500;

/** By byte, outside of strings. */
const WEIGHTS = new Uint8Array(256).fill(BYTE);
for (const digit of Buffer.from('0123456789')) WEIGHTS[digit] = DIGIT;
for (const open of [OPEN_BRACKET, OPEN_BRACE]) WEIGHTS[open] = BYTE + CONTAINER;
WEIGHTS[COMMA] = BYTE + VALUE;

/** The parser looks up a string of so few characters among all that it knows, and adds it. */
const SHORT_STRING = 10;

/** The most that one message may cost which its receiver did not ask for: about 40 ms in which nothing else runs. */
export const MAX_UNASKED_COST = 20_000_000;
/** The same for what a server says or asks of its own accord, and for its errors: about 20 ms, and as much again for what is made of it for a client. */
export const MAX_TOLD_COST = 10_000_000;
/** The same for the answer to a call, where that is no error of one whose result stays bytes. */
export const MAX_ANSWER_COST = 80_000_000;

/** Whether parsing a text would cost more than `max` units; a short one never does. */
export const costsMore = (text: Buffer | string, max: number): boolean =>
  text.length >= FREE_BYTES && costOf(text, max) > max;

/** What parsing a text costs, or something beyond `max`. It sees how the text is built, not whether it is JSON. */
export const costOf = (text: Buffer | string, max: number): number => new ParsingCost().of(text, max);

/** The same for the parts of one text, cut between two values: what was seen in one is not new in the next. */
export class ParsingCost {
  readonly #seen = new SeenTexts();

  of(text: Buffer | string, max: number): number {
    const bytes = bytesOf(text);
    let cost = 0;
    let string = 0;
    let stringEnd = 0;
    for (let at = 0; at < bytes.length && cost <= max; at++) {
      const byte = bytes[at] as number;
      if (byte === QUOTE) {
        string = at;
        stringEnd = at = endOfString(bytes, at);
        if (bytes[at + 1] === COLON) continue;
        cost += STRING;
        if (isShort(bytes, string + 1, at) && !this.#seen.has(bytes, string, at)) cost += NEW_STRING;
        continue;
      }
      cost += WEIGHTS[byte] as number;
      if (byte !== COLON) continue;
      // From behind its opening quote: a name is another text than a string.
      cost += this.#seen.has(bytes, string + 1, stringEnd) ? NAME : NEW_NAME;
      // It is looked at once, whatever follows.
      string = stringEnd;
    }
    return cost;
  }
}

/** Whether what stands between two quotes has at most `SHORT_STRING` characters, however they are written. */
function isShort(bytes: Buffer, start: number, end: number): boolean {
  if (end - start <= SHORT_STRING) return true;
  let chars = 0;
  for (let at = start; at < end; at++) {
    const byte = bytes[at] as number;
    if (byte === BACKSLASH && bytes[++at] === 0x75) at += 4;
    // Not the further bytes of a character.
    if ((byte & 0xc0) !== 0x80 && ++chars > SHORT_STRING) return false;
  }
  return true;
}

export const bytesOf = (data: Buffer | string): Buffer => (typeof data === 'string' ? Buffer.from(data) : data);

/**
 * The most bytes of an answer that is read as values on its way to another: a list that is filtered, what a server asks a client. That cannot be done in
 * turns, and takes up to a tenth of a second for so many, whatever they say. It is what a whole list may have. All else passes as bytes, up to `maxMessageBytes`.
 * It is also the most of what a server says unasked: one string of so many takes about 40 ms, if its characters are not ASCII.
 */
export const MAX_READ_BYTES = 8 * 1_024 * 1_024;

/** @throws MessageTooLargeError for an answer of `server`, bytes or text, that is too large to be read as values */
export function checkReadable(server: string, { length }: { readonly length: number }): void {
  if (length > MAX_READ_BYTES) throw new MessageTooLargeError(server, 'incoming', length, MAX_READ_BYTES);
}

interface Answered {
  readonly method: string;
  readonly options: { readonly raw?: boolean };
}

/** In these a server describes itself, in 1 MiB at most. */
const HANDSHAKES: ReadonlySet<string> = new Set(['initialize', 'server/discover']);

/** What an answer to that call may cost to be parsed: of one whose result stays bytes only errors are. */
export const maxCostOf = (call: Answered | undefined): number =>
  call === undefined || call.options.raw === true || HANDSHAKES.has(call.method) ? MAX_TOLD_COST : MAX_ANSWER_COST;

/** The text of a message; `calls` tell of the bytes of one that is not short which of them waits for it. @throws Error when it costs too much to be parsed. */
export function parsableText(data: Buffer | string, calls: { answers(bytes: Buffer): Answered | undefined }): string {
  if (data.length >= FREE_BYTES) {
    const bytes = bytesOf(data);
    if (costsMore(bytes, maxCostOf(calls.answers(bytes)))) {
      throw new Error('has too many values to be parsed at once');
    }
  }
  return typeof data === 'string' ? data : utf8Text(data);
}

/** What an answer of `server` says. @throws ProtocolError when it has too many values to be read at once */
export function parsedAnswer(server: string, text: string): unknown {
  if (!costsMore(text, MAX_ANSWER_COST)) return JSON.parse(text);
  throw new ProtocolError(server, 'its answer has too many values to be read');
}

/** No sender knows which texts have the same hash. */
const SEED = randomInt(2 ** 31);
const FACTOR = 2 * randomInt(2 ** 30) + 1;
const PLACES = 16_384;

/** The names and short strings that were seen last: of others the parser makes new ones, and of names a new shape of their objects. */
class SeenTexts {
  readonly #hashes = new Int32Array(PLACES);

  /** Whether the text was seen lately; it is from now on. */
  has(bytes: Buffer, start: number, end: number): boolean {
    let hash = SEED;
    for (let at = start; at < end; at++) hash = Math.imul(hash ^ (bytes[at] as number), FACTOR);
    const place = (hash ^ (hash >>> 16)) & (PLACES - 1);
    if (this.#hashes[place] === hash) return true;
    this.#hashes[place] = hash;
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
