/** So much of a message is looked at from each end. */
export const EDGE_BYTES = 256;
const NONE: Buffer = Buffer.alloc(0);

export type Edges = Pick<MessageEdges, 'head' | 'tail' | 'bytes'>;

/** What is kept of a message that is passed over: its first and its last bytes, and how long it was. */
export class MessageEdges {
  head: Buffer = NONE;
  tail: Buffer = NONE;
  bytes = 0;

  /** `parts`: what came of it so far. */
  constructor(parts: readonly Buffer[]) {
    for (const part of parts) this.push(part);
  }

  push(part: Buffer): void {
    const room = EDGE_BYTES - this.head.length;
    if (room > 0) this.head = Buffer.concat([this.head, part.subarray(0, room)]);
    // A copy: a few bytes must not keep a chunk.
    this.tail =
      part.length >= EDGE_BYTES
        ? Buffer.from(part.subarray(-EDGE_BYTES))
        : Buffer.concat([this.tail.subarray(Math.max(0, this.tail.length + part.length - EDGE_BYTES)), part]);
    this.bytes += part.length;
  }
}
