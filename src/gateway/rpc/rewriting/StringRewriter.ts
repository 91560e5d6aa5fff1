import { keyOf } from '../../../connection/channel/codec/members.js';
import type { Rewriter } from './Rewriter.js';
import { StringScan } from './StringScan.js';

const QUOTE = 0x22;
const QUOTES = Buffer.from('"');
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
  readonly #change: (path: JsonPath, value: string) => string | undefined;
  readonly #scan = new StringScan();
  readonly #path: (string | number)[] = [];
  /** So many values are open beyond those of the path. */
  #deeper = 0;
  #atKey = false;
  #in: Inside = 'structure';
  /** Of the key, or the string that may be changed, which has begun: what came so far, from its quote on. */
  #parts: Buffer[] = [];
  #bytes = 0;

  constructor(
    keys: ReadonlySet<string>,
    change: (path: JsonPath, value: string) => string | undefined,
    maxStringBytes = MAX_STRING_BYTES,
  ) {
    this.#maxStringBytes = maxStringBytes;
    this.#keys = keys;
    this.#change = change;
  }

  /** What goes on of the next piece. A string that may be changed is kept back until it has ended. */
  push(piece: Buffer): Buffer[] {
    const out: Buffer[] = [];
    // Up to `from` the piece has gone on or is kept back; what is read of a string begins at `start` of it.
    let from = 0;
    let start = 0;
    for (let at = 0; at < piece.length; ) {
      if (this.#in === 'structure') {
        if (piece[at] === QUOTE) {
          start = at + 1;
          if (this.#begins() === 'watched') {
            out.push(piece.subarray(from, at));
            from = start;
          }
        } else this.#structure(piece[at] as number);
        at++;
        continue;
      }
      const end = this.#scan.endOf(piece, at);
      at = end < 0 ? piece.length : end + 1;
      if (this.#in !== 'string') this.#collect(piece.subarray(start, at));
      if (this.#in === 'watched' && (end >= 0 || this.#bytes > this.#maxStringBytes)) {
        out.push(end < 0 ? Buffer.concat(this.#parts) : this.#changed());
        from = at;
        this.#in = 'string';
      }
      if (end < 0) break;
      if (this.#in === 'key') this.#keyEnded();
      this.#in = 'structure';
    }
    if (this.#in !== 'watched') out.push(piece.subarray(from));
    return out.filter(({ length }) => length > 0);
  }

  #begins(): Inside {
    if (this.#deeper > 0) this.#in = 'string';
    else this.#in = this.#atKey ? 'key' : this.#keys.has(this.#path.at(-1) as string) ? 'watched' : 'string';
    this.#parts = [QUOTES];
    this.#bytes = 1;
    return this.#in;
  }

  #collect(part: Buffer): void {
    this.#bytes += part.length;
    if (this.#in === 'watched' || this.#bytes <= this.#maxStringBytes) this.#parts.push(part);
  }

  #keyEnded(): void {
    const text = Buffer.concat(this.#parts).toString('utf8');
    this.#path[this.#path.length - 1] = this.#bytes > this.#maxStringBytes ? '' : keyOf(text, 0, text.length);
    this.#atKey = false;
  }

  #changed(): Buffer {
    const whole = Buffer.concat(this.#parts);
    if (whole.length > this.#maxStringBytes) return whole;
    const changed = this.#change(this.#path, JSON.parse(whole.toString('utf8')) as string);
    if (changed === undefined) return whole;
    this.changed = true;
    return Buffer.from(JSON.stringify(changed));
  }

  #structure(byte: number): void {
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
        path.push('');
        this.#atKey = true;
        break;
      case OPEN_BRACKET:
        path.push(0);
        this.#atKey = false;
        break;
      case CLOSE_BRACE:
      case CLOSE_BRACKET:
        path.pop();
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
