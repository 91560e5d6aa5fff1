import { utf8Text } from '../../core/text/utf8Text.js';
import { repeatsName } from '../channel/codec/members.js';
import { parsedAnswer } from '../channel/codec/parsingCost.js';
import { spliced } from './spliced.js';

/** A result on its way: its bytes as they came, parsed when `value` is looked at for the first time, and not before. */
export class CallResult {
  /** Of a notification. */
  static readonly NONE = new CallResult(undefined, undefined);
  #bytes: Uint8Array | undefined;
  #value: unknown;
  #parsed: boolean;
  readonly #server: string;

  private constructor(bytes: Uint8Array | undefined, value: unknown, server = '') {
    this.#bytes = bytes;
    this.#value = value;
    this.#server = server;
    this.#parsed = bytes === undefined;
  }

  /** Of a value, or of JSON as bytes, which came from `server`. */
  static of(result: unknown, server?: string): CallResult {
    if (result instanceof CallResult) return result;
    return result instanceof Uint8Array ? new CallResult(result, undefined, server) : new CallResult(undefined, result);
  }

  /** What it says, parsed at once: of 60 MB that stops the event loop, see `bytes`. Never change it in place: give `with` another. @throws ProtocolError when it has too many values to be read */
  get value(): unknown {
    if (!this.#parsed) {
      const { text } = this;
      this.#value = parsedAnswer(this.#server, text);
      this.#parsed = true;
      // Who looks decides by this value: of a name that comes twice another reader may take the other.
      if (repeatsName(text)) this.#bytes = undefined;
    }
    return this.#value;
  }

  /** As JSON, to the digit as it came; as `value` says it, once that was looked at, where a name comes twice. */
  get text(): string {
    const bytes = this.#bytes;
    if (bytes === undefined) return JSON.stringify(this.#value) ?? 'null';
    return utf8Text(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  }

  /** Its bytes where there are any, else its value: what costs least to go on with. */
  get raw(): unknown {
    return this.#bytes ?? this.#value;
  }

  /** Its JSON. */
  get bytes(): Uint8Array {
    this.#bytes ??= Buffer.from(this.text);
    return this.#bytes;
  }

  /** One that says `value`. Members that are the same object or value as in this one keep their text. */
  with(value: unknown): CallResult {
    const before = this.value;
    if (this.#bytes === undefined) return new CallResult(undefined, value);
    const result = new CallResult(Buffer.from(spliced(this.text, before, value)), value, this.#server);
    result.#parsed = true;
    return result;
  }
}
