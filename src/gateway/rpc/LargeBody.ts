import { strictText } from '../../core/text/strictText.js';

/** From this size on a body is read in turns. */
export const LARGE_BODY_CHARS = 512 * 1_024;

/** A large body that is whole, and no text yet: that is made in a turn of its own. */
export class LargeBody {
  readonly length: number;
  #parts: readonly Buffer[];

  constructor(parts: readonly Buffer[], bytes: number) {
    this.#parts = parts;
    this.length = bytes;
  }

  /** Its text, once: what made the body lets go of its bytes. Undefined when it is no UTF-8. */
  take(): string | undefined {
    const text = strictText(Buffer.concat(this.#parts));
    this.#parts = [];
    return text;
  }
}
