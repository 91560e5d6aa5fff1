import { Nesting } from '../large/Nesting.js';
import { idOf, NamesOfAnswer, type RawReply } from './envelope.js';
import { endOfIntegers, isDigit } from './skipJson.js';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const MINUS = 0x2d;
const DOT = 0x2e;
const ZERO = 0x30;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;

/** What may come next. */
const START = 0;
const VALUE = 1;
const FIRST_ITEM = 2;
const FIRST_KEY = 3;
const KEY = 4;
const COLON_NEXT = 5;
const AFTER = 6;
const STRING = 7;
const ESCAPED = 8;
const HEX = 9;
const LITERAL = 10;
const DIGIT = 11;
const ZERO_READ = 12;
const INTEGER = 13;
const FRACTION_DIGIT = 14;
const FRACTION = 15;
const EXPONENT_SIGN = 16;
const EXPONENT_DIGIT = 17;
const EXPONENT = 18;
const DONE = 19;
const BAD = 20;

const LITERALS = ['true', 'false', 'null'];
/** What a backslash may stand before, `u` aside (RFC 8259, section 7). */
const ESCAPES = '"\\/bfnrt';
/** Longer keys of a message are none of ours, and longer ids neither. */
const MAX_TEXT = 24;
/** Of the message itself, and of its members, the keys are known. */
const MAX_DEPTH = 2;

/** A reply as far as it came. */
export interface BegunReply {
  readonly id: number | undefined;
  readonly start: number;
  /** Behind the result, once it is at its end. */
  readonly end: number | undefined;
}

/**
 * `scanReply` for a line that comes in pieces: each is looked at once, when it comes, so that a line of 50 MB is known for what
 * it is at its end, and takes no turn of the event loop for itself. The same texts are replies to both.
 */
export class ReplyScan {
  #state = START;
  readonly #open = new Nesting();
  readonly #names = new NamesOfAnswer();
  /** Bytes before the piece that is read. */
  #before = 0;
  /** A string that is read is a key. */
  #isKey = false;
  #literal = '';
  /** Of a literal, or of the four digits of an escape, so many bytes are read. */
  #read = 0;
  /** The message's own member that is read: its key, where its value began, and the beginning of that. */
  #key = '';
  #start = 0;
  #text = '';
  /** The member of that one which is read. */
  #inner = '';
  #isError = false;
  #resultStart = -1;
  #id: number | undefined;
  #result: { readonly start: number; readonly end: number } | undefined;

  push(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length && this.#state !== BAD; ) {
      // Inside a string, which nearly all of a large message is, nothing else is asked.
      if (this.#state === STRING) at = this.#string(bytes, at);
      else if (this.#state === INTEGER && this.#open.depth > MAX_DEPTH) {
        // Nothing is kept of it.
        at = endOfIntegers(bytes, at, !this.#open.inObject);
        if (at < bytes.length && this.#byte(bytes[at] as number, this.#before + at)) at++;
      } else if (this.#byte(bytes[at] as number, this.#before + at)) at++;
    }
    this.#before += bytes.length;
  }

  /** Where id and result stand; undefined when what came is no reply with a result, or no JSON. Its encoding is not looked at. */
  end(): RawReply | undefined {
    const [id, result] = [this.#id, this.#result];
    const isWhole = this.#state === DONE && this.#names.areAll;
    if (!isWhole || id === undefined || !Number.isInteger(id) || result === undefined) return undefined;
    return { id, ...result };
  }

  /** Its id, once that came, and where its result stands; undefined while it is no reply with a result, or none any more. */
  get begun(): BegunReply | undefined {
    if (this.#state === BAD || this.#resultStart < 0 || !this.#names.areAll) return undefined;
    return { id: this.#id, start: this.#resultStart, end: this.#result?.end };
  }

  /** Whether it is at its end, but for white space. */
  get done(): boolean {
    return this.#state === DONE;
  }

  /** Whether the result says that its tool failed, as far as it came. */
  get isError(): boolean {
    return this.#isError;
  }

  #string(bytes: Uint8Array, from: number): number {
    let at = from;
    for (; at < bytes.length; at++) {
      const byte = bytes[at] as number;
      if (byte !== QUOTE && byte !== BACKSLASH && byte >= 0x20) continue;
      this.#take(bytes, from, at);
      if (byte === BACKSLASH) this.#keep(byte, ESCAPED);
      else if (byte < 0x20) this.#state = BAD;
      else if (this.#isKey) this.#state = this.#keyEnded() ? COLON_NEXT : BAD;
      else {
        this.#keep(byte, AFTER);
        this.#ended(this.#before + at + 1);
      }
      return at + 1;
    }
    this.#take(bytes, from, at);
    return at;
  }

  /** False when the byte ended a number and is to be looked at once more. */
  #byte(byte: number, offset: number): boolean {
    const space = byte === 0x20 || byte === 0x09 || byte === 0x0a || byte === 0x0d;
    switch (this.#state) {
      case START:
        if (space) return true;
        this.#open.open(true);
        this.#state = byte === OPEN_BRACE ? FIRST_KEY : BAD;
        return true;
      case FIRST_ITEM:
      case VALUE:
        if (byte === CLOSE_BRACKET && this.#state === FIRST_ITEM) this.#closed(offset);
        else if (!space) this.#value(byte, offset);
        return true;
      case FIRST_KEY:
      case KEY:
        if (byte === CLOSE_BRACE && this.#state === FIRST_KEY) this.#closed(offset);
        else if (!space) this.#state = byte === QUOTE ? this.#beganKey() : BAD;
        return true;
      case COLON_NEXT:
        if (!space) this.#state = byte === COLON ? VALUE : BAD;
        return true;
      case AFTER:
        if (byte === COMMA) this.#state = this.#open.inObject ? KEY : VALUE;
        else if (byte === (this.#open.inObject ? CLOSE_BRACE : CLOSE_BRACKET)) this.#closed(offset);
        else if (!space) this.#state = BAD;
        return true;
      case ESCAPED:
        this.#read = 0;
        this.#keep(byte, byte === 0x75 ? HEX : ESCAPES.includes(String.fromCharCode(byte)) ? STRING : BAD);
        return true;
      case HEX:
        this.#keep(byte, !isHex(byte) ? BAD : ++this.#read === 4 ? STRING : HEX);
        return true;
      case LITERAL:
        if (byte !== this.#literal.charCodeAt(this.#read++)) this.#state = BAD;
        else if (this.#read === this.#literal.length) this.#ended(offset + 1);
        return true;
      case DONE:
        if (!space) this.#state = BAD;
        return true;
      default:
        return this.#number(byte, offset);
    }
  }

  #value(byte: number, offset: number): void {
    if (this.#open.depth <= MAX_DEPTH) this.#text = '';
    if (this.#open.depth === 1) {
      this.#start = offset;
      if (this.#key === 'result') {
        this.#resultStart = offset;
        this.#result = undefined;
      }
    }
    if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
      this.#keep(byte, byte === OPEN_BRACE ? FIRST_KEY : FIRST_ITEM);
      this.#open.open(byte === OPEN_BRACE);
    } else if (byte === QUOTE) {
      this.#isKey = false;
      this.#keep(byte, STRING);
    } else if (byte === MINUS) this.#keep(byte, DIGIT);
    else if (byte === ZERO) this.#keep(byte, ZERO_READ);
    else if (isDigit(byte)) this.#keep(byte, INTEGER);
    else {
      this.#literal = LITERALS.find((each) => each.charCodeAt(0) === byte) ?? '';
      this.#read = 1;
      this.#keep(byte, this.#literal === '' ? BAD : LITERAL);
    }
  }

  #number(byte: number, offset: number): boolean {
    const next = nextOfNumber(this.#state, byte);
    if (next === AFTER) {
      this.#ended(offset);
      return false;
    }
    this.#keep(byte, next);
    return true;
  }

  #closed(offset: number): void {
    this.#open.close();
    // Of what stands inside, nothing is the text of the value that ended.
    this.#text = '{';
    this.#ended(offset + 1);
  }

  /** A value ended; `end` is the offset behind it. */
  #ended(end: number): void {
    if (this.#open.depth === 0) {
      this.#state = DONE;
      return;
    }
    this.#state = AFTER;
    if (this.#open.depth === MAX_DEPTH) this.#innerEnded();
    if (this.#open.depth !== 1) return;
    if (this.#key === 'id') this.#id = this.#text.length < MAX_TEXT ? idOf(this.#text) : undefined;
    else if (this.#key === 'result') this.#result = { start: this.#start, end };
  }

  #innerEnded(): void {
    // Of a literal the first letter is kept; a string has its quotes.
    if (this.#key === 'result' && this.#inner === 'isError') this.#isError = this.#text === 't';
  }

  #beganKey(): number {
    this.#isKey = true;
    if (this.#open.depth <= MAX_DEPTH) this.#text = '';
    return STRING;
  }

  /** False when the key says that the message is no reply with a result. */
  #keyEnded(): boolean {
    if (this.#open.depth === MAX_DEPTH) this.#inner = this.#text;
    if (this.#open.depth !== 1) return true;
    this.#key = this.#text;
    this.#names.saw(this.#key);
    return this.#key !== 'method' && this.#key !== 'error';
  }

  /** Keeps the beginning of a key, or of a value that may be the id. */
  #take(bytes: Uint8Array, from: number, to: number): void {
    if (this.#open.depth > MAX_DEPTH) return;
    for (let at = from; at < to && this.#text.length < MAX_TEXT; at++) {
      this.#text += String.fromCharCode(bytes[at] as number);
    }
  }

  #keep(byte: number, next: number): void {
    if (this.#open.depth <= MAX_DEPTH && this.#text.length < MAX_TEXT) this.#text += String.fromCharCode(byte);
    this.#state = next;
  }
}

/** `AFTER` when the byte is no part of the number any more, which is whole. */
function nextOfNumber(state: number, byte: number): number {
  const digit = isDigit(byte);
  const exponent = byte === 0x65 || byte === 0x45;
  switch (state) {
    case DIGIT:
      return byte === ZERO ? ZERO_READ : digit ? INTEGER : BAD;
    case ZERO_READ:
    case INTEGER:
      if (digit && state === INTEGER) return INTEGER;
      return byte === DOT ? FRACTION_DIGIT : exponent ? EXPONENT_SIGN : AFTER;
    case FRACTION_DIGIT:
      return digit ? FRACTION : BAD;
    case FRACTION:
      return digit ? FRACTION : exponent ? EXPONENT_SIGN : AFTER;
    case EXPONENT_SIGN:
      return byte === 0x2b || byte === MINUS ? EXPONENT_DIGIT : digit ? EXPONENT : BAD;
    case EXPONENT_DIGIT:
      return digit ? EXPONENT : BAD;
    default:
      return digit ? EXPONENT : AFTER;
  }
}

function isHex(byte: number): boolean {
  return isDigit(byte) || ((byte | 0x20) >= 0x61 && (byte | 0x20) <= 0x66);
}
