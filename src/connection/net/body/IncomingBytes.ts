/** Bytes of answers on their way, over all connections of a pool: bodies and events that are not complete. */
export class IncomingBytes {
  readonly max: number;
  #bytes = 0;

  constructor(maxBytes: number) {
    this.max = maxBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Counts so many more, or fewer. An error when there is no room for more. */
  change(by: number): Error | undefined {
    this.#bytes += by;
    if (by <= 0 || this.#bytes <= this.max) return undefined;
    return new Error(`answers on their way hold ${this.#bytes} bytes, ${this.max} are allowed (maxIncomingBytes)`);
  }
}
