import { MAX_READ_BYTES } from '../../../connection/channel/codec/parsingCost.js';
import { utf8Text } from '../../../core/text/utf8Text.js';
import { tooLargeToRead } from '../parseAnswer.js';
import { KeyNames, keyIn } from './KeyNames.js';
import type { Rewriter } from './Rewriter.js';
import { Spans } from './Spans.js';
import { StringScan } from './StringScan.js';

const QUOTE = 0x22;
const SPACE = 0x20;
const COMMA = 0x2c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const COMMAS = Buffer.from(',');
/** A longer key is none that is looked for. */
const MAX_KEY_BYTES = 64 * 1_024;

/**
 * What becomes of a member: JSON in place of its value, whatever that is; `null` leaves the member out; a function is given the value's
 * JSON, and says what stands in its place, undefined to leave the member out.
 */
export type MemberEdit = string | null | ((value: string) => string | undefined);

/** Where the next byte stands: before the object; where a key is to come, or in it; in a value that goes on, is kept back, or is left out; behind the object. */
type Place = 'before' | 'key' | 'passed' | 'kept' | 'left out' | 'behind';

/**
 * An object's JSON with other members at its top, everything else byte for byte as it was. It may come in pieces, however cut; it must be known
 * to be JSON. What is no object stays as it is.
 */
export class MemberRewriter implements Rewriter {
  changed = false;
  readonly #edits: ReadonlyMap<string, MemberEdit>;
  readonly #names: KeyNames;
  readonly #out = new Spans();
  readonly #added: Buffer;
  readonly #scan = new StringScan();
  #place: Place = 'before';
  #inString = false;
  /** So many values are open in the value of a member. */
  #depth = 0;
  /** A member stands before the next. */
  #follows = false;
  /** Of a key that has not ended, with the space before it, or a member that is kept back: what came before this piece. */
  #parts: Buffer[] = [];
  #bytes = 0;
  #keyBytes = 0;
  #edit: ((value: string) => string | undefined) | undefined;

  /** `added`: the text of members that come first; '' for none. */
  constructor(edits: Readonly<Record<string, MemberEdit>>, added = '') {
    this.#edits = new Map(Object.entries(edits));
    this.#names = new KeyNames(this.#edits.keys());
    this.#added = Buffer.from(added);
  }

  /** What goes on of the next piece. @throws Refusal when a value that is to be looked at is too large for it */
  push(piece: Buffer): Buffer {
    const out = this.#out;
    // Up to `from` the piece has gone on, is kept back, or is left out.
    let from = 0;
    // Where the key begins that stands in this piece from its quote on.
    let quote = -1;
    let at = 0;
    while (at < piece.length && this.#place !== 'behind') {
      if (this.#inString) {
        const end = this.#scan.endOf(piece, at);
        at = end < 0 ? piece.length : end + 1;
        if (end < 0) break;
        this.#inString = false;
        if (this.#place === 'key') {
          this.#keyEnded(piece, from, at, quote);
          from = at;
        }
        continue;
      }
      const byte = piece[at] as number;
      if (this.#place === 'before') {
        if (byte > SPACE) {
          this.#place = byte === OPEN_BRACE ? 'key' : 'behind';
          if (byte === OPEN_BRACE) {
            out.pass(piece, from, at + 1);
            from = at + 1;
            this.#add();
          }
        }
      } else if (byte === QUOTE) {
        this.#inString = true;
        quote = at;
      } else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) this.#depth++;
      else if (this.#depth > 0) {
        if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) this.#depth--;
      } else if (byte === COMMA || byte === CLOSE_BRACE) {
        this.#valueEnded(piece, from, at);
        // Whether a comma goes on is known once the next member is.
        from = byte === COMMA ? at + 1 : at;
        this.#place = byte === COMMA ? 'key' : 'behind';
      }
      at++;
    }
    if (this.#place === 'kept' || this.#place === 'key') this.#keep(piece.subarray(from));
    else if (this.#place !== 'left out') out.pass(piece, from, piece.length);
    return out.take();
  }

  #add(): void {
    if (this.#added.length === 0) return;
    this.#out.add(this.#added);
    this.#follows = true;
    this.changed = true;
  }

  /** `quote`: where it begins in the piece, unless that was in one before. */
  #keyEnded(piece: Buffer, from: number, at: number, quote: number): void {
    const here = quote >= from && this.#parts.length === 0;
    const bytes = here ? piece : this.#taken(piece, from, at);
    const first = here ? from : 0;
    const last = here ? at : bytes.length;
    const edit = this.#editOf(bytes, here ? quote : spaceEnd(bytes), last);
    if (edit === undefined) {
      this.#place = 'passed';
      this.#member(bytes, first, last);
    } else if (typeof edit === 'function') {
      this.#place = 'kept';
      this.#edit = edit;
      this.#keyBytes = last - first;
      this.#keep(bytes.subarray(first, last));
    } else {
      this.#place = 'left out';
      this.changed = true;
      if (edit === null) return;
      this.#member(bytes, first, last);
      this.#out.add(Buffer.from(`:${edit}`));
    }
  }

  #editOf(bytes: Buffer, quote: number, end: number): MemberEdit | undefined {
    const read = end - quote <= MAX_KEY_BYTES && this.#names.mayBe(bytes, quote + 1, end - 1);
    return read ? this.#edits.get(keyIn(bytes, quote, end)) : undefined;
  }

  #valueEnded(piece: Buffer, from: number, at: number): void {
    if (this.#place === 'passed') this.#out.pass(piece, from, at);
    if (this.#place === 'key') this.#out.add(this.#taken(piece, from, at));
    if (this.#place !== 'kept') return;
    const whole = this.#taken(piece, from, at);
    // Before its value stands a colon.
    const value = utf8Text(whole.subarray(this.#keyBytes)).trim().slice(1).trimStart();
    const told = this.#edit?.(value);
    if (told !== value) this.changed = true;
    if (told === value) this.#member(whole);
    else if (told !== undefined) {
      this.#member(whole, 0, this.#keyBytes);
      this.#out.add(Buffer.from(`:${told}`));
    }
  }

  #member(bytes: Buffer, from = 0, end = bytes.length): void {
    const follows = this.#follows;
    this.#follows = true;
    // The comma that stands before it goes on with it.
    if (follows && from > 0 && bytes[from - 1] === COMMA) {
      this.#out.pass(bytes, from - 1, end);
      return;
    }
    if (follows) this.#out.add(COMMAS);
    this.#out.pass(bytes, from, end);
  }

  #keep(part: Buffer): void {
    if (part.length === 0) return;
    this.#bytes += part.length;
    if (this.#place === 'kept' && this.#bytes > MAX_READ_BYTES) throw tooLargeToRead(this.#bytes);
    // So much space says nothing.
    if (this.#place === 'key' && !this.#inString && this.#bytes > MAX_KEY_BYTES) this.#parts = [];
    else this.#parts.push(part);
  }

  /** What was kept, and what of this piece belongs to it. */
  #taken(piece: Buffer, from: number, to: number): Buffer {
    const last = piece.subarray(from, to);
    const bytes = this.#parts.length === 0 ? last : Buffer.concat([...this.#parts, last]);
    this.#parts = [];
    this.#bytes = 0;
    return bytes;
  }
}

/** Space may stand before a key. */
function spaceEnd(bytes: Buffer): number {
  let from = 0;
  while ((bytes[from] as number) <= SPACE) from++;
  return from;
}
