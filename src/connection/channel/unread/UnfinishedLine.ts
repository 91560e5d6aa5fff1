/** A line that has begun. */
export interface UnfinishedLine {
  /** Its first bytes. */
  readonly head: Buffer;
  readonly bytes: number;
}
