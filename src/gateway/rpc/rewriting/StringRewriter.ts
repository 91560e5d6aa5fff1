import { KeyNames, keyIn } from './KeyNames.js';
import type { Rewriter } from './Rewriter.js';
import { Spans } from './Spans.js';
import { StringScan } from './StringScan.js';

const QUOTE = 0x22;
const COMMA = 0x2c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;

/** A longer key is none that is looked for, and a longer string is left as it is where nothing else is said. */
const MAX_STRING_BYTES = 64 * 1_024;

/** A string that stands deeper is left as it is: where it stands would take as much memory as its JSON, and more. */
const MAX_PATH = 256;

/** What the next byte stands in: between the tokens, in a key, in a string that may be changed, or in another. */
type Inside = 'structure' | 'key' | 'watched' | 'string';

/** Where a value stands: keys and indices from the outside in. It changes once the call is over. */
export type JsonPath = readonly (string | number)[];

/**
 * JSON with other strings in some places, everything else byte for byte as it was. It may come in pieces, however cut; it must be
 * known to be JSON. `change` is asked for each string that stands under one of `keys`; undefined leaves it.
 */
export class StringRewriter implements Rewriter {
  changed = false;
  readonly #maxStringBytes: number;
  readonly #keys: ReadonlySet<string>;
  readonly #names: KeyNames;
  readonly #out = new Spans();
  readonly #change: (path: JsonPath, value: string) => string | undefined;
  readonly #scan = new StringScan();
  readonly #path: (string | number)[] = [];
  /** So many values are open beyond those of the path. */
  #deeper = 0;
  #atKey = false;
  /** Where the innermost key stands in this piece, quotes included, while it has not been read: most are never asked for. */
  #keyFrom = 0;
  #keyEnd = 0;
  #in: Inside = 'structure';
  /** Of a key, or a string that may be changed, which began in a piece before: what came so far, from its quote on. */
  #parts: Buffer[] = [];
  #bytes = 0;

  constructor(
    keys: ReadonlySet<string>,
    change: (path: JsonPath, value: string) => string | undefined,
    maxStringBytes = MAX_STRING_BYTES,
  ) {
    this.#maxStringBytes = maxStringBytes;
    this.#keys = keys;
    this.#names = new KeyNames(keys);
    this.#change = change;
  }

  /** What goes on of the next piece. A string that may be changed is kept back until it has ended. */
  push(piece: Buffer): Buffer {
    // Up to `from` the piece has gone on or is kept back; a string that begins in it does so at `start`.
    let from = 0;
    let start = -1;
    for (let at = 0; at < piece.length; ) {
      if (this.#in === 'structure') {
        const byte = piece[at] as number;
        if (byte === QUOTE) {
          start = at;
          this.#in = this.#begins(piece);
        } else if (byte === COMMA || byte >= OPEN_BRACKET) this.#structure(byte, piece);
        at++;
        continue;
      }
      const end = this.#scan.endOf(piece, at);
      if (end < 0) break;
      at = end + 1;
      if (this.#in === 'key') this.#keyEnded(piece, start, at);
      else if (this.#in === 'watched') from = this.#ended(piece, from, start, at);
      this.#in = 'structure';
    }
    if (this.#in === 'key' || this.#in === 'watched') from = this.#goesOn(piece, from, start);
    if (this.#keyEnd > 0) this.#readKey(piece);
    this.#out.pass(piece, from, piece.length);
    return this.#out.take();
  }

  #begins(piece: Buffer): Inside {
    if (this.#deeper > 0) return 'string';
    if (this.#atKey) return 'key';
    if (this.#keyEnd > 0) {
      if (!this.#names.mayBe(piece, this.#keyFrom + 1, this.#keyEnd - 1)) return 'string';
      this.#readKey(piece);
    }
    return this.#keys.has(this.#path.at(-1) as string) ? 'watched' : 'string';
  }

  /** The key, or the string that may be changed, which ends in a later piece; up to where this one has gone on or is kept back. */
  #goesOn(piece: Buffer, from: number, start: number): number {
    const watched = this.#in === 'watched';
    if (watched && start >= 0) this.#out.pass(piece, from, start);
    this.#collect(piece.subarray(Math.max(start, 0)));
    if (!watched) return from;
    if (this.#bytes > this.#maxStringBytes) {
      this.#out.add(this.#collected());
      this.#in = 'string';
    }
    return piece.length;
  }

  #collect(part: Buffer): void {
    this.#bytes += part.length;
    if (this.#in === 'watched' || this.#bytes <= this.#maxStringBytes) this.#parts.push(part);
  }

  #collected(): Buffer {
    const whole = Buffer.concat(this.#parts);
    this.#parts = [];
    this.#bytes = 0;
    return whole;
  }

  #keyEnded(piece: Buffer, start: number, end: number): void {
    this.#atKey = false;
    if (this.#bytes === 0 && end - start <= this.#maxStringBytes) {
      this.#keyFrom = start;
      this.#keyEnd = end;
      return;
    }
    this.#collect(piece.subarray(Math.max(start, 0), end));
    const known = this.#bytes <= this.#maxStringBytes;
    const whole = this.#collected();
    this.#path[this.#path.length - 1] = known ? keyIn(whole) : '';
  }

  #readKey(piece: Buffer): void {
    this.#path[this.#path.length - 1] = keyIn(piece, this.#keyFrom, this.#keyEnd);
    this.#keyEnd = 0;
  }

  /** A string that may be changed has ended; up to where the piece has gone on. */
  #ended(piece: Buffer, from: number, start: number, end: number): number {
    const here = this.#bytes === 0;
    if (!here) this.#collect(piece.subarray(0, end));
    const bytes = here ? piece : this.#collected();
    const first = here ? start : 0;
    const last = here ? end : bytes.length;
    const changed =
      last - first > this.#maxStringBytes ? undefined : this.#change(this.#path, keyIn(bytes, first, last));
    if (changed === undefined) {
      if (here) return from;
      this.#out.add(bytes);
      return end;
    }
    if (here) this.#out.pass(piece, from, start);
    this.changed = true;
    this.#out.add(Buffer.from(JSON.stringify(changed)));
    return end;
  }

  #structure(byte: number, piece: Buffer): void {
    const path = this.#path;
    if (this.#deeper > 0 || path.length === MAX_PATH) {
      if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
        this.#deeper++;
        return;
      }
      if (this.#deeper > 0) {
        if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) this.#deeper--;
        return;
      }
    }
    switch (byte) {
      case OPEN_BRACE:
        if (this.#keyEnd > 0) this.#readKey(piece);
        path.push('');
        this.#atKey = true;
        break;
      case OPEN_BRACKET:
        if (this.#keyEnd > 0) this.#readKey(piece);
        path.push(0);
        this.#atKey = false;
        break;
      case CLOSE_BRACE:
      case CLOSE_BRACKET:
        path.pop();
        this.#keyEnd = 0;
        this.#atKey = false;
        break;
      case COMMA: {
        const top = path.length - 1;
        if (typeof path[top] === 'number') path[top]++;
        else this.#atKey = true;
      }
    }
  }
}
