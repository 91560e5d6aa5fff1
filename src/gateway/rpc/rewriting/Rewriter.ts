/** Changes JSON that comes in pieces, however cut. */
export interface Rewriter {
  /** Whether anything was changed. */
  readonly changed: boolean;
  /** What goes on of the next piece, a part of it where nothing in it is changed. It may throw: then the whole is none. */
  push(piece: Buffer): Buffer;
}
