/** Takes the result of one call in pieces, while it comes: a large one is then never held whole. */
export interface ResultSink {
  /**
   * The next piece of its JSON: whole characters of UTF-8, proved to be JSON as far as they go. It must be taken, and not throw. False: this is
   * enough until the sink says that it has room again.
   */
  write(piece: Buffer): boolean;
}

/**
 * Asked once a result turns out to be large: what takes it in pieces, or undefined when it is to come whole. `onRoom` is for the sink to call
 * when it can take more.
 */
export type OnLarge = (onRoom: () => void) => ResultSink | undefined;

/** What a call resolves to whose result was taken in pieces, after the last of them. A call that fails instead broke off. */
export class TakenResult {
  /** Whether the result says that its tool failed. */
  readonly isError: boolean;

  constructor(isError: boolean) {
    this.isError = isError;
  }
}
