const FIRST_BYTES = 64;

/** Which values of a JSON text are open, from the outside in: a bit for each, since a text may be as deep as it is long. */
export class Nesting {
  /** How many are open. */
  depth = 0;
  /** Whether the innermost of them is an object; else it is an array, or none is open. */
  inObject = false;
  #bits = new Uint8Array(FIRST_BYTES);

  open(object: boolean): void {
    const at = this.depth >> 3;
    if (at === this.#bits.length) {
      const grown = new Uint8Array(2 * at);
      grown.set(this.#bits);
      this.#bits = grown;
    }
    const bit = 1 << (this.depth & 7);
    const byte = this.#bits[at] as number;
    this.#bits[at] = object ? byte | bit : byte & ~bit;
    this.depth++;
    this.inObject = object;
  }

  close(): void {
    this.depth--;
    const last = this.depth - 1;
    this.inObject = last >= 0 && ((this.#bits[last >> 3] as number) & (1 << (last & 7))) !== 0;
  }
}
