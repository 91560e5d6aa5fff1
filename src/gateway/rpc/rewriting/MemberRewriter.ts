import { keyOf } from '../../../connection/channel/codec/members.js';
import { MAX_READ_BYTES } from '../../../connection/channel/codec/parsingCost.js';
import { tooLargeToRead } from '../parseAnswer.js';
import type { Rewriter } from './Rewriter.js';
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
    this.#added = Buffer.from(added);
  }

  /** What goes on of the next piece. @throws Refusal when a value that is to be looked at is too large for it */
  push(piece: Buffer): Buffer[] {
    const out: Buffer[] = [];
    // Up to `from` the piece has gone on, is kept back, or is left out.
    let from = 0;
    let at = 0;
    while (at < piece.length && this.#place !== 'behind') {
      if (this.#inString) {
        const end = this.#scan.endOf(piece, at);
        at = end < 0 ? piece.length : end + 1;
        if (end < 0) break;
        this.#inString = false;
        if (this.#place === 'key') {
          this.#keyEnded(this.#taken(piece, from, at), out);
          from = at;
        }
        continue;
      }
      const byte = piece[at] as number;
      if (this.#place === 'before') {
        if (byte > SPACE) {
          this.#place = byte === OPEN_BRACE ? 'key' : 'behind';
          if (byte === OPEN_BRACE) {
            out.push(piece.subarray(from, at + 1));
            from = at + 1;
            this.#add(out);
          }
        }
      } else if (byte === QUOTE) this.#inString = true;
      else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) this.#depth++;
      else if (this.#depth > 0) {
        if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) this.#depth--;
      } else if (byte === COMMA || byte === CLOSE_BRACE) {
        this.#valueEnded(piece, from, at, out);
        // Whether a comma goes on is known once the next member is.
        from = byte === COMMA ? at + 1 : at;
        this.#place = byte === COMMA ? 'key' : 'behind';
      }
      at++;
    }
    const rest = piece.subarray(from);
    if (this.#place === 'kept' || this.#place === 'key') this.#keep(rest);
    else if (this.#place !== 'left out') out.push(rest);
    return out.filter(({ length }) => length > 0);
  }

  #add(out: Buffer[]): void {
    if (this.#added.length === 0) return;
    out.push(this.#added);
    this.#follows = true;
    this.changed = true;
  }

  #keyEnded(bytes: Buffer, out: Buffer[]): void {
    const edit = bytes.length > MAX_KEY_BYTES ? undefined : this.#edits.get(keyIn(bytes));
    if (edit === undefined) {
      this.#place = 'passed';
      this.#member(out, bytes);
    } else if (typeof edit === 'function') {
      this.#place = 'kept';
      this.#edit = edit;
      this.#keyBytes = bytes.length;
      this.#keep(bytes);
    } else {
      this.#place = 'left out';
      this.changed = true;
      if (edit !== null) this.#member(out, bytes, Buffer.from(`:${edit}`));
    }
  }

  #valueEnded(piece: Buffer, from: number, at: number, out: Buffer[]): void {
    if (this.#place === 'passed') out.push(piece.subarray(from, at));
    if (this.#place === 'key') out.push(this.#taken(piece, from, at));
    if (this.#place !== 'kept') return;
    const whole = this.#taken(piece, from, at);
    // Before its value stands a colon.
    const value = whole.toString('utf8', this.#keyBytes).trim().slice(1).trimStart();
    const told = this.#edit?.(value);
    if (told !== value) this.changed = true;
    if (told === value) this.#member(out, whole);
    else if (told !== undefined) this.#member(out, whole.subarray(0, this.#keyBytes), Buffer.from(`:${told}`));
  }

  #member(out: Buffer[], bytes: Buffer, value?: Buffer): void {
    if (this.#follows) out.push(COMMAS);
    this.#follows = true;
    out.push(bytes);
    if (value !== undefined) out.push(value);
  }

  #keep(part: Buffer): void {
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

function keyIn(bytes: Buffer): string {
  const text = bytes.toString('utf8').trimStart();
  return keyOf(text, 0, text.length);
}
