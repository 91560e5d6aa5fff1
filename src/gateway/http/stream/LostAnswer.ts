import type { ResultSink } from '../../../connection/channel/large/ResultSink.js';

/** Takes a large result for which there is no room, and keeps nothing of it: its client is told once it is at its end. */
export class LostAnswer implements ResultSink {
  bytes = 0;

  write(piece: Buffer): boolean {
    this.bytes += piece.length;
    return true;
  }
}
